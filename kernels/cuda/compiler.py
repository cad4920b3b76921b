"""From a grid kernel to what a GPU runs: numba-cuda source → PTX → cubin, kept on disk.

    cubin = cubin_of(kernel, "sm_90")        # .code, .entry, .parameters
    ptx_of(kernel, "sm_90")                  # the text in between
    assembled(ptx, "sm_90")                  # ptxas's report: registers, spills

This and `device` are the modules that import numba-cuda. Nothing here needs a GPU. Cubins are kept
in the cache folder under what decides them: the source, our modules that it imports, the versions
of numba-cuda and the compilers below it, and the architecture.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from graphgrad.config import config

from ..cache import read, write
from ..recipes import from_source
from .gridir import GridKernel, walk
from .source import NUMBA

ENTRY = re.compile(r"\.visible \.entry (\S+)\(")
# PTX for this architecture is assembled for newer ones, for which libnvvm has another language.
NEWEST = 90
NEEDED = ("numba-cuda", "cuda-core", "cuda-bindings")
_compiling = threading.Lock()  # numba compiles one function at a time


@dataclass(frozen=True, slots=True)
class Cubin:
    """Machine code for one architecture: its function ``entry``, how to pass each slot,
    and the name it is kept under."""

    code: bytes
    entry: str
    parameters: tuple[str, ...]
    key: str = ""


def cubin_of(kernel: GridKernel, arch: str) -> Cubin:
    """The kernel's machine code for ``arch`` ("sm_90"), from the cache folder or compiled now.

    Raises RuntimeError that says what to install where numba-cuda is missing.
    """
    key = _key(kernel, arch)
    kept = kept_cubin(key, kernel.name, kernel.parameters)
    if kept is not None:
        return kept
    code = machine_code(kernel, arch)
    write(_path(kernel.name, key), code)
    return Cubin(code, kernel.name, kernel.parameters, key)


def kept_cubin(key: str, entry: str, parameters: tuple[str, ...]) -> Cubin | None:
    """The cubin called ``key`` from the cache folder, if it is there."""
    code = read(_path(entry, key))
    return None if code is None else Cubin(code, entry, parameters, key)


def machine_code(kernel: GridKernel, arch: str) -> bytes:
    """The kernel compiled now."""
    return link(ptx_of(kernel, arch), arch)


def _path(name: str, key: str) -> pathlib.Path:
    return pathlib.Path(config.cache_dir) / f"{name}_{key}.cubin"


def _key(kernel: GridKernel, arch: str) -> str:
    words = [from_source(kernel.name, kernel.source).key, arch, kernel.block, kernel.resident]
    words += [kernel.parameters, compilers()]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:20]


@functools.cache
def compilers() -> tuple[str, ...]:
    """Versions of the packages that decide a kernel's code, "" for one that is missing."""
    return tuple(map(_version, (*NEEDED, "nvidia-cuda-nvcc", "nvidia-nvvm")))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _numba_cuda() -> Any:
    """numba's `cuda` module, the one of the numba-cuda package."""
    try:
        import _numba_cuda_redirector  # noqa: F401  # where .pth files were not read
    except ImportError:
        missing = "compiling for a GPU needs numba-cuda: pip install 'graphgrad[cuda]'"
        raise RuntimeError(missing) from None
    from numba import cuda

    return cuda


def function_of(kernel: GridKernel, source: str | None = None) -> Callable:
    """The plain Python function that ``source`` (the kernel's own, unless given) defines."""
    recipe = from_source(kernel.name, source or kernel.source)
    return recipe.function(str(pathlib.Path(config.cache_dir) / f"{recipe.name}_{recipe.key}.py"))


def ptx_of(kernel: GridKernel, arch: str) -> str:
    """The kernel as PTX, its entry called ``kernel.name``."""
    _numba_cuda()
    from numba.cuda.cudadrv import nvvm

    from . import front

    try:
        text = front.translate(kernel, _elements(kernel), nvvm)
    except front.Unsupported:
        return typed_by_numba(kernel, arch)
    with _compiling:
        ptx = nvvm.compile_ir(text, arch=f"compute_{min(NEWEST, _number(arch))}", opt=3)
    return _text(ptx)


def typed_by_numba(kernel: GridKernel, arch: str) -> str:
    """The same by numba's own front end, which knows more of Python and takes longer."""
    cuda = _numba_cuda()
    from numba import types

    signature = types.void(*_types(kernel, types))
    with _compiling:
        ptx, _ = cuda.compile(
            function_of(kernel),
            signature,
            cc=divmod(min(NEWEST, _number(arch)), 10),
            device=False,
            abi="numba",
            output="ptx",
            launch_bounds=(kernel.block, kernel.resident),
        )
    text = _text(ptx)
    (entry,) = ENTRY.findall(text)
    return text.replace(entry, kernel.name)


def _number(arch: str) -> int:
    """The number in "sm_90", without the letter of an architecture's own features."""
    return int(arch.removeprefix("sm_").rstrip("af"))


def _text(ptx: bytes | str) -> str:
    """PTX without what numba wants to find in it."""
    text = ptx.decode() if isinstance(ptx, bytes) else ptx
    lines = (line for line in text.rstrip("\0").splitlines() if not line.startswith(".common"))
    return "\n".join(lines) + "\n"


def _elements(kernel: GridKernel) -> dict[int, str]:
    """The element types of pointers among the parameters."""
    if kernel.grouped:
        return {0: "int64"}
    return {x.slot: NUMBA.get(x.dtype.name, x.dtype.name) for x in _pointers(kernel)}


def _types(kernel: GridKernel, types: Any) -> list[Any]:
    """numba's types of the parameters."""
    numbers = {"i32": types.int32, "i64": types.int64, "f32": types.float32, "f64": types.float64}
    memory = _elements(kernel)
    return [
        numbers[kind] if kind in numbers else types.CPointer(getattr(types, memory.get(k, "int64")))
        for k, kind in enumerate(kernel.signature)
    ]


def _pointers(kernel: GridKernel) -> list[Any]:
    from .. import loopir as ir

    return [x for x in walk(kernel.body) if isinstance(x, ir.Pointer)]


# ---- PTX to machine code -------------------------------------------------------------------------


def link(ptx: str, arch: str) -> bytes:
    """A cubin of PTX, by cuda.core's linker (nvJitLink)."""
    from cuda.core import Linker, LinkerOptions, ObjectCode

    linker = Linker(ObjectCode.from_ptx(ptx.encode()), options=LinkerOptions(arch=arch))
    return bytes(linker.link("cubin").code)


@dataclass(frozen=True, slots=True)
class Usage:
    """What ptxas says a kernel takes: registers a thread, bytes spilled, bytes of shared memory."""

    registers: int
    spilled: int
    shared: int


def ptxas() -> str | None:
    """The assembler's path, if it is installed."""
    return shutil.which("ptxas")


def assembled(ptx: str, arch: str) -> Usage:
    """Assemble PTX with ptxas, for its report; subprocess.CalledProcessError if it refuses."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        command = [str(ptxas()), "-v", f"-arch={arch}", str(path), "-o", f"{path}.cubin"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
    said = run.stdout + run.stderr
    registers = max(map(int, re.findall(r"Used (\d+) registers", said)), default=0)
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill", said)))
    shared = sum(map(int, re.findall(r"(\d+) bytes smem", said)))
    return Usage(registers, spilled, shared)
