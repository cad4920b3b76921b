"""The page's data: nodes, stages, kernels with their sources, memory, guards; as plain values.

    data(material)             # a dictionary that json.dumps takes

Nodes are rows of ``FIELDS``, strings that repeat are numbers of the list ``words``.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Sequence
from typing import Any

from graphgrad.errors import Origin
from graphgrad.ir import Graph, Node, type_text

from ..graphs import BOX_OF_KIND, BOX_OF_ROLE
from .groups import calls_of, homes_of
from .material import Kernel, Material
from .stages import Stages

# What the page knows of a node, in this order.
FIELDS = (
    "op kind title shape type detail bytes flops phase group line module composite pair literal"
).split()
_SILENT = {"shape", "types", "array", "body", "then", "otherwise", "test", "function"}
_LONGEST_DETAIL = 200
_COPIES = {"pad", "concat", "window_sum", "slice_update"}


def data(material: Material) -> dict[str, Any]:
    """Everything the page shows; see ``explorer.js`` for how it is read."""
    stages = Stages(material)
    words = Words()
    nodes = _Nodes(material, stages, words)
    return {
        "title": material.title,
        "fields": FIELDS,
        "types": dict(material.labels.types),
        "nodes": [nodes.row(i, x) for i, x in enumerate(stages.shown)],
        "outputs": _outputs(material, stages),
        "stages": stages.rows(),
        **_kernels(material, stages),
        "memory": _memory(material, stages),
        "guards": list(material.guards),
        "retraces": list(material.retraces),
        "facts": list(material.facts),
        "machine": material.machine,
        "words": words.list,
    }


class Words:
    """Strings by number: each is written once."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._number.setdefault(text, len(self._number))

    @property
    def list(self) -> list[str]:
        return list(self._number)


class _Nodes:
    """Makes the rows of nodes."""

    def __init__(self, material: Material, stages: Stages, words: Words) -> None:
        self.material, self.stages, self.words = material, stages, words
        graph = material.book.graphs[0][1]
        self.names = dict(zip(graph.inputs, material.labels.inputs, strict=False))
        self.homes, self.phases = homes_of(material, stages)
        self.calls = calls_of(material)

    def row(self, number: int, x: Node) -> list[Any]:
        """One node as FIELDS has it."""
        word, origin = self.words, x.origin
        is_input = x.op.name == "input"
        title = (self.names.get(x) or x.attrs["name"] or x.attrs["role"]) if is_input else x.op.name
        return [
            word(x.op.name),
            word(kind_of(x)),
            word(title),
            word("" if x.op.results else "×".join(map(str, x.shape)) or "scalar"),
            word(type_text(x)),
            word(_detail(x)),
            sum(y.nbytes for y in [x] if not y.op.results),
            0 if is_input else self.material.work(x),
            word(self.phases.get(number, "")),
            word("\n".join(self.homes.get(number, ()))),
            word(_lines(x.origins)),
            word(origin.module),
            word(origin.composite),
            self.calls[origin.sequence].pair if origin.sequence in self.calls else 0,
            1 if is_literal(x) else 0,
        ]


def kind_of(x: Node) -> str:
    """The row of ``theme.KINDS`` a node is drawn like."""
    if x.op.name == "input":
        return BOX_OF_ROLE.get(x.attrs["role"], "input")
    return "op" if x.op.name in _COPIES else BOX_OF_KIND[x.op.kind]


def is_literal(x: Node) -> bool:
    """Numbers are written into the operations that read them."""
    return x.op.name == "scalar" or (x.op.name == "constant" and x.size == 1)


def _literal(x: Node) -> str:
    value = x.attrs["value"] if x.op.name == "scalar" else x.attrs["array"].value.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _detail(x: Node) -> str:
    """Attributes and literal operands, as far as they say something."""
    if is_literal(x):
        return _literal(x)
    parts = []
    if any(map(is_literal, x.inputs)):
        parts.append(f"({', '.join(_literal(i) if is_literal(i) else '·' for i in x.inputs)})")
    silent = _SILENT | {"name", "role"}
    parts += [f"{k} {_value(v)}" for k, v in x.attrs.items() if k not in silent]
    text = "  ".join(parts)
    return text if len(text) <= _LONGEST_DETAIL else text[: _LONGEST_DETAIL - 1] + "…"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({' '.join(map(_value, value))})"
    return getattr(value, "name", str(value))


def _lines(origins: Iterable[Origin]) -> str:
    """``train.py:12  y = x.log()``, one line of text for each place."""
    found = dict.fromkeys(o for o in origins if o.code is not None)
    texts = (f"{o}  {linecache.getline(o.file, o.line).strip()}".rstrip() for o in found)
    return "\n".join(list(dict.fromkeys(texts))[:6])


def _outputs(material: Material, stages: Stages) -> list[list[Any]]:
    """[name, number] by position, for the traced graph and for what kernels compute."""
    graphs: list[Graph] = [material.book.graphs[0][1], material.graph]
    known = material.labels.outputs
    rows = []
    for i in range(len(graphs[0].outputs)):
        name = (known[i] if i < len(known) else "") or f"output {i}"
        rows.append([name, *(stages.number[graph.outputs[i]] for graph in graphs)])
    return rows


# ----------------------------------------------------------------------------------------- kernels


def _kernels(material: Material, stages: Stages) -> dict[str, Any]:
    sources: dict[str, int] = {}
    number = {kernel.region: i for i, kernel in enumerate(material.kernels)}
    homes = {
        stages.number[x]: [number[r] for r in regions if r in number]
        for x, regions in material.homes.items()
        if x in stages.number
    }
    return {
        "kernels": [_kernel(k, stages, sources) for k in material.kernels],
        "sources": list(sources),
        "homes": [[n, *found] for n, found in homes.items() if found],
        "steps": material.steps,
    }


def _kernel(kernel: Kernel, stages: Stages, sources: dict[str, int]) -> dict[str, Any]:
    region, number = kernel.region, stages.number
    code = []
    for source in kernel.sources:
        lines = [[number[x], *at] for x, at in source.lines.items() if x in number]
        text = sources.setdefault(source.source, len(sources))
        code.append({"name": source.name, "text": text, "path": source.path, "lines": lines})
    return {
        "name": region.name,
        "kind": region.kind,
        "nodes": _numbers(region.nodes, number),
        "reads": _numbers(region.inputs, number),
        "writes": _numbers(region.outputs, number),
        "code": code,
        "reason": kernel.reason,
        "rows": list(kernel.rows),
        "flops": kernel.flops,
        "bytes": kernel.nbytes,
        "seconds": kernel.seconds,
    }


def _numbers(nodes: Sequence[Node], number: dict[Node, int]) -> list[int]:
    return [number[x] for x in nodes if x in number]


# ------------------------------------------------------------------------------------------ memory


def _memory(material: Material, stages: Stages) -> dict[str, Any]:
    """Live bytes at every step of the program, where the peak is, and every value's place."""
    live = [0] * max(material.steps, 1)
    for bar in material.bars:
        for step in range(bar.start, min(bar.stop, len(live) - 1) + 1):
            live[step] += bar.nbytes
    bars = [
        [b.start, b.stop, b.offset, b.nbytes, b.label, *_numbers(b.nodes, stages.number)]
        for b in material.bars
    ]
    return {"live": live, "peak": live.index(max(live)), "bars": bars}
