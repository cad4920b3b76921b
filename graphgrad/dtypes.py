"""Element types, by PyTorch's names, and PyTorch's promotion rules.

A ``DType`` is compared by identity. ``promote`` joins two types; ``result_type`` joins operands the
way PyTorch does: tensors with dimensions decide, then zero-dimensional ones, then Python numbers,
and a later group only counts when it is of a higher category (bool < integer < float < complex).

float16 and bfloat16 are types of memory: every operation computes in float32 and rounds its result
to the nearest value, ties to even. bfloat16 is NumPy's by the package ml_dtypes.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

BOOL, INTEGER, FLOAT, COMPLEX = range(4)


class DType:
    """One element type: ``float32``, ``int64``, …; ``numpy`` is its NumPy twin."""

    __slots__ = ("category", "itemsize", "name", "numpy")

    def __init__(self, name: str, numpy_name: Any, category: int) -> None:
        self.name = name
        self.numpy = np.dtype(numpy_name)
        self.itemsize = self.numpy.itemsize
        self.category = category

    @property
    def is_floating_point(self) -> bool:
        """Whether values are real numbers: float16, bfloat16, float32 or float64."""
        return self.category == FLOAT

    @property
    def is_complex(self) -> bool:
        """Whether values are complex numbers."""
        return self.category == COMPLEX

    @property
    def is_signed(self) -> bool:
        """Whether values may be negative."""
        return self.category >= FLOAT or self.numpy.kind == "i"

    @property
    def is_half(self) -> bool:
        """Whether values are stored in 16 bits and computed with in float32."""
        return self.category == FLOAT and self.itemsize == 2

    @property
    def is_differentiable(self) -> bool:
        """Whether tensors of this type can require gradients."""
        return self.category >= FLOAT

    def to_real(self) -> DType:
        """The type of the parts of a complex type; any other type itself."""
        return real_of(self)

    def to_complex(self) -> DType:
        """The complex type whose parts are of this type."""
        return complex_of(self)

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return (by_name, (self.name,))


class Unsupported:
    """A type of PyTorch's that nothing here is computed in, so that scripts can name it."""

    __slots__ = ("instead", "name")

    def __init__(self, name: str, instead: str) -> None:
        self.name = name
        self.instead = instead

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return self.name


bool_ = DType("bool", "bool", BOOL)
uint8 = DType("uint8", "uint8", INTEGER)
int8 = DType("int8", "int8", INTEGER)
int16 = DType("int16", "int16", INTEGER)
int32 = DType("int32", "int32", INTEGER)
int64 = DType("int64", "int64", INTEGER)
uint32 = DType("uint32", "uint32", INTEGER)
float16 = DType("float16", "float16", FLOAT)
bfloat16 = DType("bfloat16", ml_dtypes.bfloat16, FLOAT)
float32 = DType("float32", "float32", FLOAT)
float64 = DType("float64", "float64", FLOAT)
complex64 = DType("complex64", "complex64", COMPLEX)
complex128 = DType("complex128", "complex128", COMPLEX)

ALL: tuple[DType, ...] = (
    bool_,
    uint8,
    int8,
    int16,
    int32,
    int64,
    uint32,
    float16,
    bfloat16,
    float32,
    float64,
)
ALL += (complex64, complex128)
complex32 = Unsupported("complex32", "complex64")
uint16 = Unsupported("uint16", "int32")
uint64 = Unsupported("uint64", "int64")
UNSUPPORTED = (complex32, uint16, uint64)
# By NumPy's dtype, and by the dtype of arrays in the memory of a device.
_BY_NUMPY: dict[Any, DType] = {d.numpy: d for d in ALL}
_BY_NAME = {d.name: d for d in ALL}
_PYTHON = {bool: bool_, int: int64, float: float32, complex: complex64}

# NumPy's own promotion differs from PyTorch's where integers meet floats: PyTorch keeps the float.
_default = float32


def by_name(name: str) -> DType:
    """The type called ``name``; raises KeyError for an unknown one."""
    return _BY_NAME[name]


def name_placed(placed: Any) -> None:
    """Let ``placed``, NumPy's type ``placed.numpy`` on a device, stand for the same type."""
    _BY_NUMPY[placed] = from_numpy(placed.numpy)


def from_numpy(dtype: Any) -> DType:
    """The type of a NumPy dtype; TypeError names what is supported."""
    if dtype in _BY_NUMPY:
        return _BY_NUMPY[dtype]
    try:
        return _BY_NUMPY[np.dtype(dtype)]
    except KeyError:
        names = ", ".join(d.name for d in ALL)
        raise TypeError(f"no tensor type for NumPy's {dtype}; the types are {names}") from None


def as_dtype(dtype: Any) -> DType:
    """Accept a DType, a Python type (``float``) or anything NumPy calls a dtype.

    Raises NotImplementedError for PyTorch's types that nothing is computed in.
    """
    if isinstance(dtype, DType):
        return dtype
    if isinstance(dtype, Unsupported):
        raise NotImplementedError(f"tensors of {dtype}: use {dtype.instead}")
    if dtype is float:
        return _default
    return _PYTHON[dtype] if dtype in (bool, int, complex) else from_numpy(dtype)


def get_default_dtype() -> DType:
    """The float type of new tensors made from Python floats (float32 unless set)."""
    return _default


def set_default_dtype(dtype: DType) -> None:
    """Make ``dtype`` (a floating type) the type of tensors made from Python floats."""
    global _default
    dtype = as_dtype(dtype)
    if not dtype.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, not {dtype}")
    _default = dtype


def real_of(dtype: DType) -> DType:
    """The type of the parts of a complex type; any other type itself."""
    return {complex64: float32, complex128: float64}.get(dtype, dtype)


def complex_of(dtype: DType) -> DType:
    """The complex type whose parts are of this type; a complex type itself."""
    if dtype.category == COMPLEX:
        return dtype
    return complex128 if dtype is float64 else complex64


def promote(a: DType, b: DType) -> DType:
    """The smallest type both convert to, as ``torch.promote_types``."""
    if a is b:
        return a
    if a.category != b.category and COMPLEX not in (a.category, b.category):
        return a if a.category > b.category else b
    if a.category == COMPLEX and b.category < FLOAT:
        return a
    if b.category == COMPLEX and a.category < FLOAT:
        return b
    if a.is_half and b.is_half:
        return float32
    return from_numpy(np.promote_types(a.numpy, b.numpy))


def limits(dtype: DType) -> Any:
    """What a floating-point type can hold, as ``numpy.finfo``."""
    return ml_dtypes.finfo(dtype.numpy) if dtype is bfloat16 else np.finfo(dtype.numpy)


def of_scalar(value: Any) -> DType:
    """The type a Python number stands for: bool, int64, the default float or its complex."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return complex64 if _default is not float64 else complex128
    raise TypeError(f"expected a Python number, got {type(value).__name__}")


def combine(dimensioned: DType | None, zero_dim: DType | None, number: DType | None) -> DType:
    """Join the three groups of operands that PyTorch's promotion knows (None: group is empty)."""
    result = dimensioned
    for other in (zero_dim, number):
        if other is None:
            continue
        if result is None:
            result = other
        elif other.category > result.category:
            result = _raise_category(result, other)
    assert result is not None
    return result


def _raise_category(result: DType, other: DType) -> DType:
    if other.category == COMPLEX and result.category == FLOAT:
        return complex128 if result is float64 else complex64
    return other
