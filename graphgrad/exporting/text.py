"""Laying out Python source: lines of at most a hundred columns, sections, docstrings."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from graphgrad.kernels.syntax import parse

WIDTH = 100


def section(title: str) -> str:
    """A line that divides a file."""
    return f"# {'-' * (WIDTH - 3 - len(title))} {title}"


def apart(texts: Sequence[str]) -> list[str]:
    """Functions with two lines between them."""
    return [line for text in texts for line in (text.strip("\n"), "", "")]


def quoted(text: str) -> str:
    """A string literal, in double quotes where it has none itself."""
    return repr(text) if '"' in text or "\\" in text else f'"{text}"'


def wrapped(pad: str, head: str, parts: Sequence[str], tail: str) -> list[str]:
    """A call on one line, or with its arguments on lines of their own."""
    line = f"{pad}{head}{', '.join(parts)}{tail}"
    if len(line) <= WIDTH:
        return [line]
    lines, row = [pad + head], f"{pad}   "
    for part in parts:
        if len(row) + len(part) > WIDTH - 3:
            lines.append(row)
            row = f"{pad}   "
        row += f" {part},"
    return [*lines, row, f"{pad}{tail}"]


def broken(pad: str, line: str) -> list[str]:
    """A statement that is too long for a line, with the arguments of its call on lines below."""
    if len(pad + line) <= WIDTH or line.startswith("#"):
        return [pad + line]
    (statement,) = parse(line).body
    call = statement.value if isinstance(statement, (ast.Assign, ast.Expr)) else None
    if not isinstance(call, ast.Call):
        return [pad + line]
    head = line.encode()[: call.func.end_col_offset].decode() + "("
    parts = [str(ast.get_source_segment(line, x)) for x in (*call.args, *call.keywords)]
    return wrapped(pad, head, parts, ")")
