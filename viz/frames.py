"""Which frame a box stands in: parameters with their readers, each use of a module by itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from .scene import Box, Edge, Group, Path, Scene


def adopted(scene: Scene) -> Scene:
    """Parameters and buffers named ``path.to.name`` move into the frame of the module of that path.

    The path may start below the root that the operations' frames start with.
    """
    readers: dict[str, list[Path]] = {}
    by_id = {b.id: b for b in scene.boxes}
    for edge in scene.edges:
        readers.setdefault(edge.tail, []).append(by_id[edge.head].group)
    boxes = []
    for box in scene.boxes:
        modules = tuple(box.title.split(".")[:-1])
        if box.kind in ("parameter", "state") and modules and not box.group:
            homes = (g for g in readers.get(box.id, ()) if g[-len(modules) :] == modules)
            box = replace(box, group=next(homes, ()))
        boxes.append(box)
    return replace(scene, boxes=tuple(boxes))


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


def parted(scene: Scene) -> Scene:
    """A module that is used twice gets two frames: one for each connected part.

    A single frame would drag operations from far apart onto one spot of the page.
    """
    groups = dict(scene.groups)
    home = {b.id: b.group for b in scene.boxes}
    depth = 1
    while any(len(path) >= depth for path in home.values()):
        members: dict[Path, list[str]] = {}
        for id_, path in home.items():
            if len(path) >= depth:
                members.setdefault(path[:depth], []).append(id_)
        inside = [e for e in scene.edges if home[e.tail][:depth] == home[e.head][:depth]]
        parts = components(scene.boxes, inside)
        for path, ids in members.items():
            if scene.group(path).kind == "module":
                _part(path, ids, parts, home, groups)
        scene = replace(scene, groups=groups)
        depth += 1
    return replace(scene, boxes=tuple(replace(b, group=home[b.id]) for b in scene.boxes))


def _part(
    path: Path,
    ids: list[str],
    parts: dict[str, str],
    home: dict[str, Path],
    groups: dict[Path, Group],
) -> None:
    """Rename one frame's parts; the first keeps its name."""
    number = {part: i for i, part in enumerate(dict.fromkeys(parts[id_] for id_ in ids))}
    old = dict(groups)
    for id_ in ids:
        if (n := number[parts[id_]]) == 0:
            continue
        new = (*path[:-1], f"{path[-1]}#{n + 1}")
        below = home[id_][len(path) :]
        for depth in range(len(below) + 1):
            was = (*path, *below[:depth])
            groups[*new, *below[:depth]] = old.get(was) or Group(".".join(was))
        home[id_] = (*new, *below)


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
