"""How much of a scene is shown: single operations, calls, modules; repeats of one kind once.

    scene = fold(scene, View(depth=2, unfold=("Decoder.blocks.0",)))

Without a wish, the finest scene that a reader can take in.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace

from .costs import bytes_text, flops_text
from .frames import OWNED
from .ladder import CALLED, costs, finished, ladder, leaving_of, main_result
from .repeats import with_repeats
from .scene import Box, Path, Scene, called, dotted
from .updates import fold_updates

# Boxes in a picture, in one that shows single operations, and in one of kernels that does.
LIMIT, OPERATIONS, IN_KERNELS = 200, 24, 60
# Fewer folded boxes than this say nothing.
_FEWEST = 4
# From so many single operations on, they are laid out on rails: layout programs need minutes.
_MANY = 400
# How many modules an error names.
_NAMED = 12


@dataclass(frozen=True)
class View:
    """What to show.

    depth   modules of this depth are one box each; 1 shows the parts of the outermost
    fold    patterns of dotted module paths, such as ``"*.attention"``, that are one box each
    unfold  patterns of paths that stay open, with all around them; ``"*"``: every operation
    limit   the number of boxes from which on modules are folded without being asked for
    """

    depth: int | None = None
    fold: tuple[str, ...] = ()
    unfold: tuple[str, ...] = ()
    limit: int = LIMIT

    def is_cut(self, path: Path, depth: int) -> bool:
        """Whether the module of ``path`` is one box, where folding starts at ``depth``."""
        if _matches(path, self.fold):
            return True
        return len(path) >= depth and not _leads_to(path, self.unfold)


DEFAULT = View()


def fold(scene: Scene, view: View) -> Scene:
    """The scene as ``view`` wants it; ValueError where a pattern names no module."""
    _check(scene, view)
    count = len(scene.boxes)
    shown = _shown(scene, view)
    if len(shown.boxes) >= count or shown is scene:
        return shown
    folded = f"{count} boxes, folded into {len(shown.boxes)}"
    return replace(shown, note=" · ".join(filter(None, (scene.note, folded))))


def _shown(scene: Scene, view: View) -> Scene:
    asked = view.depth is not None or view.fold or view.unfold
    few = IN_KERNELS if any(b.unit.startswith("k") for b in scene.boxes) else OPERATIONS
    if "*" in view.unfold:
        return scene if len(scene.boxes) <= _MANY else _on_rails(scene)
    if not asked and len(scene.boxes) <= min(few, view.limit):
        return scene
    calls = ladder(scene) if any(b.unit for b in scene.boxes) else scene
    deepest = max((len(b.path) for b in calls.boxes), default=0)
    if view.depth is not None or asked:
        return _at(calls, view, view.depth if view.depth is not None else deepest + 1)
    for depth in range(deepest + 1, 0, -1):
        found = _at(calls, view, depth)
        if _FEWEST <= len(found.boxes) <= view.limit:
            return found
    return _by_lines(fold_updates(scene) if scene.columns else scene, view.limit)


def _on_rails(scene: Scene) -> Scene:
    """Every operation a row of its own: forward ones downwards, the others upwards beside them."""
    phases = {"backward": 1, "update": 1}
    sides: tuple[list[str], list[str]] = ([], [])
    for box in scene.boxes:
        if box.kind not in (*OWNED, "input", "output"):
            sides[phases.get(box.phase, 0)].append(box.id)
    down, up = sides
    order = {id_: float(i) for i, id_ in enumerate(down)}
    for i, id_ in enumerate(up):
        order[id_] = max(len(down), len(up)) * (1 - i / len(up)) - 0.5
    boxes = tuple(
        replace(b, group=b.path, pair=b.id, order=order.get(b.id, -1.0)) for b in scene.boxes
    )
    return finished(replace(scene, boxes=boxes, groups={}, columns=False))


def _at(scene: Scene, view: View, depth: int) -> Scene:
    """Modules from ``depth`` on folded, repeats recognised."""
    shown = with_repeats(_folded(scene, lambda path: view.is_cut(path, max(depth, 1))))
    return finished(shown) if any(b.unit for b in shown.boxes) else shown


def _folded(scene: Scene, is_cut: Callable[[Path], bool]) -> Scene:
    key: dict[str, Hashable] = {}
    for box in scene.boxes:
        cuts = (box.path[: i + 1] for i in range(len(box.path)))
        path = next(filter(is_cut, cuts), None)
        own = box.kind in ("input",) or (box.kind == "output" and box.phase != "backward")
        key[box.id] = box.id if path is None or own else (path, *_role(box))
    leaving = leaving_of(scene, key)
    return scene.merged(key, lambda k, boxes: _module(scene, k, boxes, leaving))


def _role(box: Box) -> tuple[str, str]:
    apart = box.kind if box.kind in (*OWNED, "update", "output") else ""
    return apart, box.phase if not apart else ""


def _module(scene: Scene, key: Hashable, boxes: list[Box], leaving: Mapping[str, int]) -> Box:
    if not isinstance(key, tuple):
        return boxes[0]
    path, apart, phase = key
    last = main_result(boxes, leaving)
    box = replace(
        boxes[0],
        group=path[:-1],
        path=path,
        tooltip=_contents(boxes),
        nbytes=sum(b.nbytes for b in boxes) if apart else last.nbytes,
        flops=sum(b.flops for b in boxes),
        shape=last.shape,
        pair="/".join(path),
        order=min((b.order for b in boxes if b.order >= 0), default=-1.0),
        members=tuple(m for b in boxes for m in b.members or (b.id,)),
    )
    if apart:
        title, detail = _owned(boxes, box.nbytes)
        return replace(box, title=title, detail=detail, pair="")
    name, kind = called(path[-1]), scene.types.get(dotted(path), "")
    backward = phase == "backward"
    return replace(
        box,
        kind="folded-backward" if backward else "folded",
        title=f"{name} backward" if backward else name,
        detail=" · ".join(filter(None, (kind, costs(last.shape, last.nbytes, box.flops)))),
    )


def _owned(boxes: list[Box], total: int) -> tuple[str, str]:
    """Title and detail of the parameters, the buffers or the updates of a module."""
    if len(boxes) == 1:
        return boxes[0].title, boxes[0].detail
    names = sum(max(len(b.members), 1) for b in boxes)
    detail = bytes_text(total) if boxes[0].kind in OWNED else boxes[0].detail
    return f"{names} {CALLED.get(boxes[0].kind, 'parameter')}s", detail


def _contents(boxes: list[Box]) -> str:
    tally = Counter(b.title for b in boxes).most_common(16)
    work = sum(b.flops for b in boxes)
    lines = [f"{count} × {title}" if count > 1 else title for title, count in tally]
    return "\n".join([*lines, *([flops_text(work)] * (work > 0))])


def _check(scene: Scene, view: View) -> None:
    """A pattern that folds or opens nothing is a slip of the pen."""
    if view.limit < _FEWEST:
        raise ValueError(f"limit={view.limit}: a picture has {_FEWEST} boxes at least")
    paths = dict.fromkeys(b.path[: i + 1] for b in scene.boxes for i in range(len(b.path)))
    for pattern in (*view.fold, *view.unfold):
        if pattern != "*" and not any(_matches(path, (pattern,)) for path in paths):
            known = list(dict.fromkeys(map(dotted, paths)))
            some = ", ".join(known[:_NAMED]) + (", …" if len(known) > _NAMED else "")
            raise ValueError(f"no module is called {pattern!r}; there are {some or 'none'}")


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern names the path, with or without the root's name."""
    names = list(map(called, path))
    dotted = (".".join(names), ".".join(names[1:]))
    return any(fnmatch.fnmatchcase(d, p) for p in patterns for d in dotted if d)


