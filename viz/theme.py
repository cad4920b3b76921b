"""Shapes and colours of every kind of box, in one table; the .svg knows a dark page too.

A kind is told apart by its shape first: pictures stay readable in print, without colour vision.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """How a box looks: graphviz shape, then fill and outline on a light and on a dark page."""

    shape: str
    legend: str
    fill: str
    line: str
    dark_fill: str
    dark_line: str
    style: str = "filled"

    def dark(self) -> str:
        return f"fill:{self.dark_fill};stroke:{self.dark_line}"


R = "rounded,filled"
KINDS: dict[str, Kind] = {
    #                 shape        legend            fill       line       dark fill  dark line
    "input":     Kind("ellipse",   "input",          "#e4f3ea", "#3d8b62", "#173527", "#5fbf8d"),
    "parameter": Kind("hexagon",   "parameter",      "#fcf0d8", "#b9821f", "#3a2d10", "#d9a540"),
    "state":     Kind("cylinder",  "buffer",         "#efe8fa", "#7d57bd", "#2c2144", "#a98be0"),
    "mutated":   Kind("component", "written state",  "#efe8fa", "#7d57bd", "#2c2144", "#a98be0"),
    "constant":  Kind("note",      "constant",       "#f3f4f6", "#8b93a1", "#2a2f38", "#8b93a1"),
    "op":        Kind("box",       "elementwise",    "#ffffff", "#8f99aa", "#20252e", "#76819a", R),
    "view":      Kind("box",       "view, no copy",  "#ffffff", "#b4bcc9", "#20252e", "#566075",
                      "rounded,filled,dashed"),
    "reduce":    Kind("box",       "reduction",      "#e9f0f7", "#5f83a8", "#1d2b3a", "#7ea6cf"),
    "contract":  Kind("box",       "contraction",    "#dbe7fb", "#3f6fc4", "#1b2f55", "#7ba3ee", R),
    "control":   Kind("trapezium", "control flow",   "#e6f1f3", "#3f8793", "#16323a", "#66b3c0"),
    "host":      Kind("box3d",     "NumPy call",     "#f3f4f6", "#6b7280", "#2a2f38", "#a3acba"),
    "record":    Kind("box",       "grad_fn",        "#ffffff", "#8f99aa", "#20252e", "#76819a", R),
    "folded":    Kind("tab",       "module",         "#eef1f6", "#76819a", "#262c37", "#8d98ae"),
    "kept":      Kind("parallelogram", "kept for backward",
                      "#f3f4f6", "#8b93a1", "#2a2f38", "#8b93a1"),
    "backward":  Kind("box",       "backward",       "#fdf0ee", "#c07f76", "#33201e", "#d09a92"),
    "folded-backward":
                 Kind("tab",       "module's backward",
                      "#fbe9e6", "#c07f76", "#33201e", "#d09a92"),
    "update":    Kind("invhouse",  "update",         "#e6f4ea", "#4f9468", "#152019", "#6fb489"),
    "output":    Kind("octagon",   "output",         "#ffffff", "#2b3240", "#20252e", "#d6dbe5"),
}  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """How a group looks: fill and outline, light and dark."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str
    style: str = "rounded,filled"

    def dark(self) -> str:
        return f"fill:{self.dark_fill};stroke:{self.dark_line}"


FRAMES: dict[str, Frame] = {
    "module":          Frame("#f6f8fa", "#d3d9e2", "#191d25", "#3a4252"),
    "forward":         Frame("#ffffff", "#c5ccd8", "#14171d", "#3a4252"),
    "backward":        Frame("#fdf5f4", "#e6bfba", "#231817", "#6d3c38"),
    "update":          Frame("#f3f9f5", "#b5d6c2", "#152019", "#33553f"),
    "kernel":          Frame("#fdf8ec", "#e0cb96", "#262114", "#6b5a2b"),
    "kernel-backward": Frame("#fdf5f4", "#e6bfba", "#231817", "#6d3c38"),
    "kernel-update":   Frame("#f3f9f5", "#b5d6c2", "#152019", "#33553f"),
}  # fmt: skip

# Graphviz knows the widths of this one font; the style sheet adds the ones that look alike.
FONT = "Helvetica"
_FAMILY = "Helvetica,Arial,'Liberation Sans',sans-serif"
PAGE, INK, MUTED, EDGE = "#ffffff", "#1d222c", "#6b7484", "#98a2b3"
DARK_PAGE, DARK_INK, DARK_MUTED, DARK_EDGE = "#14171d", "#e6e9ef", "#9aa4b5", "#5f6b80"

# What is neither words nor a group that would hand its colours on to them; every renderer knows it.
_OUTLINES = ":not(text):not(g):not(a)"


# What a dark page looks like: always, never, or where the reader prefers it.
THEMES = {
    "auto": "@media (prefers-color-scheme: dark) {{\n{rules}\n}}",
    "dark": "{rules}",
    "light": "",
}


def css(scope: str, theme: str = "auto") -> str:
    """The style sheet of an SVG whose root has class ``scope``; ``theme`` is a row of THEMES."""
    dark = [
        f".page{{fill:{DARK_PAGE}}}",
        f"text{{fill:{DARK_INK}}}",
        f'text[fill="{MUTED}"]{{fill:{DARK_MUTED}}}',
        f".edge path{{stroke:{DARK_EDGE}}}",
        f".edge polygon{{fill:{DARK_EDGE};stroke:{DARK_EDGE}}}",
        *(f".is-{name} {_OUTLINES}{{{row.dark()}}}" for name, row in KINDS.items()),
        *(f".{name} {_OUTLINES}{{{row.dark()}}}" for name, row in FRAMES.items()),
    ]
    base = f".{scope} text{{font-family:{_FAMILY}}}\n.{scope} .page{{fill:{PAGE}}}\n"
    hover = f".{scope} .node:hover {_OUTLINES},.{scope} .edge:hover path{{stroke-width:2.2}}\n"
    rules = "\n".join(f"  .{scope} {rule}" for rule in dark)
    return base + hover + THEMES[theme].format(rules=rules)
