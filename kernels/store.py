"""Programs by structure: what a graph was built into is kept, so that the next process need not.

    key = key_of(graph, aliases, donated)       # None: it holds what cannot be named
    compiled = load(key, aliases, making)       # None: not kept
    save(key, compiled)

A file of the cache folder holds the tables of a program, its constants, and what its kernels are
found by: recipes, or names of machine code for GPUs that lies beside it. The key hashes the graph
(operations, shapes, attributes, constants by content, not names or lines), all code that plans, the
versions it runs on and the processor; so a file is never stale. Files are read and written as
`cache` does: in one step, behind a checksum. The folder keeps the LIMIT programs used last.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import marshal
import os
import pathlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphgrad import choices, ops
from graphgrad.config import config
from graphgrad.dtypes import DType
from graphgrad.ir import Constant, Graph, Node

from . import cache
from . import layout as at
from .cache import Kernel
from .compiled import Compiled, Making
from .jobs import cores
from .program import Program
from .recipes import FOLDER, toolchain
from .target import CPU, Target

LIMIT = 512
# Planning less than this takes no longer than looking for a file.
WORTHWHILE = 12

# ---- keys ----------------------------------------------------------------------------------------


def key_of(
    graph: Graph,
    aliases: Mapping[int, int],
    donated: Iterable[int],
    target: Target = CPU,
    chosen: bytes = b"",
) -> str | None:
    """What names the program of a graph; None for a small graph, or one that names an object.

    ``chosen``: what it was told to decide like programs of other sizes (`choices.digest`).
    """
    if len(graph) < WORTHWHILE or cache.interpreting() or target.keeping is None:
        return None
    # How many cores there are decides into how many parts a product is cut.
    pairs = tuple(sorted(aliases.items()))
    versions = target.keeping.versions()
    made_for = (cores(), target.name, *target.settings, *versions)
    structure = (graph.rows(_described), pairs, tuple(donated), *made_for)
    try:
        # Version 2: equal values give equal bytes, whether or not they are the same objects.
        text = marshal.dumps(structure, 2)
    except ValueError:
        return None
    return hashlib.sha256(_code() + chosen + text).hexdigest()[:20]


def _described(x: Node) -> tuple[Any, ...]:
    """A node as plain values; the name and the role of an input are nobody's business."""
    attrs = () if x.op.name == "input" else tuple((k, _plain(v)) for k, v in x.attrs.items())
    return x.op.name, x.shape, x.dtype.name, attrs


def _plain(value: Any) -> Any:
    """An attribute as marshal takes it; what it does not take, it refuses."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, Graph):
        return value.rows(_described)
    if isinstance(value, Constant):
        return "constant", value.shape, value.dtype.name, value.value.tobytes()
    return ("dtype", value.name) if isinstance(value, DType) else value


@functools.cache
def _code() -> bytes:
    """Hash of all that makes a program of a graph: our modules, what they run on, the processor."""
    language = pathlib.Path(ops.__file__).parent
    files = [*language.glob("*.py"), *(language / "passes").glob("*.py"), *FOLDER.rglob("*.py")]
    whole = hashlib.sha256(repr((toolchain(), _versions())).encode())
    for path in sorted(files):
        text = path.read_bytes()
        whole.update(f"{path.name} {len(text)} ".encode() + text)
    return whole.digest()


def _versions() -> tuple[str, ...]:
    return np.__version__, importlib.metadata.version("networkx")


# ---- files ---------------------------------------------------------------------------------------


def load(
    key: str,
    aliases: Mapping[int, int],
    making: Callable[[], Making],
    target: Target = CPU,
    structure: str | None = None,
) -> Compiled | None:
    """The program called ``key``, its kernels loaded; ``making`` says how it came about.

    None where there is none, or where code of its kernels is gone that has to be planned anew.
    What planning it chose is known from now on to other sizes of its ``structure``.
    """
    content = cache.read(_path(key))
    if content is None:
        return None
    with contextlib.suppress(OSError):
        os.utime(_path(key))
    file = io.BytesIO(content)
    assert target.keeping is not None
    kernels = target.keeping.unpack(pickle.load(file))
    if kernels is None:
        return None
    reader = pickle.Unpickler(file)
    reader.persistent_load = kernels.__getitem__  # type: ignore[method-assign]
    program, types = reader.load()
    addresses = np.array([kernel.address for kernel in kernels], np.int64)
    calls = _calls(program)
    program.rows[calls, at.FN] = addresses[program.rows[calls, at.FN]]
    for slot, kernel in program.called:
        program.args[slot] = kernel.address
    if structure is not None:
        choices.restore(structure, file.read())
    return target.finish(program, aliases, types, making)


def save(key: str, compiled: Compiled, target: Target = CPU, structure: str | None = None) -> None:
    """Keep a program, and what was chosen for its structure.

    One that calls Python functions is not kept.
    """
    program = compiled.program
    if program.hosts:
        return
    wanted = (*program.kernels, *(kernel for _, kernel in program.called))
    kernels = {kernel.address: kernel for kernel in wanted}
    number = {address: i for i, address in enumerate(kernels)}
    rows, args, calls = program.rows.copy(), program.args.copy(), _calls(program)
    rows[calls, at.FN] = [number[int(address)] for address in rows[calls, at.FN]]
    args[[slot for slot, _ in program.called]] = 0
    file = io.BytesIO()
    assert target.keeping is not None
    pickle.dump(list(map(target.keeping.pack, kernels.values())), file)
    writer = _Writer(file, number)
    writer.dump((replace(program, rows=rows, args=args), compiled.types))
    if structure is not None:
        file.write(choices.export(structure))
    cache.write(_path(key), file.getvalue())
    _prune()


class _Writer(pickle.Pickler):
    """Writes the number of a kernel in its place: what it is made from stands in the file once."""

    def __init__(self, file: io.BytesIO, number: Mapping[int, int]) -> None:
        super().__init__(file, protocol=5)
        self.number = number

    def persistent_id(self, value: Any) -> int | None:
        return self.number[value.address] if isinstance(value, Kernel) else None


def _calls(program: Program) -> np.ndarray:
    """Which rows call a kernel."""
    return np.isin(program.rows[:, 0], (at.CALL, at.GROUP))


def _path(key: str) -> pathlib.Path:
    return config.cache_dir / f"program_{key}.bin"


def _prune() -> None:
    """Delete what was not used for longest, once there is too much."""
    folder = pathlib.Path(config.cache_dir)
    with contextlib.suppress(OSError):  # another process does the same; or there is no folder
        # Names only: a glob of some thousand kernels takes as long as a plan.
        kept = [name for name in os.listdir(folder) if name.startswith("program_")]
        if len(kept) > LIMIT:
            paths = sorted(map(folder.joinpath, kept), key=lambda path: path.stat().st_mtime)
            for path in paths[: LIMIT // 4]:
                path.unlink()
