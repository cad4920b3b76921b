"""Modules of equal structure, one after the other, as one of them: "Block × 12".

    scene = with_repeats(scene)        # from a scene whose boxes stand in the frames of modules

What repeats may also be several modules or calls long: convolution, norm and ReLU four times, or
the body of a Python loop. Two stretches are equal if their boxes can be paired so that kinds,
titles, shapes and every edge between them agree. A Weisfeiler-Lehman colouring finds the pairs; the
edges are then compared, so a repeat is never guessed. Shapes of parameters count: two layers of
different widths are not equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .frames import OWNED
from .scene import Box, Edge, Group, Path, Scene, called, dotted

_ROUNDS = 3
# A single call that stands twice is as quick to read as "× 2".
_FEWEST, _FEWEST_SINGLES = 2, 3
# How many modules and calls a repeat is looked for in, and how many of them a frame names.
_LONGEST, _NAMED = 8, 3


@dataclass
class _Part:
    """Some boxes, with the edges among them by position, in a canonical order."""

    boxes: list[Box]
    colours: list[str]
    edges: set[tuple[int, int, str, str]]

    def equals(self, other: _Part) -> bool:
        return self.colours == other.colours and self.edges == other.edges


@dataclass
class _Item:
    """A module, or a call beside modules, in the order they are called."""

    name: str
    path: Path
    boxes: list[Box]
    order: float


def with_repeats(scene: Scene) -> Scene:
    """Collapse repeats, the outermost first, then those inside of what is left."""
    depth = 0
    while any(len(b.path) >= depth for b in scene.boxes):
        for parent in dict.fromkeys(b.path[:depth] for b in scene.boxes if len(b.path) >= depth):
            scene = _repeats_in(scene, parent)
        depth += 1
    return scene


def _repeats_in(scene: Scene, parent: Path) -> Scene:
    """The scene with one for every run of equal things among the parts of one module."""
    items = _items(scene, parent)
    if len(items) < 2:
        return scene
    owner = {b.id: i for i, item in enumerate(items) for b in item.boxes}
    inner: dict[int, list[Edge]] = {i: [] for i in range(len(items))}
    between: dict[int, list[Edge]] = {i: [] for i in range(len(items))}
    for edge in scene.edges:
        tail, head = owner.get(edge.tail, -1), owner.get(edge.head, -1)
        if tail >= 0 and head >= 0:
            (inner if tail == head else between)[min(tail, head)].append(edge)
    marks = [
        _hash(*_part(item.boxes, inner[i], len(item.path)).colours) for i, item in enumerate(items)
    ]
    start = 0
    while start < len(items):
        run = _run_at(items, marks, start, parent, inner, between, owner)
        if run:
            count, period = run
            scene = _collapsed(scene, parent, items[start : start + count * period], period)
        start += run[0] * run[1] if run else 1
    return scene


def _items(scene: Scene, parent: Path) -> list[_Item]:
    depth = len(parent)
    found: dict[str, _Item] = {}
    for box in scene.boxes:
        if box.path[:depth] != parent:
            continue
        if len(box.path) > depth:
            path = box.path[: depth + 1]
            name = scene.types.get(dotted(path)) or called(path[-1])
            item = found.setdefault("/".join(path), _Item(name, path, [], -1.0))
        elif box.pair and box.order >= 0:
            item = found.setdefault(f"pair {box.pair}", _Item(box.title, parent, [], -1.0))
        else:
            continue
        item.boxes.append(box)
        if box.order >= 0:
            item.order = min(item.order, box.order) if item.order >= 0 else box.order
    return sorted((i for i in found.values() if i.order >= 0), key=lambda i: i.order)


def _run_at(
    items: list[_Item],
    marks: list[str],
    start: int,
    parent: Path,
    inner: dict[int, list[Edge]],
    between: dict[int, list[Edge]],
    owner: dict[str, int],
) -> tuple[int, int] | None:
    """(how often, of how many items): the repeat that begins at an item and takes most of them."""

    def part(first: int, period: int) -> _Part:
        inside = range(first, first + period)
        edges = [e for i in inside for e in inner[i]]
        edges += [
            e for i in inside for e in between[i]
            if owner[e.tail] in inside and owner[e.head] in inside
        ]  # fmt: skip
        return _part([b for i in inside for b in items[i].boxes], edges, len(parent) + 1)

    best = None
    for period in range(1, _LONGEST + 1):
        count = 1
        here = marks[start : start + period]
        while marks[start + count * period : start + (count + 1) * period] == here:
            count += 1
        if count < 2 or (best and best[0] * best[1] >= count * period):
            continue
        first, same = part(start, period), 1
        while same < count and first.equals(part(start + same * period, period)):
            same += 1
        linked = all(
            any(start + (i + 1) * period <= max(owner[e.tail], owner[e.head])
                for k in range(period) for e in between[start + i * period + k])
            for i in range(same - 1)
        )  # fmt: skip
        work = [b for b in first.boxes if b.kind not in OWNED and b.phase in ("forward", "")]
        if linked and same >= (_FEWEST if len(work) > 1 else _FEWEST_SINGLES):
            best = (same, period)
    return best


def _part(boxes: list[Box], edges: list[Edge], depth: int) -> _Part:
    colour = {b.id: _hash(_label(b, depth)) for b in boxes}
    after: dict[str, list[Edge]] = {b.id: [] for b in boxes}
    before: dict[str, list[Edge]] = {b.id: [] for b in boxes}
    for edge in edges:
        after[edge.tail].append(edge)
        before[edge.head].append(edge)
    for _ in range(_ROUNDS):
        colour = {
            id_: _hash(
                colour[id_],
                *sorted(f"<{e.kind}{colour[e.tail]}" for e in before[id_]),
                *sorted(f">{e.kind}{colour[e.head]}" for e in after[id_]),
            )
            for id_ in colour
        }
    # Boxes of one colour are taken in the order they were called.
    order = sorted(boxes, key=lambda b: colour[b.id])
    place = {b.id: i for i, b in enumerate(order)}
    links = {(place[e.tail], place[e.head], e.kind, e.label) for e in edges}
    return _Part(order, [colour[b.id] for b in order], links)


def _label(box: Box, depth: int) -> str:
    """What of a box is the same in the next repeat; not its line's hover text, nor its number."""
    title = box.title.rpartition(".")[2] if box.kind in OWNED else box.title
    inside = dotted(box.path[depth:])
    return "\n".join((box.kind, title, box.detail, box.phase, box.shape, inside))


