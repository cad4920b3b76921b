"""Where everything stands in a ladder: five columns, a row for each call, rails for what skips.

    layout = lay(scene)         # a scene with rows; sizes in points, y upwards as graphviz has it

From the left: what a call owns, the call, what it keeps, its gradient, what that updates. Data that
goes to the next row goes straight; what skips rows runs on a rail beside the column. No layout
program is asked: the same scene stands in the same places on every machine, and a thousand rows
take milliseconds.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from .curves import Point
from .metrics import size, width
from .scene import Box, Edge, Path, Scene

FRAME, SMALL = 10.0, 8.5
_ROW_GAP, _COLUMN_GAP, _CELL_GAP = 24.0, 34.0, 10.0
_RAIL, _PAD, _HEADER, _INSET, _MARGIN = 9.0, 9.0, 20.0, 8.0, 18.0


@dataclass(frozen=True)
class Place:
    """A rectangle by its centre."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """The x of its left side."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """The y of its upper side."""
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y - self.height / 2


@dataclass
class Layout:
    """Places of boxes, frames, frames' labels, and the corners of every edge, in order."""

    width: float = 0.0
    height: float = 0.0
    boxes: dict[str, Place] = field(default_factory=dict)
    frames: dict[Path, Place] = field(default_factory=dict)
    labels: dict[Path, Place] = field(default_factory=dict)
    edges: list[list[Point]] = field(default_factory=list)


@dataclass
class _Row:
    order: float
    path: Path
    # Boxes from the left, in five columns.
    cells: list[list[Box]]


@dataclass
class _Frame:
    path: Path
    parts: list[_Row | _Frame] = field(default_factory=list)

    @property
    def order(self) -> float:
        return min(p.order for p in self.parts)

    def rows(self) -> list[_Row]:
        return [r for p in self.parts for r in (p.rows() if isinstance(p, _Frame) else [p])]


LabelOf = Callable[[Path], tuple[str, str]]


def lay(scene: Scene, label_of: LabelOf) -> Layout:
    """The places of everything in a scene with rows; ``label_of`` a frame: name, small print."""
    root = _tree(_rows(scene))
    drawing = _Drawing(scene, root, label_of)
    drawing.run()
    return drawing.layout


# --------------------------------------------------------------------------------------------- rows


_SOURCES = ("input", "parameter", "state", "mutated", "constant")


def column(box: Box) -> int:
    """Which of the five columns a box stands in, in a row with a call."""
    if box.kind == "kept":
        return 2
    if box.kind == "update":
        return 4
    if box.kind == "output":
        return 4 if box.phase == "backward" else 1
    return 3 if box.phase in ("backward", "update") else 1


def _rows(scene: Scene) -> list[_Row]:
    """The scene's rows, and one for every box that is in none."""
    by_id = {b.id: b for b in scene.boxes}
    placed = {id_ for row in scene.rows for id_ in row}
    groups = [[by_id[id_] for id_ in row] for row in scene.rows]
    groups += ([b] for b in scene.boxes if b.id not in placed)
    order = {b.id: o for boxes in groups if (o := _order(boxes)) >= 0 for b in boxes}
    neighbours: dict[str, list[str]] = {}
    for edge in scene.edges:
        neighbours.setdefault(edge.tail, []).append(edge.head)
        neighbours.setdefault(edge.head, []).append(edge.tail)
    rows = []
    for boxes in groups:
        near = [order[i] for b in boxes for i in neighbours.get(b.id, ()) if i in order]
        rows.append(_row(boxes, near))
    return rows


def _order(boxes: Sequence[Box]) -> float:
    return min((b.order for b in boxes if b.order >= 0), default=-1.0)


def _row(boxes: Sequence[Box], near: Sequence[float]) -> _Row:
    """Boxes in their columns; without an order, near those they are connected to."""
    cells: list[list[Box]] = [[] for _ in range(5)]
    beside = len(boxes) > 1
    for box in boxes:
        first = box.kind in _SOURCES
        cells[int(not beside) if first else column(box)].append(box)
    main = (cells[1] or cells[3] or boxes)[0]
    order = _order(boxes)
    if order < 0:
        # What comes in stands above its first reader, what comes out below what made it.
        after = main.kind == "output" or main.phase
        order = max(near, default=1e9) + 0.4 if after else min(near, default=-1.0) - 0.4
    return _Row(order, main.group, cells)


def _tree(rows: list[_Row]) -> _Frame:
    """Rows inside frames, in the order of the calls; the rows of a frame follow each other."""
    root = _Frame(())
    frames: dict[Path, _Frame] = {(): root}

    def frame(path: Path) -> _Frame:
        if path not in frames:
            frames[path] = _Frame(path)
            frame(path[:-1]).parts.append(frames[path])
        return frames[path]

    for row in rows:
        frame(row.path).parts.append(row)
    for found in sorted(frames.values(), key=lambda f: -len(f.path)):
        found.parts = _slim(found.parts)
    for found in sorted(frames.values(), key=lambda f: -len(f.path)):
        found.parts.sort(key=lambda p: p.order)
    return root


