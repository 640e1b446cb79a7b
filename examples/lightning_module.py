"""A LightningModule with Lightning's own Trainer: the loaders are watched where the Trainer gets them.

pip install lightning
bench run --script examples/lightning_module.py --axis width=64,256 -- --epochs 3
"""

import argparse

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

import epochbench


class Digits(lightning.LightningModule):
    """Two layers that learn handwritten digits."""

    def __init__(self, width, lr):
        super().__init__()
        self.lr = lr
        self.layers = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, images):
        return self.layers(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        outputs = self(images)
        self.log("val_loss", nn.functional.cross_entropy(outputs, labels))
        self.log("val_accuracy", (outputs.argmax(dim=1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.lr)


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--width", type=int, default=128)
parser.add_argument("--lr", type=float, default=1e-3)
options = parser.parse_args()

lightning.seed_everything(0, verbose=False)
images, labels = load_digits(return_X_y=True)
data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
train, validate = random_split(data, [1400, 397])

trainer = lightning.Trainer(
    max_epochs=options.epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(
    Digits(options.width, options.lr),
    epochbench.watch(DataLoader(train, 64, shuffle=True)),
    epochbench.watch(DataLoader(validate, 64), "validate"),
)
print({name: round(float(value), 3) for name, value in trainer.callback_metrics.items()})
