"""Why a product has the form it has: all candidates and what a cost model says of each.

    import logging
    logging.basicConfig(level=logging.DEBUG)     # or of the logger "graphgrad.products" alone

Products are planned once a process, and not at all where a program is found in the cache folder.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

MOST = 6  # candidates shown
_log = logging.getLogger("graphgrad.products")


def ranked(
    problem: Any,
    candidates: Callable[[], Iterable[tuple[str, float]]],
    chosen: str,
    what: str = "cycles",
) -> None:
    """Log the cheapest (name, estimate) of a product, the one ``chosen`` among them."""
    if not _log.isEnabledFor(logging.DEBUG):
        return
    rows = sorted(candidates(), key=lambda row: row[1])
    shown = [row for i, row in enumerate(rows) if i < MOST or row[0] == chosen]
    lines = [f"{c:14,.0f} {what}  {name}{'  <- chosen' * (name == chosen)}" for name, c in shown]
    _log.debug("%s\n%s", problem, "\n".join(lines))
