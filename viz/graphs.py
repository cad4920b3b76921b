"""Traced graphs and fused plans as scenes: modules, or kernels, become frames around their nodes.

Parameters, inputs and state stand at the top, outputs below. In a graph that holds its own backward
pass the two stand side by side: data flows down on the forward side, gradients up on the other.
"""

from __future__ import annotations

import functools
import linecache
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import CodeType
from typing import Any

from graphgrad.errors import Origin
from graphgrad.ir import Graph, Node, names, type_text
from graphgrad.regions import Plan, Region

from .compiled import NONE, Labels
from .costs import bytes_text, flops, flops_text, nbytes
from .dims import Sizes, plain
from .frames import adopted, beside
from .scene import Box, Edge, Group, Path, Scene, dotted, size_text
from .units import Unit, kernel_pairs, most, units

# Which kind of box an operation is, by the kind its primitive has in ops.PRIMITIVES.
BOX_OF_KIND = {
    "elementwise": "op",
    "source": "constant",
    "movement": "view",
    "reduce": "reduce",
    "cumulative": "reduce",
    "contract": "contract",
    "index": "op",
    "sort": "op",
    "project": "view",
    "control": "control",
    "host": "host",
}
BOX_OF_ROLE = {
    "input": "input",
    "cotangent": "input",
    "scalar": "input",
    "parameter": "parameter",
    "buffer": "state",
    "state": "state",
    "saved": "state",
}
# Movement that writes new memory is work, not a view.
_COPIES = {"pad", "concat", "window_sum", "slice_update"}
# Attributes that the shapes on the edges show already, or that hold whole graphs.
_SILENT = {"shape", "types", "array", "body", "then", "otherwise", "test", "function"}
# For operations with many attributes, the ones worth a place in the box.
_TELLING = {
    "window": ("size", "stride"),
    "window_sum": ("size", "stride"),
    "scan": ("length", "reverse"),
    "sort": ("axis", "descending"),
}
_DETAIL_WIDTH = 34
_KERNEL_WIDTH = 30
_ALONE = Unit("", "")


def graph_scene(graph: Graph, known: Labels = NONE, sizes: Sizes = plain) -> Scene:
    """A graph with its modules as frames; ``known`` names inputs and outputs, ``sizes`` shapes."""
    draft = _Draft(_title(graph.name, "graph", graph), known, sizes)
    draft.phases = _phases(graph, known)
    draft.columns = bool(draft.phases)
    draft.units = units(graph, draft.phases)
    draft.add(graph)
    return draft.scene()


def plan_scene(plan: Plan, known: Labels = NONE, sizes: Sizes = plain) -> Scene:
    """A fused graph with its kernels as frames; modules are named in the hover texts."""
    title = f"{_title(plan.graph.name, 'plan', plan.graph)} in {_count(plan.regions, 'kernel')}"
    draft = _Draft(title, known, sizes)
    draft.phases = _phases(plan.graph, known)
    phases = [_phase_of(region, draft.phases) for region in plan.regions]
    # Where one kernel does everything there are no sides.
    draft.columns = {"forward", "backward"} <= set(phases)
    draft.units = units(plan.graph, draft.phases)
    partners = kernel_pairs(plan, phases, draft.units)
    for i, (region, phase) in enumerate(zip(plan.regions, phases, strict=True)):
        draft.region(i, region, phase, *partners[i])
    draft.add(plan.graph)
    return draft.scene()


def _title(name: str, what: str, graph: Graph) -> str:
    work = [x for x in graph.nodes if x.op.kind != "source"]
    return f"{name.rpartition('<locals>.')[2] or what} · {_count(work, 'operation')}"


def _phase_of(region: Region, phases: dict[Node, str]) -> str:
    """The side a kernel stands on: that of most of its results, updates it also does aside."""
    tally = Counter(phases.get(x, "forward") for x in region.outputs)
    updates = tally.pop("update", 0)
    return tally.most_common(1)[0][0] if tally else "update" if updates else "forward"


def _count(things: Sequence[Any], what: str) -> str:
    return f"{len(things)} {what}{'s' if len(things) != 1 else ''}"


