"""A scene as graphviz source: deterministic text, so equal graphs give byte-equal files."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from .curves import Point, spline
from .metrics import DETAIL, SLACK, width
from .rails import Layout, Place, lay
from .scene import Box, Edge, Path, Scene, called, dotted, with_chips
from .theme import EDGE, FONT, FRAMES, INK, KINDS, MUTED

_SOURCES = {"input", "parameter", "state", "mutated", "constant", "kept"}

# Characters no XML document may hold; a name from a user may.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

_GRAPH = {
    "bgcolor": "transparent",
    "fontname": FONT,
    "fontcolor": INK,
    "fontsize": "12",
    "labelloc": "t",
    "labeljust": "l",
    "nodesep": "0.22",
    "ranksep": "0.34",
    "pad": "0.25",
    # A line that has to pass a box passes under it.
    "outputorder": "edgesfirst",
    # Ranks over the whole page: no frame may turn the flow of data around.
    "newrank": "true",
}
_NODE = {
    "fontname": FONT,
    "fontsize": "11",
    "fontcolor": INK,
    "penwidth": "1.1",
    "margin": "0.14,0.05",
    "height": "0.32",
    "width": "0.5",
}
_EDGE = {
    "fontname": FONT,
    "fontsize": "8.5",
    "fontcolor": MUTED,
    "color": EDGE,
    "penwidth": "1",
    "arrowsize": "0.6",
}


def text(value: str) -> str:
    """Any string as text that neither graphviz nor SVG can take for markup."""
    escaped = html.escape(_FORBIDDEN.sub("\ufffd", value), quote=True)
    return escaped.replace("\\", "&#92;").replace("\n", "&#10;")


def source(scene: Scene) -> str:
    """The scene as DOT text; a scene on rails with the places of everything."""
    import graphviz

    scene = with_chips(scene)
    layout = lay(scene, partial(_words, scene)) if scene.on_rails and scene.boxes else None
    body = graphviz.Digraph(graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    if layout:
        # Places are given: graphviz draws, and moves nothing.
        body.attr(layout="nop2", bb=f"0,0,{_points([(layout.width, layout.height)])}")
    body.attr(label=_title(scene))
    if not scene.boxes:
        words = f'<<font color="{MUTED}">nothing to draw: the graph is empty</font>>'
        body.node("empty", label=words, shape="plaintext")
        return str(body.source)
    _groups(body, scene, (), layout)
    by_id = {b.id: b for b in scene.boxes}
    for i, edge in enumerate(scene.edges):
        attrs = _edge(edge, by_id[edge.tail])
        if layout:
            attrs.pop("label", None)
            body.edge(edge.tail, edge.head, **attrs, pos=_spline(layout.edges[i], edge))
        elif edge.kind == "up":
            # Laid out against its direction: gradients climb beside the way data came down.
            body.edge(edge.head, edge.tail, dir="back", **attrs)
        else:
            body.edge(edge.tail, edge.head, **attrs)
    return str(body.source)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


_ARROW = 6.0


def _spline(corners: list[Point], edge: Edge) -> str:
    """An edge's way for graphviz, which wants the arrow's tip apart from the line's end."""
    if edge.kind == "pair":
        return _points(spline(corners))
    (x, y), tip = corners[-2:]
    length = max(((tip[0] - x) ** 2 + (tip[1] - y) ** 2) ** 0.5, 1e-9)
    part = max(1 - _ARROW / length, 0.1)
    end = (x + (tip[0] - x) * part, y + (tip[1] - y) * part)
    return f"e,{_points([tip])} {_points(spline([*corners[:-1], end]))}"


def _title(scene: Scene) -> str:
    note = f'   <font color="{MUTED}" point-size="9">{text(scene.note)}</font>'
    return f"<<b>{text(scene.title)}</b>{note if scene.note else ''}<br/> >"


