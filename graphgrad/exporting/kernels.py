"""A generated kernel as a function of arrays: what an exported file holds in place of raw pointers.

    kernel = Kernel.of(calls)      # KernelCalls of one source
    kernel.text()                  # a numba function
    kernel.operands(call)          # what a call passes, in order

A kernel reads pointers, extents and numbers from a table, so that one serves every shape. Exported
shapes are fixed: pointers become array parameters, and what all calls agree on is written out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphgrad.kernels.syntax import parse, parse_expression

from .helpers import SCALAR, helper_texts
from .simplify import simplified
from .text import wrapped


class Unreadable(Exception):
    """A kernel that has no form without pointers; the text says why."""


POINTERS = {
    "u8": "uint8",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "u32": "uint32",
    "i64": "int64",
    "f32": "float32",
    "f64": "float64",
}


@dataclass
class Kernel:
    """One kernel of the file. ``arrays`` and ``numbers`` are slots that became parameters."""

    name: str
    about: str
    parameters: dict[int, str] = field(default_factory=dict)
    # The element type behind each array slot.
    dtypes: dict[int, str] = field(default_factory=dict)
    body: list[ast.stmt] = field(default_factory=list)
    has_error: bool = False
    varies: bool = False
    helpers: set[str] = field(default_factory=set)
    listing: tuple[str, ...] = ()

    @classmethod
    def of(cls, calls: Sequence[Any]) -> Kernel:
        """The kernel of some calls of one source; Unreadable where it needs pointers."""
        module = parse(calls[0].source)
        function = module.body[-1]
        assert isinstance(function, ast.FunctionDef)
        about = (ast.get_docstring(module) or "").partition(": ")[2]
        kernel = cls(function.name, about)
        rewriter = _Rewriter(kernel, calls)
        body = [x for stmt in function.body for x in rewriter.statements(stmt)]
        kernel.body = simplified(body)
        kernel.helpers = rewriter.helpers
        _check_forward(kernel.body)
        kernel._keep_used()
        return kernel

    def _keep_used(self) -> None:
        used = {n.id for stmt in self.body for n in ast.walk(stmt) if isinstance(n, ast.Name)}
        self.parameters = {k: name for k, name in self.parameters.items() if name in used}
        self.has_error, self.varies = "error" in used, "stop" in used

    def operands(self, call: Any) -> list[tuple[Any, ...]]:
        """The slots a call passes, arrays first, as in the parameters' order."""
        return [(*call.slots[k], self.dtypes.get(k)) for k in self._order()]

    def pointers(self, call: Any) -> dict[Any, str]:
        """The parameters that hold the nodes a call reads and writes."""
        slots = {k: call.slots[k] for k in self._order() if k in self.dtypes}
        return {s[1]: self.parameters[k] for k, s in slots.items() if s[0] == "ptr"}

    def _order(self) -> list[int]:
        arrays = [k for k in self.parameters if k in self.dtypes]
        return arrays + [k for k in self.parameters if k not in self.dtypes]

    def text(self) -> str:
        """The function's source."""
        names = [self.parameters[k] for k in self._order()]
        names += ["stop"] * self.varies + ["error"] * self.has_error
        body = "\n".join("    " + line for s in self.body for line in ast.unparse(s).split("\n"))
        return "\n".join(
            [
                "@kernel",
                *wrapped("", f"def {self.name}(", names, "):"),
                *self._docstring(),
                body,
                "",
            ],
        )

    def _docstring(self) -> list[str]:
        head = f'    """{self.about[:1].upper()}{self.about[1:].rstrip(".")}.'
        if not self.listing:
            return [head + '"""']
        return [head, "", *(f"    {line}" for line in self.listing), '    """']


