"""Pictures on one standalone HTML page: a tab each; drag moves, the wheel zooms."""

from __future__ import annotations

from collections.abc import Sequence

from .dot import text
from .picture import Picture
from .theme import DARK_INK, DARK_PAGE, FRAMES, INK, MUTED, PAGE

_STYLE = f"""
html, body {{ margin: 0; height: 100%; overflow: hidden; background: {PAGE}; color: {INK};
  font: 13px Helvetica, Arial, sans-serif }}
nav {{ position: fixed; inset: 0 0 auto 0; padding: 8px 12px; z-index: 1; background: {PAGE};
  border-bottom: 1px solid {FRAMES["module"].line} }}
nav button {{ font: inherit; color: {MUTED}; background: none; border: 0; border-radius: 6px;
  padding: 4px 10px; cursor: pointer }}
nav button[aria-selected=true] {{ color: inherit; background: {FRAMES["module"].line}; }}
main {{ position: absolute; inset: 41px 0 0 0; overflow: hidden; cursor: grab }}
main > div {{ transform-origin: 0 0; width: max-content }}
@media (prefers-color-scheme: dark) {{
  html, body, nav {{ background: {DARK_PAGE}; color: {DARK_INK} }}
  nav {{ border-color: {FRAMES["module"].dark_line} }}
  nav button[aria-selected=true] {{ background: {FRAMES["module"].dark_line} }}
}}
"""

_SCRIPT = """
const main = document.querySelector("main"), pages = [...main.children];
const tabs = [...document.querySelectorAll("nav button")];
let view = { x: 0, y: 0, scale: 1 };
const place = () => pages.forEach(p =>
  p.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`);
const show = i => {
  pages.forEach((p, j) => p.hidden = i !== j);
  tabs.forEach((t, j) => t.setAttribute("aria-selected", i === j));
};
tabs.forEach((t, i) => t.onclick = () => show(i));
main.onpointermove = e => {
  if (e.buttons !== 1) return;
  view.x += e.movementX; view.y += e.movementY; place();
};
main.addEventListener("wheel", e => {
  e.preventDefault();
  const box = main.getBoundingClientRect(), factor = Math.exp(-e.deltaY / 500);
  const x = e.clientX - box.left, y = e.clientY - box.top;
  view = { x: x - (x - view.x) * factor, y: y - (y - view.y) * factor, scale: view.scale * factor };
  place();
}, { passive: false });
show(pages.length - 1);
"""


def page(pictures: Sequence[tuple[str, Picture]]) -> str:
    """The page as HTML text; the last picture is shown first."""
    tabs = "".join(f"<button>{text(name)}</button>" for name, _ in pictures)
    bodies = "\n".join(f"<div>{picture.svg()}</div>" for _, picture in pictures)
    title = text(pictures[-1][1].scene.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n<nav>{tabs}</nav>\n<main>\n{bodies}\n</main>\n"
        f"<script>{_SCRIPT}</script>\n</html>\n"
    )
