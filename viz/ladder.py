"""A training step as it was written: a row for each call, its gradient beside it.

    scene = ladder(scene)        # from a scene of single operations

From the left: parameters, the call, what it keeps for backward, the backward function that reads
it, the update of the parameters. Data flows down on the forward side, gradients up on the other.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import replace

from .costs import bytes_text, flops_text
from .frames import OWNED, components
from .scene import Box, Edge, Path, Scene, called
from .units import unsuffixed
from .updates import fold_updates

CALLED = {"state": "buffer", "mutated": "buffer", "output": "gradient", "update": "update"}
# How many names a box lists.
_NAMES = 3


def ladder(scene: Scene) -> Scene:
    """One box for each call; parameters, and updates, one for each module."""
    if scene.columns:
        scene = fold_updates(scene)
    homes = {b.title: b.path for b in scene.boxes if b.kind in OWNED}
    written = {b.title for b in scene.boxes if b.kind == "mutated"}
    views = _views(scene)
    key = _bookkeeping(scene, {b.id: _key(b, homes, views, written) for b in scene.boxes})
    leaving = leaving_of(scene, key)
    made = scene.merged(key, lambda k, boxes: _made(k, boxes, leaving, views))
    state = {b.id for b in made.boxes if b.kind == "mutated"}
    edges = tuple(e for e in made.edges if e.head not in state)
    boxes = made.boxes
    if any(b.unit.startswith("k") for b in boxes):
        # A kernel is of several modules: frames would tear the flow of data apart.
        boxes = tuple(replace(b, group=(), title=_unframed(b)) for b in boxes)
    return replace(made, boxes=boxes, groups={}, columns=False, edges=edges)


def _unframed(box: Box) -> str:
    """A title that says whose it is, where no frame does."""
    alone = box.path and (box.kind in OWNED or box.kind in ("update", "output"))
    if not (alone and box.members):
        return box.title
    owner = called(box.path[-1])
    return f"{box.title} of {owner}" if box.title[:1].isdigit() else f"{owner}.{box.title}"


def _views(scene: Scene) -> dict[str, str]:
    """{pair: one that stands for it}: calls in one module that only look at memory otherwise.

    ``x.view(…).transpose(1, 2)`` says little in two boxes, and much too much in six.
    """
    forward = [b for b in scene.boxes if b.pair and b.phase in ("forward", "")]
    work = {b.pair for b in forward if b.kind != "view"}
    views = {b.id: b for b in forward if b.pair not in work and not b.unit.startswith("k")}
    links = [
        e for e in scene.edges
        if e.tail in views and e.head in views and views[e.tail].path == views[e.head].path
    ]  # fmt: skip
    parts = components(views.values(), links)
    first: dict[str, str] = {}
    return {box.pair: first.setdefault(parts[id_], box.pair) for id_, box in views.items()}


def _bookkeeping(scene: Scene, key: dict[str, Hashable]) -> dict[str, Hashable]:
    """Calls that do nothing but count, or average, for a module's own state are part of it.

    Batch normalisation is one call; that its statistics are three more says nobody anything.
    """
    state = {k for k in key.values() if isinstance(k, tuple) and k[0] == "mutated"}
    users: dict[Hashable, set[Hashable]] = {}
    for edge in scene.edges:
        if key[edge.tail] != key[edge.head]:
            users.setdefault(key[edge.tail], set()).add(key[edge.head])
    moved: dict[Hashable, Hashable] = {}
    for box in scene.boxes:
        call = key[box.id]
        read = users.get(call, set())
        if call not in state and box.phase in ("forward", "") and read and read <= state:
            own = ("mutated", box.path, "")
            moved[call] = own if own in read else call
    return {id_: moved.get(k, k) for id_, k in key.items()}


def leaving_of(scene: Scene, key: Mapping[str, Hashable]) -> dict[str, int]:
    """Boxes whose value others read: 2 where these compute in the same direction, else 1."""
    phase = {b.id: b.phase for b in scene.boxes if b.kind != "output" or b.phase == "forward"}
    found: dict[str, int] = {}
    for edge in scene.edges:
        if key[edge.tail] != key[edge.head]:
            ahead = phase.get(edge.tail) == phase.get(edge.head)
            found[edge.tail] = max(found.get(edge.tail, 0), 1 + ahead)
    return found


def _key(box: Box, homes: dict[str, Path], views: dict[str, str], written: set[str]) -> Hashable:
    """What stays apart: calls, and what belongs to different modules."""
    if box.kind in OWNED:
        return (box.kind, box.path, "" if box.path else box.title)
    owner = _owner(box)
    if owner in homes:
        buffers = box.kind == "output" and owner in written
        # Of a module all parameters together, else each by itself.
        return ("mutated" if buffers else "update", homes[owner], "" if homes[owner] else owner)
    if box.unit and box.phase != "update":
        return ("call", box.phase, views.get(box.pair) or box.unit)
    return box.id


def _owner(box: Box) -> str:
    """The parameter that an update, or a gradient that is a result, belongs to."""
    if box.phase == "update":
        return box.title.partition(", ")[0]
    if box.kind != "output":
        return ""
    return box.title.removesuffix(" updated").removesuffix(".grad")


def _made(
    key: Hashable, boxes: list[Box], leaving: Mapping[str, int], views: dict[str, str]
) -> Box:
    if not isinstance(key, tuple):
        # Alone in the picture, but not in a column.
        box = boxes[0]
        kind = "update" if box.phase == "update" else box.kind
        return replace(box, group=box.path, kind=kind)
    if key[0] == "call":
        call = _call(boxes, leaving)
        return replace(call, pair=views.get(call.pair, call.pair))
    return _updated(boxes, key[1]) if key[0] == "update" else _owned(boxes, key[1])


def _call(boxes: list[Box], leaving: Mapping[str, int]) -> Box:
    first, last = boxes[0], main_result(boxes, leaving)
    if not first.nbytes and len(boxes) == 1:
        # A record, which says itself what it is.
        detail = " · ".join(filter(None, (first.shape, first.detail)))
        return replace(first, detail=detail, group=first.path)
    work = sum(b.flops for b in boxes)
    tally = Counter(b.title for b in boxes).most_common()
    places = dict.fromkeys(b.tooltip.rpartition("\n")[2] for b in boxes if b.place)
    tip = [first.name, *(f"{n} × {title}" for title, n in tally), *places]
    return replace(
        first,
        kind=_kind(boxes),
        title=_titled(boxes),
        detail=costs(last.shape, last.nbytes, work),
        tooltip="\n".join(tip[:14]),
        group=first.path,
        shape=last.shape,
        nbytes=last.nbytes,
        flops=work,
        order=min((b.order for b in boxes if b.order >= 0), default=-1.0),
        members=tuple(b.id for b in boxes),
    )


def main_result(boxes: list[Box], leaving: Mapping[str, int]) -> Box:
    """What matters of several boxes: the largest value that others read, the last of equals."""
    return max(reversed(boxes), key=lambda b: (leaving.get(b.id, 0), b.nbytes))


def costs(shape: str, nbytes: int, work: int) -> str:
    """``64×6×28×28 · 1.2 MB · 15.1 MFLOP``"""
    memory = [bytes_text(nbytes)] * (nbytes > 0)
    return " · ".join((shape, *memory, *([flops_text(work)] * (work > 0))))


def _titled(boxes: list[Box]) -> str:
    """PyTorch's spelling: ``dot_general`` is ``DotGeneral``; views that stand together by all."""
    if boxes[0].unit.startswith("k"):
        return boxes[0].name
    names = list(dict.fromkeys(b.name for b in boxes))
    if len(names) > 1:
        names = [*map(unsuffixed, names[:-1]), names[-1]]
    words = ["".join(part[:1].upper() + part[1:] for part in name.split("_")) for name in names]
    return ", ".join(dict.fromkeys(words))


