"""The history of a tensor as a scene: its grad_fn records in PyTorch's names, down to the leaves.

Leaves are named by the caller's variables and modules: ``w = gg.randn(3, requires_grad=True)`` is
shown as ``w``, the weights of ``net`` by their names in ``net.named_parameters()``.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping
from dataclasses import replace
from types import FrameType
from typing import Any

from .costs import bytes_text
from .dims import Sizes, plain
from .frames import adopted
from .scene import Box, Edge, Path, Scene, size_text
from .units import instances


def record_scene(
    target: Any,
    names: Mapping[int, str],
    sizes: Sizes = plain,
    types: Mapping[str, str] | None = None,
) -> Scene:
    """The scene of a tensor with a history, or of a record.

    ``names`` is by ``id`` of the leaf, ``types`` the class of a module by its dotted path.
    """
    root = target.grad_fn if hasattr(target, "grad_fn") else target
    if root is None:
        return Scene("no history: nothing that led here requires a gradient")
    order = _reachable(root)
    ids = {record: f"r{i}" for i, record in enumerate(order)}
    calls = sorted((r for r in order if hasattr(r, "sequence")), key=lambda r: r.sequence)
    homes = instances((r, getattr(r, "module", "")) for r in calls)
    turn = {record: float(i) for i, record in enumerate(calls)}
    boxes = [
        replace(
            _box(record, ids[record], names, homes.get(record, ()), sizes),
            shape=_size(record, 0, sizes),
            order=turn.get(record, -1.0),
        )
        for record in order
    ]
    edges = [
        Edge(ids[source], ids[record], _size(source, number, sizes))
        for record in order
        for source, number in record.next_functions
        if source is not None
    ]
    if root is not target:
        shape = _type(target, sizes)
        boxes.append(Box("result", "output", names.get(id(target), "result"), shape))
        edges.append(Edge(ids[root], "result", shape))
    leaves = sum(hasattr(record, "variable") for record in order)
    title = f"{_name(root)} · {len(order) - leaves} operations from {leaves} leaves"
    memory = sum(_kept(record, plain)[0] for record in order)
    note = f"keeps {bytes_text(memory)} for backward" if memory else ""
    return adopted(Scene(title, tuple(boxes), tuple(edges), note=note, types=types or {}))


def names_around(frame: FrameType | None) -> tuple[dict[int, str], dict[str, str]]:
    """What the variables of a frame, then of its callers, call tensors; classes of modules."""
    found: dict[int, str] = {}
    types: dict[str, str] = {}
    while frame is not None:
        variables = {**frame.f_globals, **frame.f_locals}
        found, types = names_in(variables) | found, types_in(variables) | types
        frame = frame.f_back
    return found, types


def types_in(variables: Mapping[str, Any]) -> dict[str, str]:
    """The class names of the modules in some variables, by the paths their calls have."""
    found: dict[str, str] = {}
    for module in (v for v in variables.values() if hasattr(type(v), "named_modules")):
        root = module.__dict__.get("_path_name") or type(module).__name__
        for name, inner in module.named_modules():
            found.setdefault(f"{root}.{name}" if name else root, type(inner).__name__)
    return found


def names_in(variables: Mapping[str, Any]) -> dict[int, str]:
    """Names by ``id`` of the tensors in some variables, those of modules by their paths."""
    found: dict[int, str] = {}
    for value in variables.values():
        if hasattr(type(value), "named_parameters"):
            for name, tensor in (*value.named_parameters(), *value.named_buffers()):
                found.setdefault(id(tensor), name)
    for name, value in variables.items():
        if hasattr(type(value), "grad_fn"):
            found.setdefault(id(value), name)
    for value in variables.values():
        if hasattr(value, "param_groups"):
            for parameter, kept in value.state.items():
                owner = found.get(id(parameter), "parameter")
                found.update((id(t), f"{owner} {name}") for name, t in kept.items())
    return found


def _reachable(root: Any) -> list[Any]:
    """Every record the root's gradient visits, operands first."""
    order: list[Any] = []
    done: set[Any] = set()
    stack = [(root, False)]
    while stack:
        record, ready = stack.pop()
        if ready:
            order.append(record)
        elif record not in done:
            done.add(record)
            stack.append((record, True))
            sources = [source for source, _ in record.next_functions if source is not None]
            stack.extend((s, False) for s in reversed(sources) if s not in done)
    return order


def _box(record: Any, id_: str, names: Mapping[int, str], home: Path, sizes: Sizes) -> Box:
    if not hasattr(record, "variable"):
        kind = _kind(_name(record))
        where, code = _place(record)
        kept, words = _kept(record, sizes)
        tip = "\n".join([_name(record), f"{where}  {code}".strip(), *words]).strip()
        memory = f"keeps {bytes_text(kept)}" if kept else ""
        detail = " · ".join(filter(None, (where, memory)))
        name = _name(record)
        return Box(id_, kind, name, detail, tip, home, where, "", home, id_, name, id_)
    leaf = record.variable
    name = names.get(id(leaf), "leaf")
    tip = f"{name}: {_type(leaf)}, requires_grad=True\nAccumulateGrad"
    return Box(id_, "parameter", name, _type(leaf), tip, nbytes=leaf.nbytes)


def _kept(record: Any, sizes: Sizes) -> tuple[int, list[str]]:
    """Bytes that a record keeps for backward, and a line for each value."""
    values = [v for v in getattr(record, "saved", None) or () if hasattr(v, "nbytes")]
    if not values:
        return 0, []
    lines = [f"keeps {_type(v, sizes)}, {bytes_text(v.nbytes)}" for v in values]
    return sum(v.nbytes for v in values), lines


_CONTRACTIONS = re.compile("mm|Convolution|Linear|Bilinear|DotProduct|Dot|Einsum|Tensordot")
_VIEWS = re.compile(
    "(Unsafe)?(View|Reshape|Transpose|Permute|T|Slice|Select|Expand|(Un)?[Ss]queeze|Split|Chunk|"
    r"Narrow|Unbind|Alias|AsStrided|Unfold|MovedimInt|Flatten)(WithSizes)?Backward\d*"
)


def _kind(name: str) -> str:
    if _VIEWS.fullmatch(name):
        return "view"
    return "contract" if _CONTRACTIONS.search(name) else "record"


def _name(record: Any) -> str:
    return str(record.name()).rpartition("::")[2]


def _place(record: Any) -> tuple[str, str]:
    """The user's line and its text; empty where the record does not know it."""
    origin = getattr(record, "origin", None)
    if origin is None or origin.code is None:
        return "", ""
    return str(origin), linecache.getline(origin.file, origin.line).strip()


def _size(source: Any, number: int, sizes: Sizes) -> str:
    """The shape of one of a record's results, where it knows them."""
    if hasattr(source, "variable"):
        return _type(source.variable)
    results = source.way.results() if hasattr(source, "way") else ()
    if number >= len(results) or results[number] is None:
        return ""
    shape, dtype = results[number]
    return size_text(sizes(shape, None), dtype.name)


def _type(x: Any, sizes: Sizes = plain) -> str:
    return size_text(sizes(tuple(x.shape), None), getattr(x.dtype, "name", str(x.dtype)))
