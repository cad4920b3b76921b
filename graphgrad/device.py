"""Where tensors live. One device exists so far: ``device("cpu")``."""

from __future__ import annotations

from typing import Any


class device:
    """A device by PyTorch's names; anything but the CPU raises what is missing."""

    __slots__ = ("index", "type")

    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        name, _, ordinal = str(type).partition(":")
        if name == "cuda":
            raise NotImplementedError("CUDA tensors are not supported yet: use device='cpu'")
        if name != "cpu":
            raise RuntimeError(f"expected device 'cpu' or 'cuda', not {type!r}")
        self.type = name
        self.index = int(ordinal) if ordinal else index

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __repr__(self) -> str:
        ordinal = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{ordinal})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


CPU = device("cpu")