def _kind(boxes: list[Box]) -> str:
    kinds = {b.kind for b in boxes}
    if "contract" in kinds:
        return "contract"
    if boxes[0].phase == "backward":
        return "backward"
    return next((k for k in ("control", "reduce", "op", "host") if k in kinds), boxes[0].kind)


def _owned(boxes: list[Box], path: Path) -> Box:
    """The parameters, or the buffers, of one module."""
    boxes = [b for b in boxes if b.kind in OWNED]
    boxes.sort(key=lambda b: not b.title.rpartition(".")[2].startswith("weight"))
    names = [own_name(b.title, path) for b in boxes]
    total = sum(b.nbytes for b in boxes)
    tip = "\n".join(f"{b.title}: {b.shape}, {bytes_text(b.nbytes)}" for b in boxes)
    return replace(
        boxes[0],
        title=listed(names, CALLED.get(boxes[0].kind, "parameter"))
        if len("".join(names)) < 24
        else f"{len(names)} {CALLED.get(boxes[0].kind, 'parameter')}s",
        detail=listed([b.shape for b in boxes], "shape", "  ") + f" · {bytes_text(total)}",
        tooltip=tip,
        group=path,
        nbytes=total,
        members=tuple(b.id for b in boxes),
    )


def _updated(boxes: list[Box], path: Path) -> Box:
    """The update of a module's parameters, or their gradients where nothing reads them."""
    works = [b for b in boxes if b.phase == "update"]
    shown = works or boxes
    names = [own_name(b.title, path) for b in shown]
    states = dict.fromkeys(b.detail.rpartition(" · ")[2] for b in works if " · " in b.detail)
    return replace(
        shown[0],
        kind="update" if works else "output",
        title=listed(names, "parameter" if works else "gradient"),
        detail=next(iter(states), ""),
        tooltip="\n".join(f"{b.title}: {b.tooltip}" for b in shown),
        group=path,
        path=path,
        members=tuple(b.id for b in boxes),
    )


