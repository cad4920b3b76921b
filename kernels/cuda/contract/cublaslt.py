"""Products by NVIDIA's cublasLt, through nvmath-python's raw bindings: planned once a shape.

    matrices = matrices_of(maps, offsets, epilogue)  # None: no product of plain matrices
    LtMatmul(matrices)(stream, a, b, c, workspace, bias)

cublasLt counts columns first, so a row-major C = A B is planned as C' = B' A'. Optional: only
products of whole matrices qualify (a convolution's windows do not), nvmath-python has to be
installed and a GPU present. Nothing here has run on a GPU: tests compare every argument with a
recording fake of the bindings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...contract.layout import Dim
from .maps import Maps

WORKSPACE_BYTES = 32 << 20  # what NVIDIA recommends for Hopper; older cards want less
ALIGNMENT = 16  # of every operand's memory
# dtype -> cudaDataType of the operands, of alpha and beta; compute type
_TYPES = {
    "float32": ("CUDA_R_32F", "CUDA_R_32F", "COMPUTE_32F"),
    "float64": ("CUDA_R_64F", "CUDA_R_64F", "COMPUTE_64F"),
    "float16": ("CUDA_R_16F", "CUDA_R_32F", "COMPUTE_32F"),
    "bfloat16": ("CUDA_R_16BF", "CUDA_R_32F", "COMPUTE_32F"),
}
# (adds a bias a column, activation) -> cublasLtEpilogue_t; its gelu is the tanh approximation
EPILOGUES = {
    (False, ""): "DEFAULT",
    (True, ""): "BIAS",
    (False, "relu"): "RELU",
    (True, "relu"): "RELU_BIAS",
    (False, "gelu_tanh"): "GELU",
    (True, "gelu_tanh"): "GELU_BIAS",
}


@dataclass(frozen=True)
class Matrix:
    """A column-major matrix as it lies in memory, read ``transposed`` or not."""

    rows: int
    columns: int
    leading: int
    batch_stride: int
    transposed: bool = False


@dataclass(frozen=True)
class Matrices:
    """D[n, m] = epilogue(left[n, k] right[k, m]), column-major; ``names`` of left and right."""

    dtype: str
    left: Matrix
    right: Matrix
    result: Matrix
    batch: int
    names: tuple[str, str]
    alignments: tuple[int, int, int]
    bias: bool = False
    activation: str = ""
    tf32: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """How A, B, C, the workspace and the bias, if there is one, are passed."""
        return ("ptr",) * (4 + self.bias)

    @property
    def name(self) -> str:
        """For listings: ``cublaslt_float32_nt``."""
        letters = "nt"[self.left.transposed] + "nt"[self.right.transposed]
        return "_".join(x for x in ("cublaslt", self.dtype, letters, self.activation) if x)

    def launcher(self) -> LtMatmul:
        """What is called with a stream and the parameters; needs a current CUDA context."""
        return LtMatmul(self)


def matrices_of(
    maps: Maps,
    byte_offsets: dict[str, int],
    bias: bool = False,
    activation: str = "",
    tf32: bool = False,
) -> Matrices | None:
    """The product as cublasLt knows it, or None: more than one dimension a side, windows, …

    ``byte_offsets`` of A, B and C into memory aligned to 16 bytes decide what alignment is claimed.
    """
    problem, sizes = maps.problem, maps.sizes
    groups = (problem.batch, problem.rows, problem.columns, problem.steps)
    if problem.dtype not in _TYPES or max(map(len, groups)) > 1 or not sizes.steps:
        return None
    m, n, k = sizes.rows, sizes.columns, sizes.steps
    a_m, c_m = _strides(problem.rows, 2)
    b_n, c_n = _strides(problem.columns, 2)
    a_k, b_k = _strides(problem.steps, 2)
    a_batch, b_batch, c_batch = _strides(problem.batch, 3)
    left = _matrix((n, b_n), (k, b_k), b_batch)
    right = _matrix((k, a_k), (m, a_m), a_batch)
    result = _matrix((n, c_n), (m, c_m), c_batch)
    if left is None or right is None or result is None or result.transposed:
        return None
    first, second = problem.names
    offsets = (byte_offsets[second], byte_offsets[first], byte_offsets["C"])
    claimed = tuple(min(ALIGNMENT, offset & -offset or ALIGNMENT) for offset in offsets)
    return Matrices(
        problem.dtype, left, right, result, sizes.batch, (second, first), claimed,
        bias, activation, tf32 and problem.dtype == "float32",
    )  # fmt: skip


def _strides(dims: list[Dim], operands: int) -> tuple[int, ...]:
    return dims[0][1 : 1 + operands] if dims else (0,) * operands


def _matrix(rows: tuple[int, int], columns: tuple[int, int], batch_stride: int) -> Matrix | None:
    """How elements at i * row stride + j * column stride lie; extents come with their strides."""
    (n, down), (m, across) = rows, columns
    if (down == 1 or n == 1) and (across >= n or m == 1):
        return Matrix(n, m, max(across, n), batch_stride)
    if (across == 1 or m == 1) and (down >= m or n == 1):
        return Matrix(m, n, max(down, m), batch_stride, transposed=True)
    return None


class LtMatmul:
    """A planned product on the current device: descriptors and an algorithm, made at first use."""

    def __init__(self, matrices: Matrices, bindings: Any = None) -> None:
        self.matrices = matrices
        self.lt = bindings or _bindings()
        scale = np.float64 if matrices.dtype == "float64" else np.float32
        self.one, self.zero = np.ones(1, scale), np.zeros(1, scale)
        self.descriptor = self._descriptor()
        self.layouts = [
            self._layout(x) for x in (matrices.left, matrices.right, matrices.result)
        ]  # fmt: skip
        self.algorithm = self._algorithm()

    def __call__(self, stream: int, a: int, b: int, c: int, workspace: int, bias: int = 0) -> None:
        """Enqueue C = A B on a stream. Pointers are device addresses; ``bias`` has n numbers."""
        lt, matrices = self.lt, self.matrices
        if matrices.bias:
            self._set(self.descriptor, "BIAS_POINTER", np.uint64(bias))
        first, second = (a if name == "A" else b for name in matrices.names)
        left, right, result = self.layouts
        lt.cublasLt.matmul(
            lt.handle(), self.descriptor, self.one.ctypes.data, first, left, second, right,
            self.zero.ctypes.data, c, result, c, result, self.algorithm.ptr, workspace,
            WORKSPACE_BYTES, stream,
        )  # fmt: skip

    def _descriptor(self) -> int:
        lt, matrices = self.lt, self.matrices
        _, scale, compute = _TYPES[matrices.dtype]
        compute += "_FAST_TF32" * matrices.tf32
        descriptor = lt.cublasLt.matmul_desc_create(lt.compute(compute), lt.data(scale))
        self._set(descriptor, "TRANSA", np.int32(matrices.left.transposed))
        self._set(descriptor, "TRANSB", np.int32(matrices.right.transposed))
        epilogue = lt.cublasLt.Epilogue[EPILOGUES[matrices.bias, matrices.activation]]
        self._set(descriptor, "EPILOGUE", np.uint32(epilogue))
        return descriptor

    def _set(self, descriptor: int, name: str, value: np.generic) -> None:
        attribute = int(self.lt.cublasLt.MatmulDescAttribute[name])
        _send(self.lt.cublasLt.matmul_desc_set_attribute, descriptor, attribute, value)

    def _layout(self, matrix: Matrix) -> int:
        lt, dtype = self.lt, self.lt.data(_TYPES[self.matrices.dtype][0])
        shape = (matrix.rows, matrix.columns, matrix.leading)
        layout = lt.cublasLt.matrix_layout_create(dtype, *shape)
        for name, value in (
            ("BATCH_COUNT", np.int32(self.matrices.batch)),
            ("STRIDED_BATCH_OFFSET", np.int64(matrix.batch_stride)),
        ):
            attribute = int(lt.cublasLt.MatrixLayoutAttribute[name])
            _send(lt.cublasLt.matrix_layout_set_attribute, layout, attribute, value)
        return layout

    def _algorithm(self) -> Any:
        """The first of cublasLt's suggestions, which begins with the algorithm itself; RuntimeError
        where it has none."""
        lt, names = self.lt.cublasLt, self.lt.cublasLt.MatmulPreferenceAttribute
        preference = lt.matmul_preference_create()
        limits = {"MAX_WORKSPACE_BYTES": np.uint64(WORKSPACE_BYTES)}
        claimed = (*self.matrices.alignments, self.matrices.alignments[2])
        for letter, alignment in zip("ABCD", claimed, strict=True):
            limits[f"MIN_ALIGNMENT_{letter}_BYTES"] = np.uint32(alignment)
        for name, value in limits.items():
            _send(lt.matmul_preference_set_attribute, preference, int(names[name]), value)
        found, count = lt.MatmulHeuristicResult(), np.zeros(1, np.int32)
        left, right, result = self.layouts
        lt.matmul_algo_get_heuristic(
            self.lt.handle(), self.descriptor, left, right, result, result, preference, 1,
            found.ptr, count.ctypes.data,
        )  # fmt: skip
        lt.matmul_preference_destroy(preference)
        if not count[0]:
            raise RuntimeError(f"cublasLt has no algorithm for {self.matrices}")
        return found


def _send(setter: Callable[..., None], target: int, attribute: int, value: np.generic) -> None:
    """Set an attribute from a number in memory, of the size its dtype has."""
    memory = np.array([value])
    setter(target, attribute, memory.ctypes.data, memory.nbytes)


class Bindings:
    """nvmath-python's modules, and one handle of the library a process."""

    def __init__(self) -> None:
        try:
            import nvmath
            from nvmath.bindings import cublas, cublasLt
        except ImportError as error:
            raise RuntimeError(
                "config.cuda_blas = 'cublaslt' needs nvmath-python: pip install nvmath-python"
            ) from error
        self.cublasLt, self.cublas, self.nvmath = cublasLt, cublas, nvmath

    @functools.cached_property
    def _handle(self) -> int:
        return self.cublasLt.create()

    def handle(self) -> int:
        """The library's handle, made at first use: that needs a GPU."""
        return self._handle

    def compute(self, name: str) -> int:
        """A cublasComputeType_t by name."""
        return int(self.cublas.ComputeType[name])

    def data(self, name: str) -> int:
        """A cudaDataType by name."""
        return int(self.nvmath.CudaDataType[name])


@functools.cache
def _bindings() -> Bindings:
    return Bindings()


def installed() -> bool:
    """Whether nvmath-python and the library it loads are there."""
    import importlib.util

    if importlib.util.find_spec("nvmath") is None:
        return False
    try:
        return bool(_bindings().cublasLt.get_version())
    except (RuntimeError, OSError):
        return False
