"""Three models of torchvision (convolutions, mobile convolutions, attention) on random images.

Size and number of the images are axes of this suite: `--axis image_size=224` is the size in the papers.
"""

from epochbench import Suite, tasks

suite = Suite(
    name="models",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        "dataset": ["fake-images"],
        "image_size": [64],
        "images": [160],
        "model": ["resnet18", "mobilenet_v3_small", "vit_b_16_reduced"],
        "device": "available",
        "batch_size": [16, 32],
        "optimizer": ["sgd"],
        "epochs": [2],
        "mode": ["train", "eval", "no_grad", "inference_mode"],
    },
)