def own_name(title: str, path: Path) -> str:
    """A parameter's name inside its module: ``weight``, or ``out_proj.weight``."""
    names = title.split(".")
    home = list(map(called, path[1:]))
    return ".".join(names[len(home) :] if names[: len(home)] == home else names[-1:])


def listed(names: list[str], what: str, between: str = ", ") -> str:
    """A few names, or how many there are."""
    return between.join(names) if len(names) <= _NAMES else f"{len(names)} {what}s"


def finished(scene: Scene) -> Scene:
    """With what is kept for backward as a box between its maker and its reader, and rows."""
    forward = {b.pair: b for b in scene.boxes if b.pair and b.phase in ("forward", "")}
    edges = [e for e in scene.edges if e.kind != "kept"]
    kept: dict[str, dict[tuple[str, int, str], None]] = {}
    for edge in scene.edges:
        if edge.kind == "kept":
            kept.setdefault(edge.head, {}).update(dict.fromkeys(edge.carries))
    chips = []
    for reader in (b for b in scene.boxes if b.phase == "backward"):
        maker = forward.get(reader.pair)
        values = kept.get(reader.id, {})
        if maker is None and not values:
            continue
        ends = [maker.id] if maker else []
        if any(count for _, count, _ in values):
            chips.append(_chip(reader, list(values)))
            ends.append(chips[-1].id)
        edges += (Edge(*link, kind="pair") for link in itertools.pairwise([*ends, reader.id]))
    scene = replace(scene, boxes=(*scene.boxes, *chips), edges=tuple(edges))
    return replace(scene, rows=_rows(scene), on_rails=True)


def _chip(reader: Box, values: list[tuple[str, int, str]]) -> Box:
    total = sum(count for _, count, _ in values)
    words = [f"{text}, {bytes_text(count)}" for _, count, text in values]
    return Box(
        f"kept_{reader.id}",
        "kept",
        bytes_text(total),
        tooltip="\n".join(["kept for backward:", *words[:12]]),
        group=reader.group,
        pair=reader.pair,
    )


SOURCES = (*OWNED, "input", "constant")
_ORDER = {
    "state": -2,
    "mutated": -2,
    "input": -1,
    "parameter": 0,
    "kept": 2,
    "update": 4,
    "output": 5,
}


def _rows(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """Boxes side by side: a call, its gradient, what it owns, what its gradient updates."""
    row: dict[str, str] = {b.id: b.pair for b in scene.boxes if b.pair}
    by_id = {b.id: b for b in scene.boxes}
    fed = {e.head for e in scene.edges if e.kind == "" and by_id[e.tail].kind not in SOURCES}
    first = {e.tail for e in scene.edges if e.head in row and e.head not in fed}
    for edge in scene.edges:
        tail, head = by_id[edge.tail], by_id[edge.head]
        if tail.kind == "input" and head.id in row and tail.id not in first:
            # Beside the call that reads it; what the first call reads stands above it.
            row.setdefault(tail.id, row[head.id])
        if tail.kind in OWNED and head.id in row:
            row.setdefault(tail.id, row[head.id])
        if head.kind in ("update", "output") and tail.phase == "backward" and tail.id in row:
            row.setdefault(head.id, row[tail.id])
    calls: dict[Path, str] = {}
    for box in scene.boxes:
        if box.pair and box.phase in ("forward", ""):
            calls.setdefault(box.path, box.pair)
    for box in scene.boxes:
        # State that its module only writes has no reader to stand beside.
        if box.kind in OWNED and box.path and box.path in calls:
            row.setdefault(box.id, calls[box.path])
    members: dict[str, list[Box]] = {}
    for box in scene.boxes:
        if box.id in row:
            members.setdefault(row[box.id], []).append(box)
    return tuple(
        tuple(b.id for b in sorted(boxes, key=_place_in_row))
        for boxes in members.values()
        if len(boxes) > 1
    )


def _place_in_row(box: Box) -> int:
    return _ORDER.get(box.kind, 3 if box.phase == "backward" else 1)