class _Rewriter:
    """Statements of a kernel over a table, as statements over its parameters."""

    def __init__(self, kernel: Kernel, calls: Sequence[Any]) -> None:
        self.kernel, self.calls = kernel, calls
        self.helpers: set[str] = set()
        # Pointer variables, and whether they point to booleans.
        self.pointers: dict[str, bool] = {}

    def statements(self, stmt: ast.stmt) -> list[ast.stmt]:
        """What a statement becomes."""
        if isinstance(stmt, ast.Assign) and isinstance(stmt.targets[0], ast.Name):
            return self._bind(stmt.targets[0].id, stmt.value)
        if isinstance(stmt, ast.Assign) and _is_error(stmt.targets[0]):
            return [parse("error[0] = 1").body[0]]
        if isinstance(stmt, ast.Assign):
            return [self._store(stmt)]
        if isinstance(stmt, ast.For):
            body = [x for s in stmt.body for x in self.statements(s)]
            return [ast.For(stmt.target, self.expr(stmt.iter), body, [], lineno=0)]
        if isinstance(stmt, ast.If):
            body = [x for s in stmt.body for x in self.statements(s)]
            return [ast.If(self.expr(stmt.test), body, [])]
        if isinstance(stmt, ast.Pass):
            return [stmt]
        raise Unreadable(f"it says {ast.unparse(stmt)!r}")

    def _bind(self, name: str, value: ast.expr) -> list[ast.stmt]:
        if isinstance(value, ast.Call) and _called(value) in POINTERS:
            self._pointer(name, _called(value), _number(value.args[1]))
            return []
        if isinstance(value, ast.BinOp) and isinstance(value.left, ast.Name):
            pointer = value.left.id
            if pointer in self.pointers:
                self.pointers[name] = self.pointers[pointer]
                start = ast.Slice(self.expr(value.right))
                return [_assign(name, ast.Subscript(value.left, start, ast.Load()))]
        return [_assign(name, self.expr(value))]

    def _pointer(self, name: str, kind: str, slot: int) -> None:
        slots = [c.slots[slot] for c in self.calls]
        if any(s[0] not in ("ptr", "scratch") or len(s) > 2 for s in slots):
            raise Unreadable("it reads memory that is no array")
        nodes = [s[1] for s in slots if s[0] == "ptr"]
        self.kernel.parameters[slot] = name
        self.kernel.dtypes[slot] = POINTERS[kind]
        self.pointers[name] = bool(nodes) and all(x.dtype.name == "bool" for x in nodes)

    def _store(self, stmt: ast.Assign) -> ast.stmt:
        target = stmt.targets[0]
        value = self.expr(stmt.value)
        if not isinstance(target, ast.Subscript) or not isinstance(target.value, ast.Name):
            raise Unreadable(f"it says {ast.unparse(stmt)!r}")
        if self.pointers.get(target.value.id) and isinstance(value, ast.Call):
            value = value.args[0]  # np.uint8(…), how a boolean is stored through a pointer
        place = ast.Subscript(target.value, self.expr(target.slice), ast.Store())
        return ast.Assign([place], value, lineno=0)

    # ---- expressions

    def expr(self, e: ast.expr) -> ast.expr:
        """What an expression becomes."""
        return _Expressions(self).visit(e)

    def table(self, slot: int) -> ast.expr:
        """An extent or stride: written out where all calls agree."""
        return self._agreed(slot, "n", [c.slots[slot][1] for c in self.calls], "int")

    def scalar(self, slot: int) -> ast.expr:
        """A number, written out likewise."""
        values = [scalar_value(c.slots[slot]) for c in self.calls]
        return self._agreed(slot, "number", values, "scalar")

    def _agreed(self, slot: int, base: str, values: list[Any], kind: str) -> ast.expr:
        if kind == "int" and any(c.slots[slot][0] != "int" for c in self.calls):
            values = [scalar_value(c.slots[slot]) for c in self.calls]
        if kind == "int" and min(values) < 0 and self.calls[0].slots[slot][0] == "int":
            raise Unreadable("it walks backwards through memory")
        if len({repr(v) for v in values}) == 1:
            return parse_expression(literal(values[0]))
        name = self.kernel.parameters.setdefault(slot, f"{base}{slot}")
        return ast.Name(name, ast.Load())


class _Expressions(ast.NodeTransformer):
    """Rewrites one expression."""

    def __init__(self, rewriter: _Rewriter) -> None:
        self.rewriter = rewriter

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in ("start", "chunk"):
            return ast.Constant(0)
        if node.id == "stop":
            return self._stop(node)
        if node.id in ("args", "address", "words", "call"):
            raise Unreadable(f"it uses {node.id}")
        return node

    def _stop(self, node: ast.Name) -> ast.expr:
        extents = {c.extent for c in self.rewriter.calls}
        return ast.Constant(extents.pop()) if len(extents) == 1 else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == "args":
            return self.rewriter.table(_number(node.slice))
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        left = node.left
        base = left.value if isinstance(left, ast.Subscript) else None
        flag = isinstance(base, ast.Name) and self.rewriter.pointers.get(base.id, False)
        if flag and isinstance(node.ops[0], ast.NotEq):
            return self.visit(left)  # x[i] != 0 is how a boolean is read through a pointer
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_Call(self, node: ast.Call) -> ast.expr:
        name = _called(node)
        if name == "fscalar":
            return self.rewriter.scalar(_number(node.args[1]))
        args = [self.visit(a) for a in node.args]
        if isinstance(node.func, ast.Name) and name not in ("range", "min"):
            return self._function(name, args)
        if isinstance(node.func, ast.Attribute) and name == "view":
            return ast.Call(ast.Attribute(self.visit(node.func.value), "view"), args, [])
        return ast.Call(node.func, args, [])

    def _function(self, name: str, args: list[ast.expr]) -> ast.expr:
        spelled = SCALAR.get(name)
        if spelled is not None:
            return ast.Call(parse_expression(spelled), args, [])
        if name not in helper_texts():
            raise Unreadable(f"it calls {name}")
        self.rewriter.helpers.add(name)
        return ast.Call(ast.Name(name, ast.Load()), args, [])


def scalar_value(slot: tuple[Any, ...]) -> Any:
    """The number in a scalar slot."""
    if slot[0] in ("float", "int"):
        return slot[1]
    if slot[0] != "scalar":
        raise Unreadable(f"it reads a number from a {slot[0]}")
    node = slot[1]
    value = np.asarray(node.attrs["value"]).astype(node.dtype.numpy).item()
    return int(value) if isinstance(value, bool) else value


def literal(value: Any) -> str:
    """Python text of a number."""
    text = repr(value)
    return {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}.get(text, text)


def _is_error(target: ast.expr) -> bool:
    """Whether this is ``i64(args, 1)[0]``, the error cell."""
    return isinstance(target, ast.Subscript) and isinstance(target.value, ast.Call)


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value, lineno=0)


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else node.func.attr  # type: ignore


def _number(e: ast.expr) -> int:
    if isinstance(e, ast.Constant) and isinstance(e.value, int):
        return e.value
    raise Unreadable(f"its table is read at {ast.unparse(e)!r}")


def _check_forward(body: Iterable[ast.stmt]) -> None:
    """Array positions count from the front: a negative one would wrap around."""
    stack: list[ast.AST] = list(body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            continue  # np.int32(-1) is an element, no position
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            raise Unreadable("it walks backwards through memory")
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value < 0:
            raise Unreadable("it walks backwards through memory")
        stack.extend(ast.iter_child_nodes(node))
