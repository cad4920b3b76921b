"""A picture before it is drawn: boxes, edges, nested groups.

    scene = scene.merged(key, make)    # boxes of one key become one box

Graphs, plans and grad_fn records are all turned into a ``Scene``; ``dot`` knows nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace

Path = tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """One operation or value.

    kind     a row of ``theme.KINDS``
    group    the frames it stands in, from the outside in
    place    the user's line
    phase    forward, backward or update, in a picture of a training step
    path     the calls of modules it belongs to, from the outside in
    unit     the call that it is a part of, ``name`` that call's name
    pair     equal for a call and for what computes its gradient
    shape    of its result, as written
    nbytes   of its result; ``flops`` to compute it
    order    of the call in the program, forward; -1 where unknown
    members  what was merged into it
    """

    id: str
    kind: str
    title: str
    detail: str = ""
    tooltip: str = ""
    group: Path = ()
    place: str = ""
    phase: str = ""
    path: Path = ()
    unit: str = ""
    name: str = ""
    pair: str = ""
    shape: str = ""
    nbytes: int = 0
    flops: int = 0
    order: float = -1.0
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """Data that flows from ``tail`` to ``head``.

    kind     "" flows down the page, "up" against it (gradients), "kept" across: read by backward
    carries  (box, bytes, words) of every value that is kept
    """

    tail: str
    head: str
    label: str = ""
    kind: str = ""
    carries: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True)
class Group:
    """A frame around boxes; ``kind`` is a row of ``theme.FRAMES``, ``note`` is small print."""

    label: str
    kind: str = "module"
    tooltip: str = ""
    note: str = ""


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    groups   the frames; a missing row is labelled by its path
    columns  whether forward, backward and update stand in frames of their own
    rows     boxes that stand side by side, from the left; ``on_rails`` lays them out so
    types    the class of a module, by its dotted path
    """

    title: str
    boxes: tuple[Box, ...] = ()
    edges: tuple[Edge, ...] = ()
    groups: dict[Path, Group] = field(default_factory=dict)
    note: str = ""
    columns: bool = False
    rows: tuple[tuple[str, ...], ...] = ()
    on_rails: bool = False
    types: Mapping[str, str] = field(default_factory=dict)

    def group(self, path: Path) -> Group:
        """The frame of a path."""
        return self.groups.get(path) or Group(dotted(path))

    def merged(
        self, key: Mapping[str, Hashable], make: Callable[[Hashable, list[Box]], Box]
    ) -> Scene:
        """Boxes (by id) of one key become the box that ``make`` says.

        Edges between two of these become one, edges inside of one are gone.
        """
        members: dict[Hashable, list[Box]] = {}
        for box in self.boxes:
            members.setdefault(key[box.id], []).append(box)
        made = {k: make(k, boxes) for k, boxes in members.items()}
        home = {b.id: made[k].id for k, boxes in members.items() for b in boxes}
        return replace(self, boxes=tuple(made.values())).rewired(self.edges, home)

    def rewired(self, edges: tuple[Edge, ...], home: Mapping[str, str]) -> Scene:
        """This scene with ``edges`` between the boxes that ``home`` says, equal ones joined."""
        labels: dict[tuple[str, str, str], dict[str, None]] = {}
        carried: dict[tuple[str, str, str], dict[tuple[str, int, str], None]] = {}
        for edge in edges:
            tail, head = home.get(edge.tail), home.get(edge.head)
            if tail is None or head is None or tail == head:
                continue
            key = (tail, head, edge.kind)
            labels.setdefault(key, {})[edge.label] = None
            carried.setdefault(key, {}).update(dict.fromkeys(edge.carries))
        joined = (
            Edge(tail, head, _joined(list(texts)), kind, tuple(carried[tail, head, kind]))
            for (tail, head, kind), texts in labels.items()
        )
        return replace(self, edges=tuple(joined))


def called(name: str) -> str:
    """A frame's name without the number of the call: ``relu#2`` is ``relu``."""
    return name.partition("#")[0]


def dotted(path: Path) -> str:
    """``net.layers.relu``: the module that a path of calls is in."""
    return ".".join(filter(None, map(called, path)))


def size_text(shape: tuple[int | str, ...], dtype: str) -> str:
    """``64×28×28``; the dtype is written unless it is float32, ``scalar`` for no dimensions."""
    size = "×".join(map(str, shape)) or "scalar"
    return size if dtype == "float32" else f"{dtype} {size}"


def with_chips(scene: Scene) -> Scene:
    """Values kept for backward as small numbered copies beside their readers.

    Lines across the page from every activation to its gradient would hide everything else.
    """
    by_id = {b.id: b for b in scene.boxes}
    number: dict[str, int] = {}
    chips: dict[str, Box] = {}
    edges: dict[Edge, None] = {}
    for edge in scene.edges:
        if edge.kind != "kept":
            edges[edge] = None
            continue
        tail, head = by_id[edge.tail], by_id[edge.head]
        mark = number.setdefault(tail.id, len(number) + 1)
        chip = f"{tail.id}_for_{'_'.join(head.group)}"
        title = f"#{mark} {tail.title}"
        chips[chip] = Box(chip, "kept", title, edge.label, tail.tooltip, head.group)
        edges[Edge(chip, edge.head, "", "up")] = None
    boxes = (
        replace(b, detail=f"{b.detail}  kept #{number[b.id]}".strip()) if b.id in number else b
        for b in scene.boxes
    )
    return replace(scene, boxes=(*boxes, *chips.values()), edges=tuple(edges))


def _common(paths: list[Path]) -> Path:
    shared: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) > 1:
            break
        shared.append(names[0])
    return tuple(shared)


def _joined(labels: list[str]) -> str:
    texts = [t for t in labels if t]
    return ", ".join(texts) if len(texts) <= 2 else f"{len(texts)} tensors"
