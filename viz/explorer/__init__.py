"""One HTML page about a compiled function: every stage, kernel and byte, without a server.

    page(material)             # the page's text; graphgrad.exploring gathers the material

The page loads nothing: its data, style and program are inside, and it may not open a connection.
"""

from __future__ import annotations

import html
import importlib.resources
import json

from .data import data
from .material import Bar, Kernel, Material

__all__ = ["Bar", "Kernel", "Material", "page"]

_SCRIPTS = ("model.js", "layout.js", "view.js", "panels.js", "main.js")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def page(material: Material) -> str:
    """The page as HTML text."""
    title = html.escape(f"{material.title} · graphgrad")
    # No "<" in it: whatever a name or a source holds, it cannot end the element it stands in.
    content = json.dumps(data(material), ensure_ascii=False, separators=(",", ":"))
    content = content.replace("<", "\\u003c").replace("\u2028", "\\u2028")
    scripts = "\n".join(_text(name) for name in _SCRIPTS)
    return _text("page.html").format_map(
        {
            "title": title,
            "policy": _POLICY,
            "style": _text("explorer.css"),
            "data": content,
            "script": f'"use strict";\n(() => {{\n{scripts}\n}})();',
        }
    )


def _text(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text("utf-8")