class _Draft:
    """A scene being assembled; boxes are numbered in the order they are met."""

    def __init__(self, title: str, known: Labels, sizes: Sizes) -> None:
        self.title, self.known, self.sizes = title, known, sizes
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.groups: dict[Path, Group] = {}
        self.phases: dict[Node, str] = {}
        # The calls that operations come from, and the kernel that stands for one in a plan.
        self.units: dict[Node, Unit] = {}
        self.kernel_units: dict[Path, Unit] = {}
        # Whether forward, backward and update stand side by side.
        self.columns = False
        # The frames of the kernels that compute a node: several, when it is cheap.
        self.kernels: dict[Node, list[Path]] = {}
        # The call whose loop or branch is being drawn.
        self.within: Unit | None = None
        # {box of a loop or branch: {result: the boxes that compute it}}
        self.leaves: dict[str, dict[int, list[str]]] = {}

    def scene(self) -> Scene:
        scene = Scene(
            self.title,
            tuple(self.boxes),
            tuple(self.edges),
            self.groups,
            self._note(),
            columns=self.columns,
            types=self.known.types,
        )
        return beside(adopted(scene, dict.fromkeys(u.path for u in self.units.values())))

    def _note(self) -> str:
        """The parameters, what backward keeps, and the work, all in all."""
        parameters = [b for b in self.boxes if b.kind == "parameter"]
        kept = {value for e in self.edges for value in e.carries}
        work = sum(b.flops for b in self.boxes)
        memory = sum(b.nbytes for b in parameters)
        words = [f"parameters {bytes_text(memory)}"] if parameters else []
        words += [f"kept {bytes_text(sum(n for _, n, _ in kept))}"] if kept else []
        return " · ".join([*words, *([flops_text(work)] * (work > 0))])

    def region(self, number: int, region: Region, phase: str, pair: str, order: float) -> None:
        """Open a frame for a kernel; ``add`` puts its nodes there."""
        path = (*self._column(phase), f"kernel {number}")
        read = sum(x.nbytes for x in region.inputs)
        written = sum(x.nbytes for x in region.outputs)
        tip = f"{region.kind} kernel of {len(region.nodes)} nodes\n"
        tip += f"reads {read:,} bytes, writes {written:,}"
        kind = "kernel" if phase == "forward" else f"kernel-{phase}"
        label = " · ".join((str(number), region.name, *_modules(region.nodes)[:2]))
        self.groups[path] = Group(label, kind, tip)
        name = region.name
        if len(name) > _KERNEL_WIDTH:
            name = f"{name[:_KERNEL_WIDTH]}…"
        work = (x for x in region.nodes if x in self.units and not _is_literal(x))
        home = most([self.units[x].path for x in work])
        self.kernel_units[path] = Unit(f"k{number}", name, home, pair, order)
        for x in region.nodes:
            self.kernels.setdefault(x, []).append(path)

    def _column(self, phase: str) -> Path:
        """The frame of one side of the picture."""
        if not (self.columns and phase):
            return ()
        self.groups[phase,] = Group(phase, phase)
        return (phase,)

    def add(self, graph: Graph, prefix: Path = (), operand: str = "") -> dict[Node, list[str]]:
        """Draw a graph inside the frame ``prefix``; returns the boxes of its nodes."""
        name = names(graph)
        if not prefix:
            self.inputs = dict(zip(graph.inputs, self.known.inputs, strict=False))
            self.written = {graph.inputs[i] for i in self.known.written}
        ids: dict[Node, list[str]] = {}
        for x in dict.fromkeys((*graph.inputs, *graph.nodes)):
            if _is_literal(x) and x not in graph.outputs:
                continue
            for group in self.kernels.get(x) or [prefix + self._home(x)]:
                ids.setdefault(x, []).append(self._box(x, name, group))
                if x.op.kind == "control":
                    self._inner(x, ids, group)
                else:
                    self._reads(x, ids, group)
        if operand:
            self.edges += (Edge(operand, ids[x][0], self._shape(x)) for x in graph.inputs)
        elif not prefix:
            self._outputs(graph, ids)
        return ids

    def _home(self, x: Node) -> Path:
        """The frames of a node: pass, then modules from the outside in."""
        if self.kernels:
            return ()
        if x.op.name == "input":
            # Scene.adopted gives parameters a home beside their readers.
            return ()
        modules = self._unit(x, ()).path
        lead = self._column(self.phases.get(x, ""))
        for depth in range(len(modules)):
            path = (*lead, *modules[: depth + 1])
            self.groups[path] = Group(dotted(modules[: depth + 1]))
        return (*lead, *modules)

    def _unit(self, x: Node, group: Path) -> Unit:
        """The call, or the kernel, that a box is a part of."""
        return self.within or self.kernel_units.get(group) or self.units.get(x, _ALONE)

    def _box(self, x: Node, name: dict[Node, str], group: Path) -> str:
        id_ = f"n{len(self.boxes)}"
        is_input = x.op.name == "input"
        title = self._input_title(x) if is_input else x.op.name
        detail = self._shape(x) if is_input else _detail(x)
        place = _line(x.origin.code, x.origin.offset)[0] if x.origin.code else ""
        tip = _tooltip(x, name)
        kind = _kind(x)
        if x in self.written and kind in ("input", "state"):
            kind = "mutated"
        phase = group[0] if group and self.columns else ""
        if phase == "backward" and self.phases.get(x) == "update":
            phase = "update"
        unit = self._unit(x, group)
        work = 0 if is_input or self.within else flops(x)
        self.boxes.append(
            Box(
                id_, kind, title, detail, tip, group, place, phase,
                unit.path, unit.key, unit.name, unit.pair,
                self._shape(x), nbytes(x), work, unit.order,
            )
        )  # fmt: skip
        return id_

    def _input_title(self, x: Node) -> str:
        return self.inputs.get(x) or x.attrs["name"] or x.attrs["role"]

    def _reads(self, x: Node, ids: dict[Node, list[str]], group: Path) -> None:
        for source in dict.fromkeys(x.inputs):
            if source not in ids:
                continue
            near = [i for i in ids[source] if self._box_of(i).group == group]
            if source.op.kind == "control" and x.op.name == "result":
                near = self.leaves[ids[source][0]].get(x.attrs["index"], [])
            for tail in near or ids[source][-1:]:
                self._edge(tail, ids[x][-1], x if source.op.results else source)

    def _shape(self, x: Node) -> str:
        """What flows out of a node: ``N×28×28``."""
        if x.op.results:
            return f"{len(x.results)} results"
        return size_text(self.sizes(x.shape, x), x.dtype.name)

    def _edge(self, tail: str, head: str, value: Node) -> None:
        down = [self._box_of(i).phase not in ("backward", "update") for i in (tail, head)]
        kind = {(True, True): "", (True, False): "kept"}.get((down[0], down[1]), "up")
        carries: tuple[tuple[str, int, str], ...] = ()
        if kind == "kept" and value.op.name != "input":
            carries = ((tail, nbytes(value), f"{value.op.name} {self._shape(value)}"),)
        self.edges.append(Edge(tail, head, self._shape(value), kind, carries))

    def _box_of(self, id_: str) -> Box:
        return self.boxes[int(id_[1:])]

    def _inner(self, x: Node, ids: dict[Node, list[str]], group: Path) -> None:
        """A loop or branch: its graphs stand in a frame of their own and feed the results."""
        box = ids[x][0]
        self._reads(x, ids, group)
        leaves = self.leaves.setdefault(box, {})
        for key, inner in ((k, v) for k, v in x.attrs.items() if isinstance(v, Graph)):
            path = (*group, f"{box} {key}")
            self.groups[path] = Group(f"{x.op.name} · {key}", "kernel")
            outer = self.within
            self.within = outer or self._unit(x, group)
            drawn = self.add(inner, path, box)
            self.within = outer
            if key != "test":
                for i, y in enumerate(inner.outputs):
                    leaves.setdefault(i, []).extend(drawn.get(y, [])[:1])

    def _outputs(self, graph: Graph, ids: dict[Node, list[str]]) -> None:
        for i, y in enumerate(graph.outputs):
            title = "output" if len(graph.outputs) == 1 else f"output {i}"
            title = self.known.outputs[i] or title if i < len(self.known.outputs) else title
            id_ = f"n{len(self.boxes)}"
            source = self._box_of(ids[y][-1])
            # Beside what computes it, outside the kernel.
            group = source.group[: 1 if self.kernels else None] if source.phase else ()
            box = Box(
                id_, "output", title, self._shape(y), type_text(y), group, "", source.phase,
                source.path if source.phase else (), shape=self._shape(y), nbytes=nbytes(y),
            )  # fmt: skip
            self.boxes.append(box)
            self._edge(ids[y][-1], id_, y)


