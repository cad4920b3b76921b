"""Kernels by content: compile a source once per machine, load it in microseconds ever after.

    kernel = load_kernel("add_relu", source)                  # source defines add_relu(args, ...)
    kernel = load_template("graphgrad.kernels.engine:execute")    # written by hand, see `recipes`
    kernels = compile_many([("add_relu", source), recipe, ...])   # many at once, on all cores
    begin([recipe, ...])                                      # the same, and do not wait
    stats.compiled, stats.loaded                              # what this process did

The cache folder (`config.cache_dir`) holds NAME_KEY.py, the source of a generated kernel, to be
read and stepped through (`NUMBA_DISABLE_JIT=1`), and NAME_KEY.o, its object code behind a checksum.
The key hashes all that decides the code, so a file is never stale and a folder may be moved, copied
or shared. A damaged file is compiled again; a folder that cannot be written is reported once.
"""

import ctypes
import functools
import hashlib
import itertools
import os
import pathlib
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

from graphgrad.config import config

from . import codegen, loader
from .jobs import Job, cores, finish, forget, share
from .layout import KERNEL_TYPE
from .recipes import Recipe, from_source, from_template, key_of

FORMAT = b"graphgrad-kernel-1"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel: `address` is its code, `path` its source; `compiled` says that LLVM just ran."""

    address: int
    name: str
    path: str
    compiled: bool
    keep: object = field(repr=False, compare=False)
    recipe: Recipe = field(repr=False, compare=False)


@dataclass(slots=True)
class Stats:
    """What this process did: kernels `compiled` by LLVM, kernels `loaded` from the cache folder."""

    compiled: int = 0
    loaded: int = 0


stats = Stats()
_stats_lock = threading.Lock()


def _count(compiled: int = 0, loaded: int = 0) -> None:
    with _stats_lock:
        stats.compiled += compiled
        stats.loaded += loaded


_jobs: dict[str, Job[Kernel]] = {}


# ---- kernels -------------------------------------------------------------------------------------


def load_kernel(name: str, source: str) -> Kernel:
    """The kernel `name` that `source` defines, from this process, the cache folder, or LLVM."""
    return load(from_source(name, source))


def load_template(where: str, *arguments: str | int) -> Kernel:
    """The hand-written kernel at "package.module:function"; imported only to be compiled."""
    return load(from_template(where, *arguments))


def load(recipe: Recipe) -> Kernel:
    """The kernel of any recipe."""
    return _job(recipe).result()


def compile_many(wanted: Iterable[Recipe | tuple[str, str]]) -> list[Kernel]:
    """`load` of every recipe or (name, source), those to be compiled shared out to all cores."""
    recipes = [item if isinstance(item, Recipe) else from_source(*item) for item in wanted]
    begin(recipes)
    return finish(map(_job, recipes))


def begin(recipes: Iterable[Recipe]) -> None:
    """Have what is in no cache compiled by other threads, if there are cores for them."""
    helpers = cores() - 1
    if helpers and not interpreting():
        new = [r for r in recipes if r.key not in _jobs]
        missing = [r for r in new if not _object_path(r.name, r.key).exists()]
        share(map(_job, missing), helpers)


def _job(recipe: Recipe) -> Job[Kernel]:
    job = _jobs.get(recipe.key)
    return job or _jobs.setdefault(recipe.key, Job(functools.partial(_make, recipe)))


def _forget_unfinished() -> None:
    """In a child made by fork: the threads that were at work are not here."""
    forget()
    for key in [key for key, job in _jobs.items() if not job.is_done]:
        del _jobs[key]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_unfinished)


def load_ir(name: str, text: str) -> bytes:
    """Object code of LLVM assembly that exports `name`, taken as it is; kept like a kernel's."""
    key = key_of(name, text)
    object_code = read(_object_path(name, key))
    if object_code is None:
        object_code = codegen.object_code(codegen.parse(text))
        _save(name, key, object_code)
    else:
        _count(loaded=1)
    return object_code


def interpreting() -> bool:
    """Whether kernels run as plain Python, for a debugger (`NUMBA_DISABLE_JIT=1`)."""
    return os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"


def _make(recipe: Recipe) -> Kernel:
    path = source_path(recipe)
    if interpreting():
        return _interpreted(recipe, path)
    object_code = read(_object_path(recipe.name, recipe.key))
    if object_code is None:
        by_hand = recipe.template is not None
        object_code = codegen.compile_kernel(recipe.function(path), recipe.name, by_hand)
        _save(recipe.name, recipe.key, object_code)
        return _linked(recipe, object_code, path, True)
    _count(loaded=1)
    return _linked(recipe, object_code, path, False)


def _linked(recipe: Recipe, object_code: bytes, path: str, compiled: bool) -> Kernel:
    tracker = loader.link(recipe.name, object_code)
    return Kernel(tracker[recipe.name], recipe.name, path, compiled, tracker, recipe)


def _interpreted(recipe: Recipe, path: str) -> Kernel:
    function = recipe.function(path)
    if hasattr(function, "words_only"):
        raise NotImplementedError(
            f"{recipe.name} is made of machine instructions and has no plain Python form; unset "
            "NUMBA_DISABLE_JIT, or use the interpreter (config.tier = 'interpret')"
        )
    callback = KERNEL_TYPE(function)
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0
    return Kernel(address, recipe.name, path, False, callback, recipe)


# ---- files ---------------------------------------------------------------------------------------


def _object_path(name: str, key: str) -> pathlib.Path:
    return pathlib.Path(config.cache_dir) / f"{name}_{key}.o"


def source_path(recipe: Recipe) -> str:
    """Where the source of a recipe lies; a generated one is put there."""
    if recipe.path is not None:
        return recipe.path
    path = pathlib.Path(config.cache_dir) / f"{recipe.name}_{recipe.key}.py"
    text = recipe.source.encode()
    try:
        published = path.read_bytes() == text
    except OSError:
        published = False
    if not published:
        _write(path, text)
    return str(path)


def read(path: pathlib.Path) -> bytes | None:
    """What `write` put at `path`; None when the file is missing or damaged."""
    try:
        head, checksum, content = path.read_bytes().split(b"\n", 2)
    except (OSError, ValueError):
        return None
    intact = head == FORMAT and hashlib.sha256(content).hexdigest().encode() == checksum
    return content if intact else None


def write(path: pathlib.Path, content: bytes) -> None:
    """Put `content`, behind its checksum, at `path`."""
    checksum = hashlib.sha256(content).hexdigest().encode()
    _write(path, b"\n".join([FORMAT, checksum, content]))


def _save(name: str, key: str, object_code: bytes) -> None:
    write(_object_path(name, key), object_code)
    _count(compiled=1)


_temporary = itertools.count()


def _write(path: pathlib.Path, content: bytes) -> None:
    """Put `content` at `path` in one step: no reader, in any process, sees half a file."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{next(_temporary)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        _report_unwritable(str(path.parent), error.strerror)


@functools.cache
def _report_unwritable(folder: str, reason: str | None) -> None:
    warnings.warn(
        f"graphgrad cannot keep compiled kernels in {folder} ({reason}), so every process compiles "
        "its own; set GRAPHGRAD_CACHE_DIR to a folder that can be written.",
        RuntimeWarning,
        stacklevel=2,
    )
