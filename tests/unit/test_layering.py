"""Imports run one way, and ``import graphgrad`` is light."""

from __future__ import annotations

import ast
import pathlib
import subprocess
import sys
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[2]
LEAVES = "config dtypes device errors cuda nearest arrayfile"
# A module may import from its own row and the rows above it.
LAYERS = [
    LEAVES,
    "ops philox",
    "ir",
    "interpret lang vjp regions views choices",
    "axes autodiff anomaly",
    "passes",
    "compile tree",
    "trace tensor",
    "guards pinning functional autograd control random func namespace fft linalg special masked",
    "entry placement capture explanation replay jit aten",
    "exploring exporting profiler nn utils serialization amp backends accelerator compiler alias",
    "distributions",
    "cpu mps xpu distributed testing version",
    "optim",
    "training",
    "examples bench cli",
]
KERNELS = {*LEAVES.split(), *"ops ir choices regions views axes interpret philox kernels".split()}
VIZ = {"errors", "ops", "ir", "regions", "viz"}
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row.split()}


def imports(path: pathlib.Path, *, lazy: bool) -> Iterator[str]:
    """First names under graphgrad that a file imports, inside functions too if ``lazy``."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if lazy else _eager(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "graphgrad":
            yield from (alias.name for alias in node.names)
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        yield from (n.split(".")[1] for n in names if n.startswith("graphgrad."))


def _eager(node: ast.AST) -> Iterator[ast.AST]:
    """What runs at import: no function bodies, no ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing_only and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _eager(child)


def layer(path: pathlib.Path) -> str:
    return path.relative_to(ROOT / "graphgrad").parts[0].removesuffix(".py")


LANGUAGE = sorted(p for p in (ROOT / "graphgrad").rglob("*.py") if layer(p)[:2] != "__")


@pytest.mark.parametrize("path", LANGUAGE, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path: pathlib.Path) -> None:
    own = layer(path)
    assert own in RANK, f"{own} has no place in LAYERS"
    above = {x for x in imports(path, lazy=False) if x in RANK and RANK[x] > RANK[own]}
    assert not above, f"{own} imports {above}, which lie above it"


@pytest.mark.parametrize("folder, allowed", [("kernels", KERNELS), ("viz", VIZ)])
def test_the_machine_and_the_pictures_know_little(folder: str, allowed: set[str]) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert set(imports(path, lazy=True)) <= allowed, path


def test_interpreter_is_for_host_rows_only() -> None:
    users = [
        p.name for p in (ROOT / "kernels").rglob("*.py") if "interpret" in imports(p, lazy=True)
    ]
    assert set(users) <= {"host.py"}


def test_import_loads_neither_numba_nor_networkx() -> None:
    program = "import sys, graphgrad; print(*{'numba', 'llvmlite', 'networkx'} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""


def test_only_one_place_parses() -> None:
    """Threads that compile would be disturbed by another parser (kernels/syntax.py says why)."""
    found = {
        path.relative_to(ROOT).as_posix()
        for package in ("graphgrad", "kernels", "viz")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "ast.parse"
    }
    assert found == {"kernels/syntax.py"}


# What makes a tensor on the thread's default device unless it is told another one.
MAKERS = {"zeros", "ones", "empty", "full", "tensor", "as_tensor", "scalar_tensor", "eye"}
MAKERS |= {"arange", "linspace", "logspace", "tril_indices", "triu_indices"}
MAKERS |= {"rand", "randn", "randint", "randperm"}
# Made out of nothing, or of data, as the user's own tensors are.
OUT_OF_NOTHING = {"parameter.py", "gradients.py", "collate.py"}


def made(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of MAKERS, as ``gg.zeros(…)`` or ``FUNCTIONS["zeros"](…)``."""
    for call in ast.walk(tree):
        f = call.func if isinstance(call, ast.Call) else None
        named = isinstance(f, ast.Attribute) and ast.unparse(f.value) == "gg" and f.attr
        if isinstance(f, ast.Subscript) and ast.unparse(f.value) == "FUNCTIONS":
            named = isinstance(f.slice, ast.Constant) and f.slice.value
        if named in MAKERS:
            yield call


@pytest.mark.parametrize(
    "folder", "amp distributions fft func.py functional linalg nn optim tensor utils/data".split()
)
def test_helpers_say_where_they_make_tensors(folder: str) -> None:
    """Beside their operands: the default device is for what users make."""
    root = ROOT / "graphgrad" / folder
    unsaid = [
        f"{path}:{call.lineno}: {ast.unparse(call)}"
        for path in ([root] if root.is_file() else sorted(root.rglob("*.py")))
        if path.name not in OUT_OF_NOTHING
        for call in made(ast.parse(path.read_text()))
        if not any(k.arg in ("device", None) for k in call.keywords)
    ]
    assert not unsaid, "\n".join(unsaid)