def _modules(nodes: Iterable[Node]) -> list[str]:
    """The modules that called some operations, in order."""
    work = (x for x in nodes if not _is_literal(x))
    return list(dict.fromkeys(o.module for x in work for o in x.origins if o.module))


def _phases(graph: Graph, known: Labels) -> dict[Node, str]:
    """forward, backward, or update (what follows from gradients); empty without a backward pass."""
    nodes = [x for x in graph.nodes if x.op.name != "input"]
    phase: dict[Node, str] = {}
    for x in nodes:
        phase[x] = x.origin.phase or "forward"
        if phase[x] == "forward" and any(phase.get(i, "forward") != "forward" for i in x.inputs):
            phase[x] = "update"
    users = graph.users()
    written = {graph.inputs[i] for i in known.written}
    for x in reversed(nodes):
        if users[x] and all(phase[y] == "update" for y in users[x]):
            phase[x] = "update" if phase[x] == "forward" else phase[x]
        elif not users[x] and x.inputs and not x.origin.module:
            # A count of steps: state that only becomes the next state.
            counts = all(i in written or _is_literal(i) for i in x.inputs)
            phase[x] = "update" if counts else phase[x]
    return phase if "backward" in phase.values() else {}


def _is_literal(x: Node) -> bool:
    """Numbers are written into the operations that read them."""
    return x.op.name == "scalar" or (x.op.name == "constant" and x.size == 1)


