"""Every optimizer of the installed torch on one model: its share of a step, its state, its operators.

Each has torch's default learning rate. The model has an embedding, for the sparse gradients of SparseAdam, and
matrices, for Muon. `implementations` measures the ways in which torch can compute the same step.
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
