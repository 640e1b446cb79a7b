"""The smallest real suite: every mode of one MLP on the digits, two epochs."""

from bench import Suite, tasks

suite = Suite(
    name="small",
    build=tasks.build,
    choices=tasks.CHOICES,
    axes={
        "device": ["cpu"],
        "batch_size": [256],
        "epochs": [2],
        "mode": ["train", "eval", "no_grad", "inference_mode"],
    },
)
