"""The loops of models' training steps: what fusion makes of them, neither compiled nor run."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from graphgrad.kernels.draft import Context, draft_plan
from graphgrad.kernels.target import Target

from graphgrad.compile import Executable, _planner
from graphgrad.ir import Node
from graphgrad.regions import LOOP, Region

Loop = tuple[Region, dict[Node, Node]]


class _Planned(Exception):
    """A step's program is planned; there is nothing to run."""


def loops_of(step: Callable[[], Any], monkeypatch: Any) -> list[Loop]:
    """The loop regions of a compiled function's program, with what is written over what."""
    found: list[Loop] = []

    def lower(region: Region, inplace: dict[Node, Node], fixed: Container[Node]) -> list[Any]:
        if region.kind == LOOP:
            found.append((region, inplace))
        return []

    target = Target("recorder", lower, list, list, interprets=False)

    def build(executable: Executable) -> Any:
        context = Context(_planner(), target=target)
        draft_plan(executable.plan, context, dict(executable.aliases), executable.donated, True)
        raise _Planned

    with monkeypatch.context() as patch:
        patch.setattr(Executable, "_build", build)
        try:
            step()
        except _Planned:
            return found
    raise AssertionError("the step was not planned")
