"""Number formats, memory layout and compilation: how much speed each gains on this machine, and how quality changes.

In `formats` a format that the machine lacks is excluded with the reason. `compiled` runs the same loop with and without
compilation; the time of compiling is a metric, and falls into the warm-up epoch. The first run compiles, later ones use
torch's cache, as the table shows.
"""

from epochbench import Suite, tasks

IMAGES = {
    "dataset": ["fake-images"],
    "image_size": [32],
    "images": [320],
    "placement": ["memory"],  # images generated once: reading them would hide the step
    "device": "available",
    "model": ["cnn"],
    "batch_size": [32],
    "epochs": [3],
    "mode": ["train"],
}
SHOWN = ["train.step_time", "train.throughput", "epoch.time", "memory.peak_allocated", "memory.peak_rss"]

formats = Suite(
    name="formats",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        **IMAGES,
        "precision": ["fp32", "tf32", "bf16", "bf16-autocast", "fp16-autocast"],
        "memory_format": [None, "channels_last"],
    },
    columns=[*SHOWN, "quality.train_loss"],
)

compiled = Suite(
    name="compiled",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={**IMAGES, "compile": [None, "default", "reduce-overhead"]},
    columns=[*SHOWN, "compile.time", "compile.cache_misses", "count.graphs", "count.recompilations"],
)