def _leads_to(path: Path, patterns: tuple[str, ...]) -> bool:
    """Whether the path is one to keep open, or on the way to one."""
    names = list(map(called, path))
    for pattern in patterns:
        parts = pattern.split(".")
        for way in (names, names[1:]):
            if len(way) <= len(parts) and all(map(fnmatch.fnmatchcase, way, parts)):
                return True
    return False


def _by_lines(scene: Scene, limit: int) -> Scene:
    """By the lines that called them, or, without lines, in runs of equal length."""
    ends = [b for b in scene.boxes if b.kind == "input" or (b.kind == "output" and not b.group)]
    apart = {b.id for b in ends} if len(ends) <= limit // 4 else set()
    key: dict[str, Hashable] = {
        b.id: b.id if b.id in apart else (b.group, b.place) for b in scene.boxes
    }
    if not _FEWEST <= len(set(key.values())) - len(apart) <= limit - len(apart):
        run = -(-len(scene.boxes) // (limit - len(apart)))
        key = {b.id: b.id if b.id in apart else i // run for i, b in enumerate(scene.boxes)}
    return scene.merged(key, lambda _, boxes: _lines(scene, boxes))


def _lines(scene: Scene, boxes: list[Box]) -> Box:
    first = boxes[0]
    if len(boxes) == 1:
        return first
    group = first.group if all(b.group == first.group for b in boxes) else ()
    return replace(
        first,
        kind="folded",
        title=first.place or "operations",
        detail=f"{len(boxes)} boxes",
        tooltip=_contents(boxes),
        group=group,
        members=tuple(b.id for b in boxes),
    )
