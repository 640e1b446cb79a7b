"""Handwritten digits: every device, batch size, optimizer and mode. What `make bench` runs."""

from epochbench import Suite, tasks

suite = Suite(
    name="vision",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        "dataset": ["digits"],
        "model": ["mlp"],
        "device": "available",
        "batch_size": [32, 64, 128, 256],
        "optimizer": ["sgd", "adam", "rmsprop"],
        "mode": ["train", "eval", "no_grad", "inference_mode"],
    },
)
