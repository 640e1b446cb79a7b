"""A GPT on characters, in the style of nanoGPT: without a loader or epochs, in an endless loop over iterations.

Only the lines that end in `# bench` were added or changed. An iteration is a step, and the loop says how many make an
epoch; the batches that estimate the loss are a stage, named at their loop.

    python examples/nanogpt.py --max_iters=100
    bench run --script examples/nanogpt.py --axis n_embd=64,128 -- --max_iters=60
"""

import argparse
import itertools
import math
import pydoc_data.topics
import time
from contextlib import nullcontext

import torch
from torch import nn
from torch.nn import functional as F

import epochbench  # bench

parser = argparse.ArgumentParser()
parser.add_argument("--max_iters", type=int, default=200)
parser.add_argument("--eval_interval", type=int, default=20)
parser.add_argument("--eval_iters", type=int, default=5)
parser.add_argument("--batch_size", type=int, default=12)
parser.add_argument("--gradient_accumulation_steps", type=int, default=2)
parser.add_argument("--block_size", type=int, default=64)
parser.add_argument("--n_layer", type=int, default=2)
parser.add_argument("--n_head", type=int, default=4)
parser.add_argument("--n_embd", type=int, default=64)
parser.add_argument("--learning_rate", type=float, default=1e-3)
parser.add_argument("--device", default="cpu")
parser.add_argument("--compile", action="store_true")
options = parser.parse_args()

torch.manual_seed(1337)
device_type = options.device.partition(":")[0]
bf16 = device_type == "cuda" and torch.cuda.is_bf16_supported()
ctx = torch.autocast(device_type, torch.bfloat16) if bf16 else nullcontext()

text = "\n".join(pydoc_data.topics.topics.values())
stoi = {character: number for number, character in enumerate(sorted(set(text)))}
data = torch.tensor([stoi[character] for character in text])
splits = {"train": data[: int(0.9 * len(data))], "val": data[int(0.9 * len(data)) :]}


def get_batch(split):
    data = splits[split]
    ix = torch.randint(len(data) - options.block_size, (options.batch_size,))
    x = torch.stack([data[i : i + options.block_size] for i in ix])
    y = torch.stack([data[i + 1 : i + 1 + options.block_size] for i in ix])
    return x.to(options.device), y.to(options.device)


class CausalSelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn = nn.Linear(options.n_embd, 3 * options.n_embd, bias=False)
        self.c_proj = nn.Linear(options.n_embd, options.n_embd, bias=False)

    def forward(self, x):
        B, T, C = x.size()
        parts = self.c_attn(x).split(C, dim=2)
        q, k, v = (part.view(B, T, options.n_head, C // options.n_head).transpose(1, 2) for part in parts)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(options.n_embd), nn.LayerNorm(options.n_embd)
        self.attn = CausalSelfAttention()
        self.mlp = nn.Sequential(
            nn.Linear(options.n_embd, 4 * options.n_embd),
            nn.GELU(),
            nn.Linear(4 * options.n_embd, options.n_embd),
        )

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(len(stoi), options.n_embd)
        self.wpe = nn.Embedding(options.block_size, options.n_embd)
        self.h = nn.Sequential(*(Block() for _ in range(options.n_layer)))
        self.ln_f = nn.LayerNorm(options.n_embd)
        self.lm_head = nn.Linear(options.n_embd, len(stoi), bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx, targets):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1), device=idx.device))
        logits = self.lm_head(self.ln_f(self.h(x)))
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


model = GPT().to(options.device)
optimizer = torch.optim.AdamW(
    model.parameters(), lr=options.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
)
if options.compile:
    model = torch.compile(model)


@torch.no_grad()
def estimate_loss():
    out = {}
    model.eval()
    for split in ("train", "val"):
        losses = torch.zeros(options.eval_iters)
        for k in epochbench.watch(range(options.eval_iters), "validate", samples=options.batch_size):  # bench
            X, Y = get_batch(split)
            with ctx:
                _, loss = model(X, Y)
            losses[k] = loss.item()
        out[split] = losses.mean()
    model.train()
    return out


def get_lr(it):
    warmup = min(1.0, (it + 1) / 10)
    return options.learning_rate * warmup * 0.5 * (1.0 + math.cos(math.pi * it / options.max_iters))


X, Y = get_batch("train")
t0 = time.time()
for iter_num in epochbench.watch(itertools.count(), steps_per_epoch=20, samples=options.batch_size):  # bench
    for param_group in optimizer.param_groups:
        param_group["lr"] = get_lr(iter_num)

    if iter_num % options.eval_interval == 0:
        losses = estimate_loss()
        print(f"step {iter_num}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    if iter_num == options.max_iters:
        break

    for _ in range(options.gradient_accumulation_steps):
        with ctx:
            logits, loss = model(X, Y)
            loss = loss / options.gradient_accumulation_steps
        X, Y = get_batch("train")  # the next one, while a device computes
        loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

t1 = time.time()
print(f"{options.max_iters} iterations in {t1 - t0:.1f} s")
