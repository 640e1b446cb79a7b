"""A small causal transformer that predicts the next character of real English text."""

from epochbench import Suite, tasks

suite = Suite(
    name="language",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        "dataset": ["text"],
        "model": ["transformer"],
        "device": "available",
        "batch_size": [32, 128],
        "optimizer": ["adam", "sgd"],
        "epochs": [2],
        "mode": ["train", "eval", "no_grad", "inference_mode"],
    },
)
