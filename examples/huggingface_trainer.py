"""A Trainer of Hugging Face's Transformers: a tiny GPT-2 with random weights, on the bytes of real English.

The Trainer creates its loaders itself; they are watched in the methods that return them.

    pip install transformers accelerate
    bench run --script examples/huggingface_trainer.py --axis optim=adamw_torch,adafactor -- --epochs 3
"""

import argparse
import pydoc_data.topics
import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

import epochbench


class WatchedTrainer(Trainer):
    """The Trainer with its loaders watched."""

    def get_train_dataloader(self):
        return epochbench.watch(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset=None):
        return epochbench.watch(super().get_eval_dataloader(eval_dataset), "validate")


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--optim", default="adamw_torch")
parser.add_argument("--batch-size", type=int, default=8)
options = parser.parse_args()

text = "\n".join(pydoc_data.topics.topics.values()).encode()
pieces = torch.frombuffer(bytearray(text), dtype=torch.uint8)[: 160 * 64].long().view(160, 64)
data = [{"input_ids": piece, "labels": piece} for piece in pieces]

torch.manual_seed(0)
model = GPT2LMHeadModel(GPT2Config(vocab_size=256, n_positions=64, n_embd=64, n_layer=2, n_head=4))
with tempfile.TemporaryDirectory() as folder:
    trainer = WatchedTrainer(
        model,
        TrainingArguments(
            output_dir=folder,
            num_train_epochs=options.epochs,
            per_device_train_batch_size=options.batch_size,
            per_device_eval_batch_size=options.batch_size,
            optim=options.optim,
            learning_rate=1e-3,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=data[:128],
        eval_dataset=data[128:],
    )
    trainer.train()