def _literal(x: Node) -> str:
    value = x.attrs["value"] if x.op.name == "scalar" else x.attrs["array"].value.item()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _kind(x: Node) -> str:
    if x.op.name == "input":
        return BOX_OF_ROLE.get(x.attrs["role"], "input")
    return "op" if x.op.name in _COPIES else BOX_OF_KIND[x.op.kind]


def _detail(x: Node) -> str:
    """Literal operands by position, then the attributes: ``· ÷ 2`` reads ``(·, 2)``."""
    parts = []
    if any(map(_is_literal, x.inputs)):
        inside = (_literal(i) if _is_literal(i) else "·" for i in x.inputs)
        parts.append(f"({', '.join(inside)})")
    told = _TELLING.get(x.op.name) or [k for k in x.attrs if k not in _SILENT]
    parts += (f"{k} {_value(x.attrs[k])}" for k in told if _says(x.attrs[k]))
    text = "  ".join(parts)
    return text if len(text) <= _DETAIL_WIDTH else text[: _DETAIL_WIDTH - 1] + "…"


def _says(value: Any) -> bool:
    """Whether an attribute is more than a row of zeros, a False, or an empty tuple."""
    return any(map(_says, value)) if isinstance(value, tuple) else value not in (0, False, "")


def _value(value: Any) -> str:
    if not isinstance(value, tuple):
        return getattr(value, "name", str(value))
    return (" · " if any(isinstance(v, tuple) for v in value) else " ").join(map(_value, value))


def _tooltip(x: Node, name: dict[Node, str]) -> str:
    operands = ", ".join(_literal(i) if _is_literal(i) else name[i] for i in x.inputs)
    if x.op.name == "input":
        head = f"{x.attrs['role']} {name[x]}: {type_text(x)}"
    else:
        head = f"{name[x]} = {x.op.name}({operands}): {type_text(x)}"
    silent = _SILENT | {"name", "role"}
    attrs = [f"{k} = {_value(v)}" for k, v in x.attrs.items() if k not in silent]
    return "\n".join([head, *attrs, _cost(x), *_where(x.origins)])


def _cost(x: Node) -> str:
    """``1.2 MB, 15.1 MFLOP``"""
    work = 0 if x.op.name == "input" else flops(x)
    return ", ".join((bytes_text(nbytes(x)), *([flops_text(work)] * (work > 0))))


def _where(origins: Iterable[Origin]) -> Iterator[str]:
    """The user's lines, with their text, and the modules and composites they ran in."""
    for origin in list(origins)[:4]:
        context = " in ".join(filter(None, (origin.composite, origin.module)))
        if origin.phase or context:
            yield f"{origin.phase or 'forward'} of {context}" if context else origin.phase
        if origin.code is not None:
            place, line = _line(origin.code, origin.offset)
            yield f"{place}  {line}".rstrip()


@functools.lru_cache(maxsize=4096)
def _line(code: CodeType, offset: int) -> tuple[str, str]:
    """``("train.py:12", "loss = net(x).sum()")``"""
    origin = Origin(code, offset)
    return str(origin), linecache.getline(origin.file, origin.line).strip()
