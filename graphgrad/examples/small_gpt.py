"""A small GPT: a transformer learns to sort, letter by letter.

python small_gpt.py --steps 300             graphgrad run small_gpt --steps 300
"""

import argparse
import math
import random

import torch
import torch.nn as nn
from torch.nn import functional as F

LETTERS = "abcdefghij>."


def lines(count, length, source):
    """Rows such as "dbca>abcd.": letters, then the same letters in order."""
    rows = []
    for _ in range(count):
        letters = [source.choice(LETTERS[:-2]) for _ in range(length)]
        rows.append("".join([*letters, ">", *sorted(letters), "."]))
    return torch.tensor([[LETTERS.index(c) for c in row] for row in rows])


class Attention(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.heads, self.dropout = heads, dropout

    def forward(self, x):
        n, t, width = x.shape
        split = self.qkv(x).view(n, t, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        p = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(n, t, width))


class Block(nn.Module):
    def __init__(self, width, heads, dropout):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, letters, context, width, heads, layers, dropout):
        super().__init__()
        self.tokens = nn.Embedding(letters, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, letters, bias=False)
        self.head.weight = self.tokens.weight
        self.apply(self.initialise)

    @staticmethod
    def initialise(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, mean=0.0, std=0.08)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, numbers):
        places = torch.arange(numbers.shape[1], device=numbers.device)
        x = self.tokens(numbers) + self.places(places)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))

    def optimizer(self, lr, decay):
        """AdamW, whose decay leaves biases and norms alone."""
        parameters = list(self.parameters())
        groups = [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))


def right(model, rows, length):
    """The share of rows that the model sorts without a mistake."""
    model.eval()
    numbers = rows[:, : length + 1]
    with torch.no_grad():
        for _ in range(length):
            best = model(numbers)[:, -1].argmax(-1, keepdim=True)
            numbers = torch.cat([numbers, best], dim=1)
    return (numbers == rows[:, :-1]).all(dim=1).float().mean().item()


def main(arguments=None, prepare=None):
    """Train, and return the losses; ``prepare`` may change the model before the first step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--length", type=int, default=6)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    source, length = random.Random(options.seed), options.length
    context = 2 * length + 2
    model = GPT(
        len(LETTERS), context, options.width, options.heads, options.layers, options.dropout
    )
    if prepare is not None:
        prepare(model)
    optimizer = model.optimizer(options.lr, decay=0.1)

    def share(step):
        if step < options.warmup:
            return (step + 1) / options.warmup
        return 0.1 + 0.45 * (1 + math.cos(math.pi * step / options.steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)

    def step(rows):
        scores = model(rows[:, :-1])
        # Only the answer can be foretold, so only it counts.
        answers = rows[:, length + 1 :]
        loss = F.cross_entropy(scores[:, length:].reshape(-1, len(LETTERS)), answers.reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    if options.compile:
        step = torch.compile(step)
    losses = []
    model.train()
    for number in range(1, options.steps + 1):
        losses.append(step(lines(options.batch_size, length, source)).item())
        schedule.step()
        if number % 100 == 0:
            print(f"step {number}: loss {losses[-1]:.4f}")
    share_right = right(model, lines(100, length, source), length)
    print(f"{share_right:.0%} of new rows sorted")
    return [*losses, share_right]


if __name__ == "__main__":
    main()
