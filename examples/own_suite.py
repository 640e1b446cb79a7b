"""Your own suite: a model with two inputs, generated data, and an axis of its own.

bench run examples/own_suite.py
bench compare latest --by rank
"""

from epochbench import Suite


def build(case):  # runs in the worker only, so torch is imported here
    import torch
    from epochbench.training import Task
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Factorization(nn.Module):
        """Ratings as the product of two vectors: one of a user, one of a film."""

        def __init__(self, rank):
            super().__init__()
            self.users, self.films = nn.Embedding(USERS, rank), nn.Embedding(FILMS, rank)

        def forward(self, pairs):
            users, films = pairs.unbind(dim=1)
            return (self.users(users) * self.films(films)).sum(dim=1)

    # Ratings are the product of two hidden vectors of rank 4, with a little noise.
    hidden = torch.randn(USERS, 4), torch.randn(FILMS, 4)
    pairs = torch.stack([torch.randint(USERS, (RATINGS,)), torch.randint(FILMS, (RATINGS,))], dim=1)
    ratings = (hidden[0][pairs[:, 0]] * hidden[1][pairs[:, 1]]).sum(dim=1) + 0.1 * torch.randn(RATINGS)
    data = TensorDataset(pairs, ratings)
    train, validate, test = torch.utils.data.random_split(data, [0.8, 0.1, 0.1])

    model = Factorization(case["rank"])
    return Task(
        model=model,
        loss=nn.MSELoss(),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.05),
        train_loader=DataLoader(train, case.batch_size, shuffle=True),
        validate_loader=DataLoader(validate, case.batch_size),
        test_loader=DataLoader(test, case.batch_size),
    )


USERS, FILMS, RATINGS = 300, 200, 8000

suite = Suite(
    name="ratings",
    build=build,
    axes={
        "device": "available",
        "batch_size": [256],
        "mode": ["train", "no_grad"],
        "rank": [4, 64],  # an axis of its own: case["rank"] in build, a column in every table
    },
)
