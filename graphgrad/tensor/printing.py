"""``print(tensor)``, laid out as PyTorch does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from graphgrad import dtypes
from graphgrad.device import CPU
from graphgrad.tensor.core import Tensor, function, method


@dataclass(frozen=True)
class Options:
    """What ``set_printoptions`` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = Options()


@function
def set_printoptions(profile: str | None = None, **changes: Any) -> None:
    """Set precision, threshold, edgeitems, linewidth or sci_mode, or a profile of them."""
    global _options
    base = _PROFILES[profile.lower()] if profile else replace(_options, sci_mode=None)
    _options = replace(base, **{k: v for k, v in changes.items() if v is not None})


@method
def __repr__(self: Tensor, *, tensor_contents: Any = None) -> str:
    array = self.detach().concrete("printing")
    suffixes = [] if self.device is CPU else [f"device='{self.device}'"]
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
        if self.dtype is not dtypes.get_default_dtype():
            suffixes.append(f"dtype={self.dtype!r}")
        body = "[]"
    else:
        default = dtypes.get_default_dtype()
        told = (default, dtypes.complex_of(default), dtypes.int64, dtypes.bool_)
        if self.dtype not in told:
            suffixes.append(f"dtype={self.dtype!r}")
        body = text(array, len("tensor("))
    if self.grad_fn is not None:
        suffixes.append(f"grad_fn=<{self.grad_fn.name()}>")
    elif self._needs:
        suffixes.append("requires_grad=True")
    return _with_suffixes(f"tensor({body}", suffixes, len("tensor("))


Tensor.__str__ = Tensor.__repr__


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Each suffix on the last line while it fits, else on a new one."""
    width = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if width + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            width = indent + len(suffix)
        else:
            text += ", " + suffix
            width += len(suffix) + 2
    return text + ")"


def text(array: np.ndarray, indent: int) -> str:
    """The nested brackets of an array's elements."""
    short = array.size > _options.threshold
    if dtypes.from_numpy(array.dtype).is_half:
        array = array.astype(np.float32)
    shown = _edges(array) if short else array
    style = {"f": _floats, "c": _complexes}.get(array.dtype.kind, _others)(shown)
    return _nested(array, indent, short, style)


def _edges(array: np.ndarray) -> np.ndarray:
    """Only what a shortened print shows."""
    k = _options.edgeitems
    for axis, n in enumerate(array.shape):
        if n > 2 * k:
            array = np.take(array, [*range(k), *range(n - k, n)], axis)
    return array


@dataclass(frozen=True)
class _Style:
    """How one element is written, right-aligned to ``width``; ``more``: what may stick out."""

    width: int
    write: Callable[[Any], str]
    more: int = 0

    def __call__(self, value: Any) -> str:
        return self.write(value).rjust(self.width)


def _others(array: np.ndarray) -> _Style:
    return _Style(max(len(str(v)) for v in array.ravel().tolist()), str)


def _complexes(array: np.ndarray) -> _Style:
    """The real part in its column, the imaginary part with its sign behind it."""
    real, imag = _floats(array.real), _floats(array.imag)

    def write(value: Any) -> str:
        tail = imag.write(value.imag)
        return f"{real(value.real)}{'' if tail[0] in '+-' else '+'}{tail}j"

    return _Style(0, write, real.width + imag.width + 1)


def _floats(array: np.ndarray) -> _Style:
    """Whole numbers, fixed point or powers of ten, by the range of what is finite and not 0."""
    digits = _options.precision
    flat = array.ravel().astype(np.float64)
    used = flat[np.isfinite(flat) & (flat != 0)]
    if used.size == 0:
        return _Style(1, _whole)
    low, high = np.abs(used).min(), np.abs(used).max()
    is_whole = bool((used == np.ceil(used)).all())
    wide = high / low > 1000 or high > 1e8 or (not is_whole and low < 1e-4)
    write: Callable[[float], str]
    if wide if _options.sci_mode is None else _options.sci_mode:
        write = f"{{:.{digits}e}}".format
    elif is_whole:
        write = _whole
    else:
        write = f"{{:.{digits}f}}".format
    return _Style(max(len(write(v)) for v in used.tolist()), write)


def _whole(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"


def _nested(array: np.ndarray, indent: int, short: bool, style: _Style) -> str:
    if array.ndim == 0:
        return style(array.item())
    k = _options.edgeitems
    cut = short and array.shape[0] > 2 * k
    rows = [*array[:k], None, *array[len(array) - k :]] if cut else list(array)
    if array.ndim == 1:
        return _line(rows, indent, style)
    parts = ["..." if r is None else _nested(r, indent + 1, short, style) for r in rows]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def _line(values: list[Any], indent: int, style: _Style) -> str:
    words = [" ..." if v is None else style(v.item()) for v in values]
    per_line = max(1, (_options.linewidth - indent) // (style.width + style.more + 2))
    lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


@method
def graph(self: Tensor, **options: Any) -> Any:
    """A Picture of the history that backward would walk: shown in a notebook, or ``.svg(path)``.

    Also ``.dot(path)``, ``.png(path)``, ``.pdf(path)``; ``options`` are those of ``draw``. Raises
    GraphError where no layout program is installed.
    """
    from graphgrad.viz import draw

    return draw(self, **options)
