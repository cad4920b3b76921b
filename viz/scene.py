"""A picture before it is drawn: boxes, edges, nested groups; folded when there are too many.

    scene = fold(scene, limit=250)     # whole modules become one box until it fits

Graphs, plans and grad_fn records are all turned into a ``Scene``; ``dot`` knows nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from functools import partial

Path = tuple[str, ...]

FOLD_LIMIT = 250
# Fewer folded boxes than this say nothing.
_FEWEST = 4


@dataclass(frozen=True)
class Box:
    """One operation or value.

    kind    a row of ``theme.KINDS``
    place   the user's line
    phase   forward, backward or update, in a picture with a column for each
    """

    id: str
    kind: str
    title: str
    detail: str = ""
    tooltip: str = ""
    group: Path = ()
    place: str = ""
    phase: str = ""


@dataclass(frozen=True)
class Edge:
    """Data that flows from ``tail`` to ``head``.

    kind    "" flows down the page, "up" against it (gradients), "kept" across: read by backward
    """

    tail: str
    head: str
    label: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Group:
    """A frame around boxes; ``kind`` is a row of ``theme.FRAMES``."""

    label: str
    kind: str = "module"
    tooltip: str = ""


@dataclass(frozen=True)
class Scene:
    """What a picture shows. ``groups`` names the frames; a missing row is labelled by its path."""

    title: str
    boxes: tuple[Box, ...] = ()
    edges: tuple[Edge, ...] = ()
    groups: dict[Path, Group] = field(default_factory=dict)
    note: str = ""

    def group(self, path: Path) -> Group:
        return self.groups.get(path) or Group(".".join(path))


def size_text(shape: tuple[int, ...], dtype: str) -> str:
    """``64×28×28``; the dtype is written unless it is float32, ``scalar`` for no dimensions."""
    size = "×".join(map(str, shape)) or "scalar"
    return size if dtype == "float32" else f"{dtype} {size}"


def fold(scene: Scene, limit: int = FOLD_LIMIT) -> Scene:
    """The finest scene of at most ``limit`` boxes: by line, then by module from the inside out."""
    if len(scene.boxes) <= limit:
        return scene
    deepest = max(len(b.group) for b in scene.boxes)
    levels: list[Callable[[Box], Hashable]] = [lambda b: (b.group, b.place)]
    levels += [partial(_module, depth=depth) for depth in range(deepest, 0, -1)]
    ends = [b for b in scene.boxes if b.kind == "input" or (b.kind == "output" and not b.group)]
    apart = {b.id for b in ends} if len(ends) <= limit // 4 else set()
    for level in levels:
        key = {b.id: b.id if b.id in apart else level(b) for b in scene.boxes}
        if _FEWEST <= len(set(key.values())) - len(apart) <= limit - len(apart):
            return _merge(scene, key)
    # Nothing to go by: runs of equal length, in the order the operations were called.
    run = -(-len(scene.boxes) // (limit - len(apart)))
    return _merge(
        scene, {b.id: b.id if b.id in apart else i // run for i, b in enumerate(scene.boxes)}
    )


def _module(box: Box, depth: int) -> Hashable:
    return box.group[:depth] or box.place


def _merge(scene: Scene, key: dict[str, Hashable]) -> Scene:
    members: dict[Hashable, list[Box]] = {}
    for box in scene.boxes:
        members.setdefault(key[box.id], []).append(box)
    merged = {k: _folded(scene, boxes) for k, boxes in members.items()}
    home = {b.id: merged[k].id for k, boxes in members.items() for b in boxes}
    labels: dict[tuple[str, str, str], dict[str, None]] = {}
    for edge in scene.edges:
        tail, head = home[edge.tail], home[edge.head]
        if tail != head:
            labels.setdefault((tail, head, edge.kind), {})[edge.label] = None
    edges = (
        Edge(tail, head, _joined(list(texts)), kind) for (tail, head, kind), texts in labels.items()
    )
    note = f"{len(scene.boxes)} boxes, folded into {len(merged)}"
    return replace(scene, boxes=tuple(merged.values()), edges=tuple(edges), note=note)


def _folded(scene: Scene, boxes: list[Box]) -> Box:
    first = boxes[0]
    if len(boxes) == 1:
        return first
    group = _common([b.group for b in boxes])
    label = scene.group(group).label if group else first.place or "operations"
    tally = Counter(b.title for b in boxes).most_common()
    return Box(
        id=first.id,
        kind="folded",
        title=label,
        detail=f"{len(boxes)} boxes",
        tooltip="\n".join(f"{count} × {title}" for title, count in tally[:20]),
        group=group[:-1] if group and group != first.group[:1] else group,
        place=first.place,
    )


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
