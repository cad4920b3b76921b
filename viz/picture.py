"""A drawn graph: show it in a notebook, save it as .svg, .png, .pdf or .dot, read its source."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

from graphgrad.errors import GraphError

from . import dot
from .fold import DEFAULT, View, fold
from .scene import Scene
from .theme import css

_SCOPE = "graphgrad"


class Picture:
    """A picture of a graph.

    source              DOT text; the same for the same graph
    svg(path)           an SVG file that follows a light or dark page; its text, without a path
    dot(path)           the DOT text as a file
    png(path), pdf(path)  where the layout program writes them
    save(path)          one of these, by the file's suffix
    """

    def __init__(self, scene: Scene, view: View = DEFAULT, theme: str = "auto") -> None:
        self.scene, self.theme = fold(scene, view), theme
        self.source: str = dot.source(self.scene)

    def svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """Lay the graph out; write it to ``path`` if given. Raises GraphError if it cannot."""
        parts = [_layout(source).decode() for source in (self.source, dot.legend(self.scene))]
        text = _page(self.theme, *parts)
        if path is not None:
            write(path, text)
        return text

    def dot(self, path: str | os.PathLike[str]) -> None:
        """Write the DOT source to ``path``."""
        write(path, self.source)

    def png(self, path: str | os.PathLike[str]) -> None:
        """Write it as pixels, light. Raises GraphError where the layout program cannot."""
        write(path, _layout(self.source, "png", "-Gdpi=144", "-Gbgcolor=white"))

    def pdf(self, path: str | os.PathLike[str]) -> None:
        """Write it as PDF, light. Raises GraphError where the layout program cannot."""
        write(path, _layout(self.source, "pdf"))

    def save(self, path: str | os.PathLike[str]) -> Picture:
        """Write the picture to ``path``, as its suffix says."""
        way = SUFFIXES.get(pathlib.Path(path).suffix.lower())
        if way is None:
            known = ", ".join(SUFFIXES)
            raise GraphError(f"cannot write {os.fspath(path)!r}: a picture is one of {known}")
        way(self, path)
        return self

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_html_(self) -> str:
        """For notebooks: at its own size, in a frame that scrolls."""
        return f'<div style="overflow:auto;max-height:42em">{self.svg()}</div>'

    def __repr__(self) -> str:
        boxes, edges = len(self.scene.boxes), len(self.scene.edges)
        return f"<Picture of {self.scene.title}: {boxes} boxes, {edges} edges>"


SUFFIXES: dict[str, Callable[[Picture, Any], Any]] = {
    ".svg": Picture.svg,
    ".dot": Picture.dot,
    ".gv": Picture.dot,
    ".png": Picture.png,
    ".pdf": Picture.pdf,
}


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Save text, or bytes, or say why they cannot be saved."""
    data = content.encode() if isinstance(content, str) else content
    try:
        pathlib.Path(path).write_bytes(data)
    except OSError as error:
        raise GraphError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error


def command() -> str:
    """The program that lays graphs out: the system's ``dot``, else graphviz-pure's."""
    scripts = (sysconfig.get_path("scripts"), os.path.dirname(sys.executable))
    found = shutil.which("dot") or next(
        filter(None, (shutil.which("graphviz-pure", path=folder) for folder in scripts)),
        shutil.which("graphviz-pure"),
    )
    if found is None:
        raise GraphError(
            "no layout program: neither `dot` nor `graphviz-pure` is installed\n"
            "  hint: pip install graphviz-pure, or save the picture as .dot"
        )
    return found


def _layout(source: str, form: str = "svg", *options: str) -> bytes:
    """What the layout program makes of DOT text."""
    # -q: a missing font metric is not worth a line on the user's screen.
    run = subprocess.run(
        [command(), "-Kdot", f"-T{form}", "-q", *options],
        input=source.encode(),
        capture_output=True,
        check=False,
    )
    reason = run.stderr.decode(errors="replace").strip()
    if run.returncode and "not recognized" in reason:
        raise GraphError(
            f"{os.path.basename(command())} cannot write .{form} files\n"
            "  hint: install graphviz, whose `dot` can, or save the picture as .svg"
        )
    if run.returncode:
        raise GraphError(f"the layout program failed: {reason}")
    return run.stdout


_SIZE = re.compile(r'<svg width="([\d.]+)pt" height="([\d.]+)pt"')


def _page(theme: str, *parts: str) -> str:
    """Stack laid-out parts on one page with a style sheet: a standalone SVG."""
    sizes = [tuple(map(float, _SIZE.search(p).groups())) for p in parts]  # type: ignore[union-attr]
    width, height = max(w for w, _ in sizes), sum(h for _, h in sizes)
    tops = [sum(h for _, h in sizes[:i]) for i in range(len(sizes))]
    scope = f"{_SCOPE}-{theme}"
    inner = "\n".join(_nested(part, top) for part, top in zip(parts, tops, strict=True))
    return (
        f'<svg class="{scope}" xmlns="http://www.w3.org/2000/svg" '
        f'width="{width:.0f}pt" height="{height:.0f}pt" viewBox="0 0 {width:.0f} {height:.0f}">\n'
        f'<style>\n{css(scope, theme)}\n</style>\n<rect class="page" width="100%" height="100%"/>\n'
        f"{inner}\n</svg>\n"
    )


def _nested(svg: str, top: float) -> str:
    """A part for inside a page; its hover texts become titles, which every browser shows."""
    body = svg[svg.index("<svg ") :].strip()
    body = re.sub(r"<!--.*?-->\n|<title>.*?</title>\n", "", body, flags=re.DOTALL)
    body = re.sub(r' (id|xmlns|xmlns:xlink)="[^"]*"', "", body)
    body = re.sub(r'<a xlink:title="([^"]*)">', r"<a><title>\1</title>", body)
    body = body.replace('pt"', '"', 2)
    return f'<svg y="{top:.0f}" {body[5:]}'
