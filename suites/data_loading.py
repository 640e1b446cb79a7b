"""When the loader is the bottleneck: one model that waits for its data, and one that hardly waits.

Each random image is generated when it is read, with the work of a real one: drawn, through PIL, to a tensor. That
takes several times as long as a step of the perceptron, and a fraction of a step of resnet18.

Workers need processors besides those of the training threads. With few processors:

    bench run suites/data_loading.py --threads 1

The picture `data_wait` shows the result; docs/data.md explains it.
"""

from epochbench import Suite, tasks

suite = Suite(
    name="data_loading",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        "dataset": ["fake-images"],
        "image_size": [32],
        "images": [640],
        "model": ["mlp", "resnet18"],
        "device": "available",
        "batch_size": [32],
        "optimizer": ["sgd"],
        "epochs": [2],
        "mode": ["train"],
        "placement": [None, "memory"],
        "persistent_workers": [None, True],
        "workers": [0, 1, 2, 4],
    },
    columns=["train.step_mean", "train.data_share", "train.throughput", "epoch.time", "memory.peak_rss"],
)
