"""Every optimizer of the installed torch on one model: what it takes of a step, what it keeps, what it dispatches.

Each has the learning rate that torch gives it. The model has an embedding, whose gradients SparseAdam wants
sparse, and matrices, which Muon is for. `implementations` measures the ways in which torch computes the same step.
"""

from epochbench import Suite, tasks

MODEL = {
    "dataset": ["digits"],
    "model": ["embedding-mlp"],
    "device": "available",
    "batch_size": [256],
    "learning_rate": ["default"],
    "epochs": [5],
}
SHOWN = [
    "train.step_time",
    "train.phase.optimizer",
    "train.optimizer_share",
    "count.optimizer_ops",
    "count.optimizer_state_bytes",
    "work.train.closure_evaluations",
    "quality.train_loss",
    "quality.test_accuracy",
]

optimizers = Suite(
    name="optimizers",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={**MODEL, "optimizer": list(tasks.optimizers.OPTIMIZERS)},
    columns=SHOWN,
)

implementations = Suite(
    name="implementations",
    build=tasks.build,
    choices=tasks.CHOICES,
    exclude=tasks.exclude,
    axes={
        **MODEL,
        "optimizer": ["sgd", "adagrad", "adam", "adamw", "rmsprop"],
        "implementation": ["for-loop", "foreach", "fused", "capturable"],
    },
    columns=SHOWN,
)