def _slim(parts: list[_Row | _Frame]) -> list[_Row | _Frame]:
    """A frame around nothing but a frame of one row is no frame."""
    return [
        p.parts[0]
        if isinstance(p, _Frame) and len(p.parts) == 1 and isinstance(p.parts[0], _Frame)
        and len(p.rows()) == 1
        else p
        for p in parts
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------ drawing


class _Drawing:
    """Walks the rows from the top and gives out places; y counts down until the end."""

    def __init__(self, scene: Scene, root: _Frame, label_of: LabelOf) -> None:
        self.scene, self.root, self.label_of = scene, root, label_of
        self.rows = root.rows()
        self.row_of = {b.id: i for i, r in enumerate(self.rows) for c in r.cells for b in c}
        self.column_of = {b.id: k for r in self.rows for k, c in enumerate(r.cells) for b in c}
        self.sizes = {b.id: size(b) for b in scene.boxes}
        self.layout = Layout()
        self.left_rails = _Rails()
        self.right_rails = _Rails()
        self.deepest = max((len(r.path) for r in self.rows), default=0)
        # How many rows above each one hold a call, and how many a backward function.
        self.above = {
            k: list(itertools.accumulate((bool(r.cells[k]) for r in self.rows), initial=0))
            for k in (1, 3)
        }

    def run(self) -> None:
        ways = self._ways()
        self._columns()
        self.y = 0.0
        self._frame(self.root, 0)
        self.layout.height = self.y
        self.layout.boxes = {id_: self._up(p) for id_, p in self.layout.boxes.items()}
        self.layout.frames = {path: self._up(p) for path, p in self.layout.frames.items()}
        self.layout.labels = {path: self._up(p) for path, p in self.layout.labels.items()}
        self.layout.edges = [
            self._points(e, way) for e, way in zip(self.scene.edges, ways, strict=True)
        ]

    def _up(self, place: Place) -> Place:
        return Place(place.x, self.layout.height - place.y, place.width, place.height)

    # ------------------------------------------------------------------------------------- columns

    def _cell_width(self, cell: Iterable[Box]) -> float:
        widths = [self.sizes[b.id][0] for b in cell]
        return sum(widths) + _CELL_GAP * max(len(widths) - 1, 0)

    def _columns(self) -> None:
        """The x of every column: the first ends, the last starts, the others are centred there."""
        widths = [max((self._cell_width(r.cells[k]) for r in self.rows), default=0.0)
                  for k in range(5)]  # fmt: skip
        self.label_width = max((self._label(f)[0] for f in _single_frames(self.root)), default=0.0)
        left = _MARGIN + _INSET * (self.deepest + 1) + self.label_width + 6 * (self.label_width > 0)
        self.a_right = left + widths[0]
        x = self.a_right + (_COLUMN_GAP / 2 if widths[0] else 0) + self.left_rails.width
        self.b = x + widths[1] / 2
        self.left_rail = x - _RAIL
        x += widths[1] + (_COLUMN_GAP if widths[2] or widths[3] else 0)
        self.c = x + widths[2] / 2
        x += widths[2] + (_COLUMN_GAP if widths[2] else 0)
        self.d = x + widths[3] / 2
        x += widths[3] + self.right_rails.width
        self.right_rail = x - self.right_rails.width + _RAIL
        x += _COLUMN_GAP / 2 if widths[4] else 0
        self.e_left = x
        self.x_end = x + widths[4] + _INSET * (self.deepest + 1)
        self.layout.width = self.x_end + _MARGIN

    def _label(self, frame: _Frame) -> tuple[float, float]:
        """The size of a frame's label: one line above rows, two beside a single one."""
        name, note = self.label_of(frame.path)
        name_width, note_width = width(name, FRAME, bold=True), width(note, SMALL)
        if len(frame.rows()) == 1:
            return max(name_width, note_width), 22.0 if note else 12.0
        return name_width + (note_width + 9 if note else 0), 12.0

    # --------------------------------------------------------------------------------- rows, frames

    def _frame(self, frame: _Frame, depth: int) -> None:
        top = self.y
        single = len(frame.rows()) == 1
        if depth:
            self.y += _PAD if single else _HEADER
        for i, part in enumerate(frame.parts):
            if i:
                framed = isinstance(part, _Frame) or isinstance(frame.parts[i - 1], _Frame)
                self.y += _ROW_GAP - (6.0 if framed else 0.0)
            if isinstance(part, _Frame):
                self._frame(part, depth + 1)
            else:
                self._row(part)
        if not depth:
            return
        self.y += _PAD
        left = _MARGIN + _INSET * (depth - 1)
        right = self.x_end - _INSET * (depth - 1)
        self.layout.frames[frame.path] = Place(
            (left + right) / 2, (top + self.y) / 2, right - left, self.y - top
        )
        wide, high = self._label(frame)
        y = (top + self.y) / 2 if single else top + _HEADER / 2
        self.layout.labels[frame.path] = Place(left + _INSET + wide / 2, y, wide, high)

    def _row(self, row: _Row) -> None:
        height = max(self.sizes[b.id][1] for cell in row.cells for b in cell)
        y = self.y + height / 2
        starts = (
            self.a_right - self._cell_width(row.cells[0]),
            *(x - self._cell_width(cell) / 2
              for x, cell in zip((self.b, self.c, self.d), row.cells[1:4], strict=True)),
            self.e_left,
        )  # fmt: skip
        for x, cell in zip(starts, row.cells, strict=True):
            for box in cell:
                wide, high = self.sizes[box.id]
                self.layout.boxes[box.id] = Place(x + wide / 2, y, wide, high)
                x += wide + _CELL_GAP
        self.y += height

    # --------------------------------------------------------------------------------------- edges

    def _ways(self) -> list[tuple[str, int]]:
        """How each edge runs; rails are given out from the top."""
        edges = self.scene.edges
        start = [min(self.row_of[e.tail], self.row_of[e.head]) for e in edges]
        ways = {i: self._way(edges[i]) for i in sorted(range(len(edges)), key=lambda i: start[i])}
        return [ways[i] for i in range(len(edges))]

    def _way(self, edge: Edge) -> tuple[str, int]:
        """How an edge runs: straight, across one row, or on a rail, with its number."""
        tail, head = self.row_of[edge.tail], self.row_of[edge.head]
        columns = self.column_of[edge.tail], self.column_of[edge.head]
        if tail == head:
            return "across", 0
        if columns in ((1, 1), (3, 3)) and self._is_free(tail, head, columns[0]):
            return "straight", 0
        if max(columns) <= 1:
            return "left", self.left_rails.take(edge.tail, tail, head)
        if min(columns) >= 3:
            return "right", self.right_rails.take(edge.tail, tail, head)
        return "slant", 0

    def _is_free(self, one: int, other: int, column: int) -> bool:
        low, high = min(one, other), max(one, other)
        return self.above[column][high] == self.above[column][low + 1]

    def _points(self, edge: Edge, way: tuple[str, int]) -> list[Point]:
        tail, head = self.layout.boxes[edge.tail], self.layout.boxes[edge.head]
        kind, number = way
        if kind == "straight":
            down = tail.y > head.y
            start = (tail.x, tail.bottom if down else tail.top)
            return [start, (head.x, head.top if down else head.bottom)]
        if kind == "across":
            right = tail.x < head.x
            start = (tail.right if right else tail.left, tail.y)
            return [start, (head.left if right else head.right, head.y)]
        if kind == "slant":
            right = tail.x < head.x
            return [
                (tail.right if right else tail.left, tail.y),
                (head.left if right else head.right, head.y),
            ]
        # Above the middle where an edge comes in from above, below it where it leaves downwards.
        shift = min(tail.height, head.height) / 5 * (1 if tail.y > head.y else -1)
        if kind == "left":
            x = self.left_rail - number * _RAIL
            out = tail.left if self.column_of[edge.tail] == 1 else tail.right
            into = head.left if self.column_of[edge.head] == 1 else head.right
        else:
            x = self.right_rail + number * _RAIL
            out = tail.right if self.column_of[edge.tail] == 3 else tail.left
            into = head.right if self.column_of[edge.head] == 3 else head.left
        y, to = tail.y - shift, head.y + shift
        return [(out, y), (x, y), (x, to), (into, to)]


def _single_frames(frame: _Frame) -> list[_Frame]:
    found = [frame] if frame.path and len(frame.rows()) == 1 else []
    return found + [f for p in frame.parts if isinstance(p, _Frame) for f in _single_frames(p)]


class _Rails:
    """Numbers for edges beside a column, so that no two of different makers lie on each other."""

    def __init__(self) -> None:
        # Of each rail, where it is free again, and who made what runs on it until there.
        self.taken: list[tuple[int, str]] = []

    @property
    def width(self) -> float:
        """How much room they need."""
        return _RAIL * (len(self.taken) + 1) if self.taken else 0.0

    def take(self, maker: str, one: int, other: int) -> int:
        """The innermost rail that is free between two rows; to be asked from the top."""
        low, high = min(one, other), max(one, other)
        for number, (stop, who) in enumerate(self.taken):
            if low > stop or maker == who:
                self.taken[number] = (max(stop, high), maker)
                return number
        self.taken.append((high, maker))
        return len(self.taken) - 1
