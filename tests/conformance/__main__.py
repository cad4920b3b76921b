"""``python -m tests.conformance``: the score table, and the names of what is wrong or missing.

``--device cuda`` puts our tensors there, and asks that results are there; without a GPU it needs
the emulator: ``GRAPHGRAD_CUDA=emulate``.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence

from tqdm import tqdm

from graphgrad.device import KINDS
from tests.conformance.score import SUITES, Entry, run, tallied

# A row of its own for some of a suite's entries: of which suite, title, how their names start.
PART = ("ops", "of them `nn.functional`", "nn.functional.")
# The rest are parts of these, for a quick look.
WHOLE = [key for key in SUITES if key != "some_modules"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs suites and prints their rows; returns 1 if something that is there was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=WHOLE)
    parser.add_argument("--only", nargs="+", metavar="TEXT", default=(), help="part of a name")
    parser.add_argument("--device", choices=KINDS, default="cpu", help="of our tensors")
    parser.add_argument("--json", metavar="FILE", type=pathlib.Path, help="every entry's verdicts")
    parser.add_argument("-v", "--verbose", action="store_true", help="the first thing wrong, too")
    options = parser.parse_args(arguments)

    found: dict[str, list[Entry]] = collections.defaultdict(list)
    for entry in tqdm(
        run(options.suite, options.only, options.device), unit=" entries", disable=None
    ):
        found[entry.suite].append(entry)
    if options.json:
        entries = [dataclasses.asdict(e) for group in found.values() for e in group]
        options.json.write_text(json.dumps(entries, indent=1))
    print(table(found))
    for key, entries in found.items():
        print(f"\n{SUITES[key].title}: {rest(entries, options.verbose)}")
    return int(any(e.verdicts.get("failed") for group in found.values() for e in group))


def table(found: dict[str, list[Entry]]) -> str:
    """The rows of the README: suite, how many are right, of how many."""
    rows = [("PyTorch's database of", "right", "of", "counted")]
    for key, entries in found.items():
        rows.append(_row(key, SUITES[key].title, entries))
        if key == PART[0]:
            rows.append(_row(key, PART[1], [e for e in entries if e.name.startswith(PART[2])]))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"| {a:<{w}} | {b:>{x}} | {c:>{y}} | {d:<{z}} |"
        for w, x, y, z in [widths]
        for a, b, c, d in rows
    ]
    lines.insert(
        1, "|".join(["", *("-" * (w + 1) + e for w, e in zip(widths, "-::-", strict=True)), ""])
    )
    return "\n".join(lines)


def _row(suite: str, title: str, entries: Sequence[Entry]) -> tuple[str, str, str, str]:
    right, of = tallied(SUITES[suite], entries)
    return title, f"{right:,}", f"{of:,}", SUITES[suite].counts


def rest(entries: Sequence[Entry], verbose: bool) -> str:
    """The entries that are not right: missing whole, or with something wrong."""
    bad = [
        e
        for e in entries
        if not e.right and (e.verdicts.get("failed") or e.verdicts.get("missing"))
    ]
    if verbose:
        return "".join(f"\n  {e.wrong}" for e in bad) or "all right"
    return " ".join(e.name for e in bad) or "all right"


if __name__ == "__main__":
    sys.exit(main())
