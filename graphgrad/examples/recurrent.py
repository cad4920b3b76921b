"""A recurrent language model: an LSTM learns sums in words, character by character.

python recurrent.py --epochs 4             graphgrad run recurrent --epochs 4
"""

import argparse
import math
import random

import torch
from torch import nn, optim
from torch.nn.utils import clip_grad_norm_

NAMES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
NUMBERS = [*NAMES.split(), *"fifteen sixteen seventeen eighteen".split()]


def sums(count, seed):
    """A text of lines such as "three plus four is seven."."""
    source, lines = random.Random(seed), []
    for _ in range(count):
        a, b = source.randint(0, 9), source.randint(0, 9)
        lines.append(f"{NUMBERS[a]} plus {NUMBERS[b]} is {NUMBERS[a + b]}.\n")
    return "".join(lines)


class Model(nn.Module):
    def __init__(self, letters, width, layers, dropout):
        super().__init__()
        self.embedding = nn.Embedding(letters, width)
        self.lstm = nn.LSTM(width, width, layers, dropout=dropout, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, letters)
        self.head.weight = self.embedding.weight
        self.layers, self.width = layers, width

    def forward(self, x, state):
        y, state = self.lstm(self.drop(self.embedding(x)), state)
        return self.head(self.drop(y)), state

    def start(self, rows):
        weight = next(self.parameters())
        return tuple(weight.new_zeros(self.layers, rows, self.width) for _ in range(2))


def batches(text, letters, rows, length):
    """The text cut into ``rows`` streams, ``length`` letters at a time: inputs, targets."""
    numbers = torch.tensor([letters.index(c) for c in text], dtype=torch.long)
    streams = numbers[: len(numbers) // rows * rows].view(rows, -1)
    for begin in range(0, streams.size(1) - 1 - length, length):
        yield (
            streams[:, begin : begin + length].contiguous(),
            streams[:, begin + 1 : begin + length + 1].contiguous(),
        )


def evaluate(model, data, rows, criterion):
    model.eval()
    state, losses = model.start(rows), []
    with torch.no_grad():
        for x, y in data:
            scores, state = model(x, state)
            losses.append(criterion(scores.flatten(0, 1), y.flatten()).item())
    return sum(losses) / len(losses)


@torch.inference_mode()
def continued(model, text, letters, count):
    """The likeliest continuation of a text."""
    model.eval()
    state = model.start(1)
    scores, state = model(torch.tensor([[letters.index(c) for c in text]]), state)
    for _ in range(count):
        best = scores[0, -1].argmax().item()
        text += letters[best]
        scores, state = model(torch.tensor([[best]]), state)
    return text


def main(arguments=None, prepare=None):
    """Train, and return the losses; ``prepare`` may change the model before the first step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lines", type=int, default=2000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    text, unseen = sums(options.lines, options.seed), sums(options.lines // 4, options.seed + 1)
    letters = sorted(set(text) | set(unseen))
    model = Model(len(letters), options.width, options.layers, options.dropout)
    if prepare is not None:
        prepare(model)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)

    def step(x, y, state):
        optimizer.zero_grad()
        scores, state = model(x, state)
        loss = criterion(scores.flatten(0, 1), y.flatten())
        loss.backward()
        clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        return loss.detach(), tuple(s.detach() for s in state)

    if options.compile:
        step = torch.compile(step)
    losses = []
    for epoch in range(1, options.epochs + 1):
        model.train()
        state = model.start(options.rows)
        for x, y in batches(text, letters, options.rows, options.length):
            loss, state = step(x, y, state)
            losses.append(loss.item())
        held = batches(unseen, letters, options.rows, options.length)
        losses.append(evaluate(model, held, options.rows, criterion))
        schedule.step(losses[-1])
        print(f"epoch {epoch}: perplexity {math.exp(losses[-1]):.3f}")
    print(continued(model, "five plus four is", letters, 8))
    return losses


if __name__ == "__main__":
    main()
