"""An image classifier: a small convolutional network learns handwritten digits.

python digits.py --epochs 3             graphgrad run digits --epochs 3
"""

import argparse
import pathlib
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset, Sampler, Subset

DATA = pathlib.Path(__file__).resolve().parents[1] / "data" / "mnist10k.npz"


class Digits(Dataset):
    """Images (1, 28, 28) of mean 0 and deviation 1, and their labels."""

    def __init__(self, transform=None):
        with np.load(DATA) as arrays:
            self.images, self.labels = arrays["images"], arrays["labels"].astype(np.int64)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index].astype(np.float32)).unsqueeze(0)
        image = (image / 255 - 0.1307) / 0.3081
        return image if self.transform is None else self.transform(image), self.labels[index]


class Shuffled(Sampler):
    """Another order each epoch, the same ones wherever the program runs."""

    def __init__(self, size, seed):
        self.size, self.source = size, random.Random(seed)

    def __iter__(self):
        order = list(range(self.size))
        self.source.shuffle(order)
        return iter(order)

    def __len__(self):
        return self.size


class Net(nn.Module):
    def __init__(self, dropout):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(4),
        )
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(256, 10))

    def forward(self, x):
        return self.classifier(self.features(x))


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        scores = model(x)
        loss += F.cross_entropy(scores, y, reduction="sum").item()
        correct += (scores.argmax(dim=1) == y).sum().item()
        count += len(y)
    return loss / count, correct / count


def main(arguments=None, prepare=None):
    """Train, and return the losses; ``prepare`` may change the model before the first step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    digits = Digits()
    train = Subset(digits, range(options.samples))
    loaders = [
        DataLoader(
            train,
            options.batch_size,
            sampler=Shuffled(len(train), options.seed),
            num_workers=options.workers,
            drop_last=True,
        ),
        DataLoader(Subset(digits, range(9000, 10000)), 250, num_workers=options.workers),
    ]
    model = Net(options.dropout).to(device)
    if prepare is not None:
        prepare(model)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=options.lr, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = OneCycleLR(
        optimizer, max_lr=options.lr, epochs=options.epochs, steps_per_epoch=len(loaders[0])
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)

    def step(x, y):
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    if options.compile:
        step = torch.compile(step, mode="reduce-overhead", fullgraph=True)
    losses = []
    for epoch in range(1, options.epochs + 1):
        model.train()
        for x, y in loaders[0]:
            losses.append(step(x.to(device), y.to(device)).item())
            schedule.step()
        loss, accuracy = evaluate(model, loaders[1], device)
        print(f"epoch {epoch}: training {losses[-1]:.4f}, test {loss:.4f}, {accuracy:.1%} right")
        losses.append(loss)
    return losses


if __name__ == "__main__":
    main()
