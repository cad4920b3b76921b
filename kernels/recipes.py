"""What a kernel is made from, and the key of all that decides its code.

    recipe = from_source("add_relu", source)                       # generated text
    recipe = from_template("graphgrad.kernels.engine:execute")     # a function of this package
    recipe = from_template("graphgrad.kernels.contract.micro:tile", "float32", 16)    # a factory
    recipe.key, recipe.function()

The key hashes the source, the arguments, every module of ours the source imports, directly or not,
the versions of numba, llvmlite and Python, and the processor. Making one imports nothing.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import linecache
import os
import pathlib
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import llvmlite

from . import codegen

PACKAGE = __package__
FOLDER = pathlib.Path(__file__).parent


@dataclass(frozen=True)
class Recipe:
    """A kernel to be: `name` is its symbol, `path` the file its source is read and debugged in."""

    name: str
    key: str
    source: str
    path: str | None = None  # None: the cache folder has a place for it
    template: tuple[str, str] | None = None  # module and function in it
    arguments: tuple = ()

    def function(self, path: str, names: dict[str, Any] | None = None) -> Callable:
        """The plain Python function to compile; `path` is what a debugger shows for its source,
        `names` are there before it runs."""
        if self.template is not None:
            module, name = self.template
            function = getattr(importlib.import_module(module), name)
            return function(*self.arguments) if self.arguments else function
        if not os.path.exists(path):
            linecache.cache[path] = (len(self.source), None, self.source.splitlines(True), path)
        namespace: dict[str, Any] = {"__name__": pathlib.Path(path).stem, "__file__": path}
        namespace |= names or {}
        exec(compile(self.source, path, "exec"), namespace)
        return namespace[self.name]


@functools.lru_cache(maxsize=4096)
def from_source(name: str, source: str) -> Recipe:
    """The kernel `name` that the text `source` defines."""
    return Recipe(name, key_of(name, source), source)


@functools.cache
def from_template(where: str, *arguments: str | int) -> Recipe:
    """The function at "package.module:function", or what that factory makes of `arguments`.

    A function over int64 words alone says so in an attribute `words_only`. Raises ValueError
    for a module outside of this package.
    """
    module, _, function = where.partition(":")
    path = _module_file(module)
    source = path.read_text()
    name = re.sub(r"\W", "_", "_".join(map(str, (function, *arguments))))
    key = key_of(f"{where}{arguments}", source, module.rpartition(".")[0])
    return Recipe(name, key, source, str(path), (module, function), arguments)


def portable(recipe: Recipe) -> Recipe:
    """A recipe without what this package's files say: a template's source, and where it lies."""
    return recipe if recipe.template is None else replace(recipe, source="", path=None)


def at_home(recipe: Recipe) -> Recipe:
    """The recipe that `portable` was given, by the same version of this package."""
    if recipe.template is None:
        return recipe
    return replace(recipe, path=str(_module_file(recipe.template[0])))


def key_of(name: str, source: str, package: str = PACKAGE) -> str:
    """Hash of all that decides a kernel's code; relative imports of `source` start at `package`."""
    modules = _imported(source, package)
    for module in modules:  # grows while we walk it
        modules.extend(m for m in _imported_by(module) if m not in modules)
    parts = [name, source, toolchain(), *sorted(map(_digest, modules))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]


@functools.cache
def toolchain() -> str:
    """Our compilers and what they run on."""
    versions = (importlib.metadata.version("numba"), llvmlite.__version__, sys.version_info[:2])
    compilers = (codegen.__name__, f"{PACKAGE}.front", f"{PACKAGE}.numba_front")
    modules = {m for compiler in compilers for m in (compiler, *_imported_by(compiler))}
    return repr((versions, codegen.host(), *map(_digest, sorted(modules))))


_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+)?import[ \t]+(\([^)]*\)|[^\n(]+)", re.MULTILINE
)


def _imported(source: str, package: str) -> list[str]:
    """The modules of this package that `source`, standing in `package`, imports."""
    names = []
    for origin, imported in _IMPORT.findall(source):
        base = importlib.util.resolve_name(origin, package) if origin else ""
        names += [base, *(f"{base}.{name}".strip(".") for name in re.findall(r"[\w.]+", imported))]
    return [name for name in dict.fromkeys(names) if _find_module(name)]


@functools.cache
def _imported_by(module: str) -> list[str]:
    path = _module_file(module)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return _imported(path.read_text(), package)


@functools.cache
def _digest(module: str) -> str:
    return hashlib.sha256(_module_file(module).read_bytes()).hexdigest()


@functools.cache
def _find_module(module: str) -> pathlib.Path | None:
    """The file of a module inside this package, None for any other name."""
    if not module.startswith(PACKAGE + "."):
        return None
    stem = FOLDER.joinpath(*module[len(PACKAGE) + 1 :].split("."))
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _module_file(module: str) -> pathlib.Path:
    path = _find_module(module)
    if path is None:
        raise ValueError(f"no module {module} in {PACKAGE}; a template is 'module:function'")
    return path