def _hash(*words: str) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=8).hexdigest()


def _collapsed(scene: Scene, parent: Path, items: list[_Item], period: int) -> Scene:
    """The first of equal stretches, with the edges of all to what lies around."""
    count = len(items) // period
    stretches = [items[i * period : (i + 1) * period] for i in range(count)]
    parts = []
    for stretch in stretches:
        ids = {b.id for item in stretch for b in item.boxes}
        edges = [e for e in scene.edges if e.tail in ids and e.head in ids]
        parts.append(_part([b for item in stretch for b in item.boxes], edges, len(parent) + 1))
    home = {b.id: b.id for b in scene.boxes}
    part_of: dict[str, int] = {}
    for number, part in enumerate(parts):
        for box, image in zip(part.boxes, parts[0].boxes, strict=True):
            home[box.id], part_of[box.id] = image.id, number
    edges = [e for e in scene.edges if _is_shown(part_of.get(e.tail), part_of.get(e.head))]
    boxes = [b for b in scene.boxes if not part_of.get(b.id)]
    frame = items[0].path
    if period > 1 or frame == parent:
        # A frame of its own, of no name, around what is no module.
        frame = (*parent, f"#{items[0].order:g}")
        boxes = [_inside(b, parent, frame) if b.id in part_of else b for b in boxes]
    groups = scene.groups | {frame: _frame(stretches)}
    return replace(scene, boxes=tuple(boxes), groups=groups).rewired(tuple(edges), home)


def _inside(box: Box, parent: Path, frame: Path) -> Box:
    rest = box.path[len(parent) :]
    grouped = box.group[: len(parent)] == parent
    return replace(
        box,
        path=(*frame, *rest),
        group=(*frame, *box.group[len(parent) :]) if grouped else box.group,
    )


def _is_shown(tail: int | None, head: int | None) -> bool:
    """Edges inside the first part, and those that come from or go to somewhere else."""
    return tail is None or head is None or tail == head == 0


def _frame(stretches: Sequence[Sequence[_Item]]) -> Group:
    """``Block × 12``, with the first and the last module in small print."""
    first, last = stretches[0], stretches[-1]
    names = [item.name for item in first]
    what = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    paths = [dotted(item.path) for stretch in stretches for item in stretch]
    if len(first) == 1 and len(set(paths)) == 1:
        note = f"{paths[0]}, {len(stretches)} calls" if first[0].path else ""
    elif len(set(paths)) <= len(first):
        note = f"{len(stretches)} times"
    else:
        note = f"{paths[0]} … {called(last[-1].path[-1])}"
    return Group(f"{what} × {len(stretches)}", "module", "\n".join(dict.fromkeys(paths)), note)
