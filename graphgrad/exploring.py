"""gg.explore: a compiled function as one HTML file that a browser opens, without a server.

    gg.explore(step, "step.html")                              # called at least once before
    gg.explore(step, "step.html", images, labels)              # or traced here; nothing runs
    gg.explore(step, "step.html", profile=gg.profile(step))    # with measured times

The page holds every stage of the compilation and what each pass changed, the generated source of
every kernel, the memory plan, guards and retraces.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from graphgrad.errors import GraphError
from graphgrad.ir import Node
from graphgrad.jit import Compiled, compile
from graphgrad.regions import ARENA, HOST, Region

if TYPE_CHECKING:
    from graphgrad.viz.explorer.material import Bar, Kernel, Material


def explore(
    function: Any,
    path: str | os.PathLike[str],
    *args: Any,
    profile: Any = None,
    **kwargs: Any,
) -> pathlib.Path:
    """Write the page of ``function`` to ``path`` (a ``.html``) and return the path.

    ``function`` is a compiled function that was called, or anything ``compile`` takes with example
    arguments, which are traced without running. ``profile`` is what ``gg.profile(function)`` made:
    the page then knows measured times.

    Raises ValueError for a path that is no ``.html`` or a function without a trace, GraphError
    where the file cannot be written.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path.name!r} is no page: end it in .html")
    from graphgrad.viz.explorer import page

    compiled = function if isinstance(function, Compiled) else compile(function)
    text = page(material(compiled, compiled.trace(*args, **kwargs), profile))
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GraphError(f"cannot write {os.fspath(path)!r}: {error.strerror}") from error
    return path


def material(compiled: Compiled, entry: Any, profile: Any = None) -> Material:
    """What the page of one trace (``entry``) of a compiled function is made from."""
    from graphgrad.kernels.profile import FLOPS
    from graphgrad.viz.compiled import labels
    from graphgrad.viz.explorer.material import Material

    book, program = entry.executable.account()
    making = program.making
    return Material(
        title=compiled.name.rpartition("<locals>.")[2],
        book=book,
        graph=making.plan.graph,
        inner={
            step.node: [draft.plan.graph for draft in step.inner]
            for draft in making.drafts()
            for step in draft.steps
            if step.inner
        },
        kernels=_kernels(making, profile),
        steps=len(making.draft.steps),
        bars=_bars(making.draft),
        work=lambda x: FLOPS[x.op.kind](x) if x.op.kind in FLOPS else 0,
        labels=labels(compiled.__wrapped__, entry),
        homes=making.homes(),
        guards=tuple(entry.guard.texts),
        retraces=tuple(compiled.retraces),
        facts=tuple(_facts(program.explain())),
        machine="" if profile is None else str(profile.machine),
    )


def _facts(report: Any) -> list[str]:
    """What the program is made of, without the paths of this machine."""
    head = (
        f"{report.regions} regions, {report.launches} launches of {len(report.kernels)} kernels, "
        f"{len(report.interpreted)} regions run by NumPy"
    )
    why = [f"NumPy: {name}, {reason}" for name, reason in report.interpreted]
    return [head, *why, str(report.memory).splitlines()[0]]


def _kernels(making: Any, profile: Any) -> list[Kernel]:
    """The regions of a program in the order of its steps, then those inside them and copies."""
    from graphgrad.kernels.lines import Sources
    from graphgrad.kernels.profile import region_bytes, region_flops
    from graphgrad.viz.explorer.material import Kernel

    steps = {
        step.region: (step, draft.assignment.inplace.get(step.region))
        for draft in making.drafts()
        for step in draft.steps
    }
    rows, sources = _rows(making), Sources()
    seconds = {} if profile is None else _seconds(making, profile)
    found = []
    for region in making.regions():
        step, inplace = steps.get(region, (None, None))
        host = region.kind == HOST or (step is not None and bool(step.reason))
        found.append(
            Kernel(
                region,
                sources.of(step, inplace) if step is not None and not step.inner else (),
                (step.reason if host and step is not None else ""),
                tuple(rows.get(region.nodes, ())),
                region_flops(region),
                region_bytes(region),
                seconds.get(region.nodes),
            )
        )
    return found


def _rows(making: Any) -> dict[tuple[Node, ...], list[int]]:
    """The rows of each region, by its nodes: a row may hold a copy of the region."""
    found: dict[tuple[Node, ...], list[int]] = {}
    for row, regions in making.row_regions.items():
        for region in dict.fromkeys(regions):
            found.setdefault(region.nodes, []).append(row)
    return found


def _seconds(making: Any, profile: Any) -> dict[tuple[Node, ...], float]:
    """Measured time by region: rows that compute several regions are shared out by bytes."""
    from graphgrad.kernels.profile import region_bytes

    found: dict[tuple[Node, ...], float] = {}
    for work in profile.work:
        regions: Iterable[Region] = making.row_regions.get(work.row, ())
        shares = [max(region_bytes(r), 1) for r in regions]
        for region, share in zip(regions, shares, strict=True):
            part = work.seconds * share / sum(shares)
            found[region.nodes] = found.get(region.nodes, 0.0) + part
    return found


def _bars(draft: Any) -> list[Bar]:
    """Every value in the arena: where it lies, and from which step to which."""
    from graphgrad.viz.explorer.material import Bar

    values: dict[int, list[Node]] = {}
    for x, place in draft.assignment.places.items():
        if place.kind == ARENA:
            values.setdefault(place.index, []).append(x)
    bars = []
    for i, (life, offset) in enumerate(
        zip(draft.assignment.lifetimes, draft.offsets, strict=False)
    ):
        nodes = tuple(values.get(i, ()))
        label = "" if nodes else "working memory of control flow"
        bars.append(Bar(life.start, life.stop, offset, life.nbytes, nodes, label))
    return bars
