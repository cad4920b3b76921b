"""LeNet-5 (LeCun et al. 1998) and the handwritten digits it learns.

images, labels = load_digits("train")       # float32 (8000, 1, 28, 28), int64 (8000,)
logits = LeNet5()(images[:64])              # (64, 10)
"""

from __future__ import annotations

import importlib.resources

import numpy as np

import graphgrad as gg
from graphgrad.nn import Conv2d, Linear, MaxPool2d, Module, ReLU
from graphgrad.tensor import Tensor

# Mean and standard deviation of the pixels, as fractions of full brightness.
MEAN, STD = 0.1307, 0.3081
TRAINING = 8_000


class LeNet5(Module):
    """Two convolutions, three dense layers; images (N, 1, 28, 28) → logits (N, num_classes)."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = Conv2d(in_channels=1, out_channels=6, kernel_size=5, stride=1, padding=2)
        self.conv2 = Conv2d(6, 16, 5)
        self.linear1 = Linear(in_features=16 * 5 * 5, out_features=120)
        self.linear2 = Linear(120, 84)
        self.linear3 = Linear(84, num_classes)
        self.relu = ReLU()
        self.maxpool = MaxPool2d(kernel_size=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.conv1(x)))  #  1×28×28 →  6×14×14
        x = self.maxpool(self.relu(self.conv2(x)))  #  6×14×14 → 16×5×5
        x = gg.flatten(x, 1)  #                       16×5×5   → 400
        x = self.relu(self.linear1(x))
        x = self.relu(self.linear2(x))
        return self.linear3(x)


def load_digits(part: str = "train") -> tuple[Tensor, Tensor]:
    """Images, normalised, and labels: 8,000 for "train", the other 2,000 for "test"."""
    chosen = {"train": slice(TRAINING), "test": slice(TRAINING, None)}
    if part not in chosen:
        raise ValueError(f"part must be 'train' or 'test', not {part!r}")
    source = importlib.resources.files("graphgrad") / "data" / "mnist10k.npz"
    with source.open("rb") as file, np.load(file) as digits:
        images, labels = (digits[name][chosen[part]] for name in ("images", "labels"))
    pixels = ((images.astype(np.float32) / 255 - MEAN) / STD).astype(np.float32)
    return gg.from_numpy(pixels[:, None]), gg.from_numpy(labels.astype(np.int64))
