"""Pictures of graphs: what was traced, what was fused, what backward will do.

    gg.draw(loss)                             # the grad_fn records, in PyTorch's names
    gg.draw(step, "step.svg")                 # the kernels a compiled function runs
    gg.draw(step, "step.svg", stage="traced") # the calls as written, each beside its gradient
    gg.draw(model, "model.svg", inputs=(x,))  # a Module or function, traced for the picture
    gg.draw(step, "step.html")                # every stage on one page, to zoom into
    print(gg.diff(step))                      # what each pass added, removed and changed

Every picture stands alone: hover over a box for the line of your program it came from. A picture
that would be too large to read folds: modules become boxes, equal ones in a row are drawn once.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from graphgrad.errors import GraphError, user_frame

from .fold import LIMIT, View
from .page import page
from .picture import SUFFIXES, Picture, write
from .records import names_around
from .stages import scenes
from .text import Difference, diff
from .theme import THEMES

__all__ = ["Difference", "Picture", "diff", "draw"]


def draw(
    target: Any,
    path: str | os.PathLike[str] | None = None,
    *,
    inputs: Sequence[Any] = (),
    stage: str = "",
    depth: int | None = None,
    fold: str | Sequence[str] = (),
    unfold: str | Sequence[str] = (),
    limit: int = LIMIT,
    dims: Mapping[str, int] | None = None,
    theme: str = "auto",
    params: Mapping[str, Any] | None = None,
) -> Picture:
    """A Picture of a tensor's history, a Graph, a Plan, a compiled function, or a Module.

    path    also saves it: ``.svg``; ``.html`` with every stage; ``.dot``; ``.png`` and ``.pdf``
            where the layout program can
    inputs  example arguments: a Module or function that is not compiled is traced with them
    stage   of a compiled function: "traced", "simplified" or "kernels" (what is shown unasked)
    depth   modules of this depth are one box; 1 shows the parts of the model
    fold    modules that are one box, by patterns of their paths: ``"*.attention"``
    unfold  modules that stay open, with what is around them; ``"*"``: every operation
    limit   how many boxes there may be before modules are folded unasked
    dims    sizes by name: ``{"N": 64}`` writes N×3×32×32. A function that was traced for inputs
            of two sizes needs no telling; a Module with ``inputs`` is traced twice, to be sure
    theme   "auto" follows the page the picture is on; "light", "dark"
    params  names of leaves, as ``dict(model.named_parameters())``; others are named after the
            variables, and the parameters of modules in variables, of the caller and its callers

    Raises TypeError for what has no picture, ValueError for an unknown stage or theme, GraphError
    where the file cannot be written or no layout program is installed.
    """
    if theme not in THEMES:
        raise ValueError(f"no theme {theme!r}; there are {', '.join(THEMES)}")
    if path is not None and not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is a {type(path).__name__}: examples go into inputs=(…,)")
    _check_suffix(path)
    names, types = names_around(user_frame())
    names |= {id(tensor): name for name, tensor in (params or {}).items()}
    if inputs or _is_untraced(target):
        target, stage = _traced(target, inputs, dims), stage or "traced"
    found = scenes(target, names, dims, types)
    if stage not in found:
        if stage and len(found) > 1:
            raise ValueError(f"no stage {stage!r}; there are {', '.join(found)}")
        stage = list(found)[-1]
    view = View(depth, _patterns(fold), _patterns(unfold), limit)
    picture = Picture(found[stage](), view, theme)
    if path is not None and pathlib.Path(path).suffix.lower() == ".html":
        write(path, page([(name, Picture(make(), view, theme)) for name, make in found.items()]))
    elif path is not None:
        picture.save(path)
    return picture


def _check_suffix(path: str | os.PathLike[str] | None) -> None:
    """Before anything is traced: a picture whose name says nothing cannot be written."""
    suffix = "" if path is None else pathlib.Path(path).suffix.lower()
    if path is not None and suffix not in (*SUFFIXES, ".html"):
        known = ", ".join((*SUFFIXES, ".html"))
        raise GraphError(f"cannot write {os.fspath(path)!r}: a picture is one of {known}")


def _patterns(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _is_untraced(target: Any) -> bool:
    """A Module as it was written: a compiled one has entries, also before it ran."""
    return hasattr(type(target), "named_parameters")


def _traced(target: Any, inputs: Sequence[Any], dims: Mapping[str, int] | None) -> Any:
    """The target compiled, and traced with the examples and, for ``dims``, with other sizes."""
    import graphgrad

    if not inputs:
        raise TypeError(
            f"cannot draw a {type(target).__name__} that never ran: give examples of what it is "
            "called with, draw(model, inputs=(x,))"
        )
    compiled = target if hasattr(target, "entries") else graphgrad.compile(target)
    # What a Module keeps for a backward pass is no part of its picture; a step makes its own.
    with graphgrad.no_grad() if _is_untraced(target) else contextlib.nullcontext():
        other = [_resized(x, dims) for x in inputs] if dims else []
        if any(x is not y for x, y in zip(inputs, other, strict=False)):
            compiled.trace(*other)
        compiled.trace(*inputs)
    return compiled


def _resized(x: Any, dims: Mapping[str, int] | None) -> Any:
    """An example whose named sizes are one larger."""
    import graphgrad

    shape = tuple(getattr(x, "shape", ()))
    wanted = tuple(n + 1 if n in (dims or {}).values() else n for n in shape)
    return x if wanted == shape else graphgrad.zeros(wanted, dtype=x.dtype)
