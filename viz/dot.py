"""A scene as graphviz source: deterministic text, so equal graphs give byte-equal files."""

from __future__ import annotations

import html
import re
from typing import Any

from .scene import Box, Edge, Path, Scene, with_chips
from .theme import EDGE, FONT, FRAMES, INK, KINDS, MUTED

_SOURCES = {"input", "parameter", "state", "constant", "kept"}

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
    """The scene as DOT text."""
    import graphviz

    scene = with_chips(scene)
    body = graphviz.Digraph(graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    body.attr(label=_title(scene))
    if not scene.boxes:
        words = f'<<font color="{MUTED}">nothing to draw: the graph is empty</font>>'
        body.node("empty", label=words, shape="plaintext")
        return str(body.source)
    _groups(body, scene, ())
    by_id = {b.id: b for b in scene.boxes}
    for edge in scene.edges:
        _edge(body, edge, by_id[edge.tail])
    return str(body.source)


def _title(scene: Scene) -> str:
    note = f'   <font color="{MUTED}" point-size="9">{text(scene.note)}</font>'
    return f"<<b>{text(scene.title)}</b>{note if scene.note else ''}<br/> >"


def _groups(body: Any, scene: Scene, path: Path) -> None:
    """Write the boxes of one group, then its inner groups in order of appearance."""
    depth = len(path)
    inner: dict[Path, None] = {}
    for box in scene.boxes:
        if box.group == path:
            body.node(box.id, **_box(box))
        elif box.group[:depth] == path:
            inner[box.group[: depth + 1]] = None
    for child in inner:
        group = scene.group(child)
        frame = FRAMES[group.kind]
        with body.subgraph(name="cluster_" + _identifier(child)) as part:
            part.attr(
                label=f"<<b>{text(_inside(group.label, scene, path))}</b>>",
                tooltip=text(group.tooltip or group.label),
                style=frame.style,
                fillcolor=frame.fill,
                color=frame.line,
                fontcolor=MUTED,
                fontsize="10",
                margin="9",
                **{"class": group.kind},
            )
            _groups(part, scene, child)


def _inside(label: str, scene: Scene, outer: Path) -> str:
    """A module's name without what the frame around it says already."""
    return label.removeprefix(f"{scene.group(outer).label}." if outer else "")


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
        "class": box.kind,
    }


def _edge(body: Any, edge: Edge, tail: Box) -> None:
    attrs = {"tooltip": text(edge.label)} if edge.label else {}
    if edge.label and tail.detail.split("  ")[0] != edge.label:
        # Where the box does not say the shape already; the blank keeps it off the line.
        attrs["label"] = f"<&#160;{text(edge.label)}>"
    if tail.kind not in _SOURCES:
        # The way of the data is straight, what it meets comes in from the side.
        attrs["weight"] = "4"
    if edge.kind == "up":
        # Laid out against its direction, so that gradients climb beside the way data came down.
        body.edge(edge.head, edge.tail, dir="back", **attrs)
    else:
        body.edge(edge.tail, edge.head, **attrs)


def legend(scene: Scene) -> str:
    """DOT text of a row with one small box for every kind of box in the picture."""
    import graphviz

    used = {box.kind for box in with_chips(scene).boxes}
    row = graphviz.Digraph(graph_attr=_GRAPH | {"nodesep": "0.1"}, node_attr=_NODE)
    for name in (name for name in KINDS if name in used):
        words = f'<<font point-size="8.5">{KINDS[name].legend}</font>>'
        look = _box(Box("", name, "")) | {"label": words, "tooltip": KINDS[name].legend}
        row.node(name, height="0.2", margin="0.08,0.02", **look)
    return str(row.source)