def _groups(body: Any, scene: Scene, path: Path, layout: Layout | None) -> None:
    """Write the boxes of one group, then its inner groups in order of appearance."""
    depth = len(path)
    inner: dict[Path, None] = {}
    for box in scene.boxes:
        if box.group == path:
            body.node(box.id, **_box(box), **_place(layout.boxes[box.id] if layout else None))
        elif box.group[:depth] == path:
            inner[box.group[: depth + 1]] = None
    for child in inner:
        group = scene.group(child)
        frame = FRAMES[group.kind]
        if layout and child not in layout.frames:
            _groups(body, scene, child, layout)
            continue
        with body.subgraph(name="cluster_" + _identifier(child)) as part:
            part.attr(
                label=_frame_label(
                    *_words(scene, child), bool(layout and layout.labels[child].height > 12)
                ),
                tooltip=text(group.tooltip or group.label),
                style=frame.style,
                fillcolor=frame.fill,
                color=frame.line,
                fontcolor=MUTED,
                fontsize="10",
                margin="9",
                **{"class": group.kind},
                **_frame_place(layout, child),
            )
            _groups(part, scene, child, layout)


def _place(place: Place | None) -> dict[str, str]:
    if place is None:
        return {}
    wide, high = place.width / 72, place.height / 72
    return {
        "pos": _points([(place.x, place.y)]),
        "width": f"{wide:.3f}",
        "height": f"{high:.3f}",
        "fixedsize": "true",
    }


def _frame_place(layout: Layout | None, path: Path) -> dict[str, str]:
    if layout is None:
        return {}
    frame, label = layout.frames[path], layout.labels[path]
    corners = [(frame.left, frame.bottom), (frame.right, frame.top)]
    return {"bb": _points(corners).replace(" ", ","), "lp": _points([(label.x, label.y)]),
            "lwidth": f"{label.width / 72:.3f}", "lheight": f"{label.height / 72:.3f}"}  # fmt: skip


def _words(scene: Scene, path: Path) -> tuple[str, str]:
    """What a frame is called inside the one around it, and its small print."""
    group = scene.group(path)
    if group.kind != "module" or group.label != dotted(path):
        return group.label, group.note
    type_ = scene.types.get(dotted(path), "")
    name = called(path[-1])
    return name, group.note or ("" if type_ == name else type_)


def _frame_label(label: str, note: str, stacked: bool = False) -> str:
    between = '<br align="left"/>' if stacked else "   "
    small = f'{between}<font point-size="8.5">{text(note)}</font>' if note else ""
    return f"<<b>{text(label)}</b>{small}{between if stacked else ''}>"


def _identifier(path: Path) -> str:
    """Distinct paths get distinct names: everything odd is written as its code point."""
    return "__".join(re.sub(r"[^A-Za-z0-9]", lambda m: f"_{ord(m[0]):x}_", name) for name in path)


def _box(box: Box) -> dict[str, str]:
    row = KINDS[box.kind]
    detail = f'<br/><font point-size="8.5" color="{MUTED}">{text(box.detail)}</font>'
    return {
        "label": f"<<b>{text(box.title)}</b>{detail if box.detail else ''}>",
        "tooltip": text(box.tooltip or box.title),
        "shape": row.shape,
        "style": row.style,
        "fillcolor": row.fill,
        "color": row.line,
        "class": f"is-{box.kind}",
    }


def _edge(edge: Edge, tail: Box) -> dict[str, str]:
    attrs = {"tooltip": text(edge.label)} if edge.label else {}
    if edge.kind == "pair":
        return {"style": "dotted", "arrowhead": "none"}
    if edge.label and edge.label not in (tail.shape, tail.detail.split("  ")[0]):
        # Where the box does not say the shape already; the blank keeps it off the line.
        attrs["label"] = f"<&#160;{text(edge.label)}>"
    if tail.kind not in _SOURCES:
        # The way of the data is straight, what it meets comes in from the side.
        attrs["weight"] = "4"
    return attrs


def legend(scene: Scene) -> str:
    """DOT text of a row with one small box for every kind of box in the picture."""
    import graphviz

    used = {box.kind for box in with_chips(scene).boxes}
    row = graphviz.Digraph(graph_attr=_GRAPH | {"nodesep": "0.1"}, node_attr=_NODE)
    for name in (name for name in KINDS if name in used):
        kind = KINDS[name]
        words = f'<<font point-size="8.5">{kind.legend}</font>>'
        look = _box(Box("", name, "")) | {"label": words, "tooltip": kind.legend}
        wide = width(kind.legend, DETAIL) + SLACK.get(kind.shape, 12.0)
        row.node(name, width=f"{wide / 72:.3f}", height="0.24", fixedsize="true", **look)
    return str(row.source)
