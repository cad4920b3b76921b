"""Modules of equal structure, one after the other, as one of them: "Block × 12".

    scene = with_repeats(scene)        # from a scene whose boxes stand in the frames of modules

Two modules are equal if their boxes can be paired so that kinds, titles, shapes and every edge
between them agree. A Weisfeiler-Lehman colouring finds the pairs; the edges are then compared, so a
repeat is never guessed. Shapes of parameters count: two layers of different widths are not equal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .frames import OWNED
from .scene import Box, Edge, Group, Path, Scene, called

_ROUNDS = 3
# A single box that stands twice is as quick to read as "× 2".
_FEWEST_BOXES, _FEWEST_SINGLES = 2, 3


@dataclass
class _Part:
    """The boxes of one module, with edges among them by position, in a canonical order."""

    path: Path
    boxes: list[Box]
    colours: list[str]
    edges: set[tuple[int, int, str, str]]

    def equals(self, other: _Part) -> bool:
        return self.colours == other.colours and self.edges == other.edges


def with_repeats(scene: Scene) -> Scene:
    """Collapse repeats, the outermost first, then those inside of what is left."""
    depth = 1
    while any(len(b.path) >= depth for b in scene.boxes):
        children: dict[Path, dict[Path, list[Box]]] = {}
        for box in scene.boxes:
            if len(box.path) >= depth:
                parent, child = box.path[: depth - 1], box.path[:depth]
                children.setdefault(parent, {}).setdefault(child, []).append(box)
        for members in children.values():
            for run in _runs(scene, members):
                scene = _collapsed(scene, run)
        depth += 1
    return scene


def _runs(scene: Scene, members: dict[Path, list[Box]]) -> list[list[_Part]]:
    """Equal siblings that feed each other."""
    owner = {b.id: path for path, boxes in members.items() for b in boxes}
    inner: dict[Path, list[Edge]] = {path: [] for path in members}
    linked: set[frozenset[Path]] = set()
    for edge in scene.edges:
        tail, head = owner.get(edge.tail), owner.get(edge.head)
        if tail is None or head is None:
            continue
        if tail == head:
            inner[tail].append(edge)
        else:
            linked.add(frozenset((tail, head)))
    parts = [_part(path, boxes, inner[path]) for path, boxes in members.items()]
    runs: list[list[_Part]] = []
    for part in parts:
        last = runs[-1][-1] if runs else None
        if last and frozenset((last.path, part.path)) in linked and part.equals(last):
            runs[-1].append(part)
        else:
            runs.append([part])
    return [r for r in runs if len(r) > 1 and _is_worth_it(r)]


def _is_worth_it(run: Sequence[_Part]) -> bool:
    work = [b for b in run[0].boxes if b.kind not in OWNED and b.phase in ("forward", "")]
    return len(work) >= _FEWEST_BOXES or len(run) >= _FEWEST_SINGLES


def _part(path: Path, boxes: list[Box], edges: list[Edge]) -> _Part:
    colour = {b.id: _hash(_label(b, len(path))) for b in boxes}
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
    return _Part(path, order, [colour[b.id] for b in order], links)


def _label(box: Box, depth: int) -> str:
    """What of a box is the same in the next repeat; not its line's hover text, nor its number."""
    title = box.title.rpartition(".")[2] if box.kind in OWNED else box.title
    inside = ".".join(map(called, box.path[depth:]))
    return "\n".join((box.kind, title, box.detail, box.phase, box.shape, inside))


def _hash(*words: str) -> str:
    return hashlib.blake2b("\n".join(words).encode(), digest_size=8).hexdigest()


def _collapsed(scene: Scene, run: Sequence[_Part]) -> Scene:
    """The first of equal parts, with the edges of all to what lies around."""
    first = run[0]
    home = {b.id: b.id for b in scene.boxes}
    part_of: dict[str, int] = {}
    for number, part in enumerate(run):
        for box, image in zip(part.boxes, first.boxes, strict=True):
            home[box.id], part_of[box.id] = image.id, number
    edges = tuple(e for e in scene.edges if _is_shown(part_of.get(e.tail), part_of.get(e.head)))
    boxes = tuple(b for b in scene.boxes if not part_of.get(b.id))
    groups = scene.groups | {first.path: repeated(scene, [p.path for p in run])}
    return replace(scene, boxes=boxes, groups=groups).rewired(edges, home)


def _is_shown(tail: int | None, head: int | None) -> bool:
    """Edges inside the first part, and those that come from or go to somewhere else."""
    return tail is None or head is None or tail == head == 0


def repeated(scene: Scene, paths: Sequence[Path]) -> Group:
    """``Block × 12``, with the first and the last module in small print."""
    old = scene.group(paths[0])
    dotted = [".".join(map(called, p)) for p in paths]
    what = scene.types.get(dotted[0]) or called(paths[0][-1])
    if len(set(dotted)) == 1:
        note = f"{dotted[0]}, {len(paths)} calls"
    else:
        note = f"{dotted[0]} … {called(paths[-1][-1])}"
    return Group(f"{what} × {len(paths)}", old.kind, "\n".join(dict.fromkeys(dotted)), note)
