"""Which frame a box stands in: parameters with their readers, inputs in their first reader's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from .scene import Box, Edge, Path, Scene, called, dotted

# Kinds of boxes that belong to a module by their name.
OWNED = ("parameter", "state", "mutated")


def adopted(scene: Scene, paths: Iterable[Path] = ()) -> Scene:
    """Parameters and buffers named ``path.to.name`` move into the frame of the module of that path.

    The path may start below the root that the operations' frames start with. ``paths`` are frames
    that boxes may stand in besides those that they do.
    """
    readers: dict[str, list[Box]] = {}
    by_id = {b.id: b for b in scene.boxes}
    for edge in scene.edges:
        readers.setdefault(edge.tail, []).append(by_id[edge.head])
    known: dict[str, Path] = {}
    for path in dict.fromkeys((*paths, *(b.path for b in scene.boxes))):
        for depth in range(2, len(path) + 1):
            known.setdefault(dotted(path[1:depth]), path[:depth])
    boxes = (_adopted(b, readers.get(b.id, []), known) for b in scene.boxes)
    return replace(scene, boxes=tuple(boxes))


def _adopted(box: Box, readers: list[Box], known: Mapping[str, Path]) -> Box:
    modules = box.title.split(".")[:-1]
    if box.kind not in OWNED or box.group:
        return box
    # A module that is called again reads what its first call owns.
    for reader in sorted(readers, key=lambda b: b.order):
        names = list(map(called, reader.path))
        if (names[-len(modules) :] == modules) if modules else len(names) == 1:
            # In the frame of a kernel nothing stands but its operations.
            inside = reader.group[-len(reader.path) :] == reader.path
            return replace(box, group=reader.group if inside else (), path=reader.path)
    # Read elsewhere, or by a kernel that is mostly another's, or of a module that is never called.
    outward = (".".join(modules[:depth]) for depth in range(len(modules), 0, -1))
    root = readers[0].path[:1] if readers and modules else ()
    path = next((known[name] for name in outward if name in known), root)
    return replace(box, path=path) if readers else box


def beside(scene: Scene) -> Scene:
    """What comes in from outside stands in the column of its first reader."""
    by_id = {b.id: b for b in scene.boxes}
    column: dict[str, Path] = {}
    for edge in scene.edges:
        if (head := by_id[edge.head]).phase:
            column.setdefault(edge.tail, head.group[:1])
    return replace(
        scene,
        boxes=tuple(b if b.group else replace(b, group=column.get(b.id, ())) for b in scene.boxes),
    )


def components(boxes: Iterable[Box], edges: Iterable[Edge]) -> dict[str, str]:
    """For every box, one box that stands for all it is connected to, in either direction."""
    parent = {b.id: b.id for b in boxes}

    def root(id_: str) -> str:
        while parent[id_] != id_:
            parent[id_] = id_ = parent[parent[id_]]
        return id_

    for edge in edges:
        parent[root(edge.tail)] = root(edge.head)
    return {id_: root(id_) for id_ in parent}
