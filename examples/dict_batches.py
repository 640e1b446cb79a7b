"""A suite with dicts as batches, trained as language models are: mixed precision, gradient accumulation, a learning
rate that changes with every step, and a moving average of the weights, which is evaluated.

    bench run examples/dict_batches.py
    bench compare latest --by accumulation_steps
"""

import math

from bench import Suite


def build(case):  # runs in the worker only, so torch is imported here
    import torch
    from torch import nn
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    from torch.utils.data import DataLoader, random_split

    from bench.training import Task

    class Classifier(nn.Module):
        """A small network on the mean of the embeddings of the words."""

        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(WORDS, 64)
            self.head = nn.Sequential(nn.Linear(64, 128), nn.GELU(), nn.Linear(128, 2))

        def forward(self, input_ids, attention_mask):  # the keys of a batch, without its labels
            mask = attention_mask.unsqueeze(dim=2)
            return self.head((self.embed(input_ids) * mask).sum(dim=1) / mask.sum(dim=1))

    def text():
        """Some words, and whether most of them are in the first half of the vocabulary."""
        words = torch.randint(1, WORDS, (int(torch.randint(5, 30, ())),))
        return words, int((words < WORDS / 2).float().mean() > 0.5)

    def collate(texts):
        words = nn.utils.rnn.pad_sequence([words for words, _ in texts], batch_first=True)
        labels = torch.tensor([label for _, label in texts])
        return {"input_ids": words, "attention_mask": (words > 0).long(), "labels": labels}

    train, validate, test = (
        DataLoader(part, case.batch_size, collate_fn=collate)
        for part in random_split([text() for _ in range(TEXTS)], [0.8, 0.1, 0.1])
    )

    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    steps = case.epochs * math.ceil(len(train) / case["accumulation_steps"])
    warmup = max(1, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )

    device = torch.device(case.device)
    average = AveragedModel(model, device=device, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer.register_step_post_hook(lambda *_: average.update_parameters(model))

    def step(task, inputs, targets, lap):  # inputs: the batch without its labels
        evaluated = task.model if task.model.training else average.eval()
        with torch.autocast(device.type, dtype=torch.bfloat16):
            outputs = evaluated(**inputs)
            lap("forward")
            return outputs, task.loss(outputs, targets)

    return Task(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=optimizer,
        train_loader=train,
        validate_loader=validate,
        test_loader=test,
        step=step,
        scheduler=schedule,
        scheduler_interval="step",
        accumulation_steps=case["accumulation_steps"],
        clip_grad_norm=1.0,
        metrics={"accuracy": lambda outputs, labels: (outputs.argmax(dim=1) == labels).float().mean()},
    )


WORDS, TEXTS = 200, 2000

suite = Suite(
    name="texts",
    build=build,
    axes={
        "device": "available",
        "batch_size": [32],
        "mode": ["train", "no_grad"],
        "accumulation_steps": [1, 4],  # an axis of its own: case["accumulation_steps"] in build
    },
)
