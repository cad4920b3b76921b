"""Which names of a function need no cell: `fixed_names(definition)`.

A name is fixed if it is assigned at one place and read only after it, in the same list of
statements or deeper inside it: wherever it is read it is the operand that was assigned, and LLVM
gets no cell with its stores and loads, a third of all instructions, to take away again.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence


def fixed_names(definition: ast.FunctionDef) -> frozenset[str]:
    """The fixed names of a function, parameters included."""
    names = _Names()
    parameters = [a.arg for a in definition.args.args]
    reads = names.follow(definition.body, parameters)
    once = (name for name, count in names.writes.items() if count == 1)
    return frozenset(name for name in once if names.after.get(name) == reads[name])


class _Names:
    """Of each name how often it is assigned, and read after (the last of) its assignments."""

    def __init__(self) -> None:
        self.writes: Counter[str] = Counter()
        self.after: dict[str, int] = {}

    def follow(self, body: Sequence[ast.stmt], given: Sequence[str] = ()) -> Counter[str]:
        """Count in `body`, before which `given` are assigned; returns the reads in it."""
        later: Counter[str] = Counter()
        for statement in reversed(body):
            stored, inner = [], []
            read: Counter[str] = Counter()
            for part in _parts(statement):
                if isinstance(part, list):
                    inner.append(part)
                elif isinstance(part.ctx, ast.Store):
                    stored.append(part.id)
                else:
                    read[part.id] += 1
            counts = isinstance(statement, ast.For)
            if not counts:
                self._assign(stored, later)
            later.update(read)
            for i, block in enumerate(inner):
                later.update(self.follow(block, stored if counts and not i else ()))
        self._assign(given, later)
        return later

    def _assign(self, names: Sequence[str], later: Counter[str]) -> None:
        self.writes.update(names)
        self.after.update((name, later[name]) for name in names)


def _parts(statement: ast.stmt) -> Iterator[ast.Name | list[ast.stmt]]:
    """The names in a statement's expressions, and the lists of statements in it."""
    todo: list[ast.AST] = [statement]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name):
            yield node
            continue
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                todo.append(value)
            elif isinstance(value, list) and value:
                if isinstance(value[0], ast.stmt):
                    yield value
                else:
                    todo += [x for x in value if isinstance(x, ast.AST)]
