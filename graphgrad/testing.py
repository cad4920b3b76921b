"""``graphgrad.testing.assert_close``: whether two results are the same up to rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphgrad.tensor import Tensor

# Relative and absolute tolerance by NumPy's name of the type; whole numbers must be equal.
_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
    "complex64": (1.3e-6, 1e-5),
    "complex128": (1e-7, 1e-7),
}


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """AssertionError unless the values differ by at most atol + rtol·|expected|.

    Tensors, arrays, numbers, and sequences and mappings of them. The tolerances that are not given
    are those of the less accurate type.
    """
    if (rtol is None) is not (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified")
    problem = _compared(
        actual, expected, (rtol, atol), equal_nan, _Checked(check_device, check_dtype)
    )
    if problem:
        raise AssertionError(msg(problem) if callable(msg) else msg or problem)


class _Checked(NamedTuple):
    """Which attributes of tensors have to agree."""

    device: bool
    dtype: bool


def _compared(
    a: Any, b: Any, tolerances: Any, equal_nan: bool, checked: _Checked, where: str = ""
) -> str:
    """What is wrong, or an empty text."""
    rest = (tolerances, equal_nan, checked)
    if isinstance(b, Mapping) and isinstance(a, Mapping):
        if set(a) != set(b):
            return f"The keys of the mappings do not match:{where} {sorted(a)} != {sorted(b)}"
        return next(filter(None, (_compared(a[k], b[k], *rest, f"{where}[{k!r}]") for k in b)), "")
    if isinstance(b, Sequence) and isinstance(a, Sequence) and not isinstance(b, str):
        if len(a) != len(b):
            return f"The length of the sequences mismatch:{where} {len(a)} != {len(b)}"
        parts = enumerate(zip(a, b, strict=True))
        return next(
            filter(None, (_compared(x, y, *rest, f"{where}[{i}]") for i, (x, y) in parts)), ""
        )
    x, y = _array(a), _array(b)
    if x.shape != y.shape:
        return f"The values for attribute 'shape' do not match{where}: {x.shape} != {y.shape}."
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        for name, wanted in checked._asdict().items():
            p, q = getattr(a, name), getattr(b, name)
            if wanted and p != q:
                return f"The values for attribute '{name}' do not match{where}: {p} != {q}."
    return _differences(x, y, tolerances, equal_nan, where)


def _array(x: Any) -> np.ndarray:
    return x.numpy(force=True) if isinstance(x, Tensor) else np.asarray(x)


def _differences(x: np.ndarray, y: np.ndarray, tolerances: Any, equal_nan: bool, where: str) -> str:
    rtol, atol = tolerances
    if rtol is None:
        pairs = [_TOLERANCES.get(v.dtype.name, (0.0, 0.0)) for v in (x, y)]
        rtol, atol = (max(values) for values in zip(*pairs, strict=True))
    near = np.isclose(x, y, rtol, atol, equal_nan)
    if near.all():
        return ""
    gap = np.where(near, 0, np.abs(np.subtract(x, y, dtype=np.result_type(x, y, float))))
    kind = "Scalars" if x.ndim == 0 else "Tensor-likes"
    place = tuple(int(i) for i in np.unravel_index(np.argmax(gap), x.shape))
    close = "close" if rtol or atol else "equal"
    return (
        f"{kind} are not {close}{where}!\n\n"
        f"Mismatched elements: {int((~near).sum())} / {near.size}\n"
        f"Greatest absolute difference: {gap.max()} at index {place} (up to {atol} allowed, "
        f"relative {rtol})"
    )
