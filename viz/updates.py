"""An optimizer's work as one box for each parameter: ``scene = fold_updates(scene)``.

Adam is thirteen operations and three states for every parameter, all alike: drawn one by one they
would fill the page, and hide the pass that computes the gradients.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from .frames import components
from .scene import Box, Edge, Group, Scene

_COLUMN = ("update",)
_STATES = ("state", "mutated")


def fold_updates(scene: Scene) -> Scene:
    """Merge connected operations of the update, with the state they read and write."""
    readers: dict[str, list[Box]] = {}
    by_id = {b.id: b for b in scene.boxes}
    for edge in scene.edges:
        readers.setdefault(edge.tail, []).append(by_id[edge.head])
    # What only updates read: their state, and numbers such as the learning rate.
    own = {
        b.id: b
        for b in scene.boxes
        if b.phase == "update"
        or (b.kind in (*_STATES, "input", "constant") and _all_update(readers.get(b.id, [])))
    }
    updates = [b for b in own.values() if b.phase == "update" or b.kind in _STATES]
    kept = {b.id for b in updates}
    inner = [e for e in scene.edges if e.tail in kept and e.head in kept]
    parts = components(updates, [*inner, *_siblings(updates)])
    members: dict[str, list[Box]] = {}
    for box in updates:
        members.setdefault(parts[box.id], []).append(box)
    merged = {part: _merged(scene, boxes) for part, boxes in members.items()}
    numbers = len(own) - len(updates)
    groups = scene.groups | {_COLUMN: _column(numbers)}
    rest = [b for b in scene.boxes if b.id not in own]
    home = {b.id: b.id for b in rest} | {id_: merged[part].id for id_, part in parts.items()}
    edges = dict.fromkeys(
        replace(e, tail=home[e.tail], head=home[e.head])
        for e in scene.edges
        if _shown(e, home, kept, by_id)
    )
    return replace(scene, boxes=(*rest, *merged.values()), edges=tuple(edges), groups=groups)


def _siblings(boxes: list[Box]) -> list[Edge]:
    """Links between the states of one parameter: ``weight exp_avg``, ``weight step``."""
    first: dict[str, str] = {}
    owners = ((b.title.rpartition(" ")[0], b.id) for b in boxes if b.kind in _STATES)
    return [Edge(first.setdefault(owner, id_), id_) for owner, id_ in owners if owner]


def _all_update(readers: list[Box]) -> bool:
    return bool(readers) and all(b.phase == "update" for b in readers)


def _shown(edge: Edge, home: dict[str, str], updates: set[str], boxes: dict[str, Box]) -> bool:
    """A box named after its parameter needs no line from it."""
    if edge.tail not in home or edge.head not in home or home[edge.tail] == home[edge.head]:
        return False
    return not (edge.head in updates and boxes[edge.tail].kind == "parameter")


def _merged(scene: Scene, boxes: list[Box]) -> Box:
    work = [b for b in boxes if b.kind not in (*_STATES, "output")]
    results = {b.title.removesuffix(" updated"): b.detail for b in boxes if b.kind == "output"}
    owners = [name for name in results if not any(name.startswith(f"{n} ") for n in results)]
    parameters = owners or ["numbers"]
    states = [name.removeprefix(f"{parameters[0]} ") for name in results if name not in parameters]
    detail = " · ".join(filter(None, (results.get(parameters[0], ""), ", ".join(states))))
    kernels = dict.fromkeys(scene.group(b.group).label for b in work if b.group)
    tally = Counter(b.title for b in work).most_common()
    tip = [f"{len(work)} operations", *(f"{n} × {title}" for title, n in tally), *kernels]
    title = ", ".join(parameters[:2]) + (f" and {len(parameters) - 2} more" * (len(parameters) > 2))
    return Box(boxes[0].id, "folded", title, detail, "\n".join(tip), _COLUMN, phase="update")


def _column(numbers: int) -> Group:
    words = "update, a box for each parameter"
    tip = f"{words}; reads {numbers} numbers such as the learning rate" if numbers else words
    return Group(words, "update", tip)
