"""The IDX format of MNIST and its kin: ``read_idx("train-images-idx3-ubyte.gz")``."""

from __future__ import annotations

import gzip
import math
import os
import pathlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

import graphgrad as gg
from graphgrad.tensor import Tensor
from graphgrad.utils.data.dataset import Dataset

# The third byte of a file says what its elements are; all are big-endian.
_ELEMENTS = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in an IDX file, gzipped or not. ValueError where the file is not of that format."""
    data = pathlib.Path(path).read_bytes()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _ELEMENTS:
        raise ValueError(f"{path} is not an IDX file: it begins with {data[:4]!r}")
    dtype, rank = np.dtype(_ELEMENTS[data[2]]), data[3]
    begin = 4 + 4 * rank
    shape = struct.unpack(f">{rank}I", data[4:begin])
    if len(data) != begin + math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path} is cut short or too long for an array of shape {shape}")
    array = np.frombuffer(data, dtype, offset=begin).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


class MNIST(Dataset[tuple[Any, int]]):
    """Handwritten digits (image, label) from the four IDX files in ``root`` (or MNIST/raw in it).

    Images are uint8 (28, 28), or float32 in [0, 1] of shape (1, 28, 28) with ``scaled``; then
    ``transform`` is applied. Nothing is downloaded.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        scaled: bool = True,
    ) -> None:
        part = "train" if train else "t10k"
        images = read_idx(_find(pathlib.Path(root), f"{part}-images-idx3-ubyte"))
        labels = read_idx(_find(pathlib.Path(root), f"{part}-labels-idx1-ubyte"))
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels in {root}")
        if scaled:
            images = images[:, None].astype(np.float32) / np.float32(255)
        self.data, self.targets = gg.from_numpy(images), gg.from_numpy(labels.astype(np.int64))
        self.transform, self.target_transform = transform, target_transform

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, label = self.data[index], int(self.targets[index])
        image = image if self.transform is None else self.transform(image)
        return image, label if self.target_transform is None else self.target_transform(label)

    def __len__(self) -> int:
        return len(self.data)


def _find(root: pathlib.Path, name: str) -> pathlib.Path:
    folders = (root, root / "MNIST" / "raw", root / "raw")
    for folder in folders:
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.exists():
                return candidate
    raise FileNotFoundError(f"no {name} or {name}.gz in {root}, {root}/MNIST/raw or {root}/raw")
