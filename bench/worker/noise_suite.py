"""The suite that `bench doctor` launches repeatedly: a short case of real training on every device."""

from epochbench.tasks import build

from epochbench import Suite

suite = Suite(
    name="steady",
    build=build,
    axes={"dataset": ["digits"], "model": ["mlp"], "device": "available", "batch_size": [256], "epochs": [3]},
)
