"""What `bench run` measures of this project. It runs unchanged; put in your own code at 1, 2 and 3."""

from epochbench import Suite


def build(case):  # runs in the worker only, so torch is imported here
    import torch
    from epochbench.training import Task
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset, random_split

    # 1. The model: replace this small one by yours.
    # @model@
    model = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 4))

    # 2. The data: random rows of the shape that this model takes. A loader is any iterable of (inputs, targets);
    #    model and batches are moved to the device of the case.
    inputs = torch.randn(4096, 64)
    data = TensorDataset(inputs, inputs[:, :4].argmax(dim=1))
    train, validate, test = random_split(data, [2048, 1024, 1024])

    # 3. The loss and the optimizer. A loss that is not loss(model(inputs), targets) goes into Task(step=...).
    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=torch.optim.AdamW(model.parameters(), lr=case.learning_rate),
        train_loader=DataLoader(train, case.batch_size, shuffle=True),
        validate_loader=DataLoader(validate, case.batch_size),
        test_loader=DataLoader(test, case.batch_size),
    )


suite = Suite(
    name="@name@",
    build=build,
    axes={
        "device": "available",  # every device of this machine; or ["cpu"], ["cuda:0"]
        "batch_size": [64, 256],
        "mode": ["train", "no_grad"],
        # "width": [128, 512],  # any axis of your own: case["width"] in build, a column in every table
    },
)
