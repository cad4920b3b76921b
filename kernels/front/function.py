"""Statements of a kernel, and the functions it inlines, as LLVM instructions.

A local variable that is assigned at several places is a cell of the stack, which LLVM makes a
register again; so a loop or a branch needs to know nothing about what is assigned inside.
"""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from ..syntax import parse
from ..vecmath.value import Value
from .cells import Variable, constant, variable
from .expressions import Expressions, builtin
from .fixed import fixed_names
from .operands import WORD, Table, Unsupported, is_static, store, truth, word

TABLE = WORD.as_pointer()

# Arithmetic of a loop body with chains of some hundred cycles, like those of two exponentials: the
# processor finds work in the next iteration only where two are interleaved (gelu and its gradient:
# 1.3 ns an element before, 0.8 after). LLVM counts registers and would not.
LONG_BODY = 48
_FREE = frozenset({"load", "store", "alloca", "getelementptr", "bitcast", "br"})


def translate(function: Callable, symbol: str, words_only: bool = False) -> str:
    """LLVM's text of a module whose function `symbol` is `function`, with C linkage.

    It takes a table and int64 words, `words_only` leaves out the table, and returns nothing.
    """
    module = ir.Module(symbol)
    count = function.__code__.co_argcount
    kinds = [WORD if words_only or i else TABLE for i in range(count)]
    native = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), symbol)
    native.attributes.add("nounwind")
    builder = ir.IRBuilder(native.append_basic_block("entry"))
    given = [Table(x) if x.type == TABLE else Value(builder, "int64", x) for x in native.args]
    inline(builder, function, given)
    builder.ret_void()
    return str(module)


def inline(builder: ir.IRBuilder, function: Callable, arguments: Sequence[Any]) -> Any:
    """The body of `function` at this place; returns its result."""
    definition = definition_of(function)
    names = [a.arg for a in definition.args.args]
    if len(names) != len(arguments):
        raise Unsupported(f"{function.__qualname__} takes {len(names)} arguments")
    body = Body(builder, function, _fixed(definition))
    for name, value in zip(names, arguments, strict=True):
        body.bind(name, value)
    try:
        body.statements(definition.body)
    except Unsupported as error:
        raise Unsupported(f"{error} (in {function.__qualname__})") from error
    return body.finish()


def definition_of(function: Callable) -> ast.FunctionDef:
    """The syntax of a function, from its source."""
    code = function.__code__
    found = _definitions(code.co_filename).get(code.co_firstlineno)
    if found is None:
        raise Unsupported(f"no source of {function.__qualname__}")
    return found


@functools.lru_cache(maxsize=1024)
def _fixed(definition: ast.FunctionDef) -> frozenset[str]:
    return fixed_names(definition)


@functools.lru_cache(maxsize=64)
def _definitions(filename: str) -> dict[int, ast.FunctionDef]:
    """The functions of a source file by their first line."""
    tree = parse("".join(linecache.getlines(filename)))
    return {
        min([node.lineno, *(d.lineno for d in node.decorator_list)]): node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }


class Body(Expressions):
    """One function being translated: its names, and where `return` goes."""

    def __init__(self, builder: ir.IRBuilder, function: Callable, fixed: frozenset[str]) -> None:
        super().__init__(builder)
        self.fixed = fixed
        closure = function.__closure__ or ()
        cells = zip(function.__code__.co_freevars, (c.cell_contents for c in closure), strict=True)
        self.outside: Mapping[str, Any] = {**function.__globals__, **dict(cells)}
        self.names: dict[str, Variable] = {}
        self.exit = builder.append_basic_block("exit")
        self.result: Variable | None = None
        self.loops: list[tuple[ir.Block, ir.Block]] = []  # where continue and break go

    # ---- names

    def bind(self, name: str, value: Any) -> None:
        """Assign; what may change gets a cell, anything else is what the name means."""
        if name in self.fixed:
            self.names[name] = constant(self.builder, value)
            return
        known = self.names.get(name)
        if known is None:
            known = self.names[name] = variable(self.builder, value)
        known.put(value)

    def read(self, name: str) -> Any:
        if name in self.names:
            return self.names[name].get()
        return self.outside[name] if name in self.outside else builtin(name)

    def inline(self, function: Callable, arguments: Sequence[Any]) -> Any:
        return inline(self.builder, function, arguments)

    # ---- statements

    def statements(self, body: Sequence[ast.stmt]) -> None:
        for statement in body:
            if self.builder.block.is_terminated:
                return
            emit = _STATEMENTS.get(type(statement))
            if emit is None:
                kind = type(statement).__name__
                raise Unsupported(f"line {statement.lineno}: {kind} statements")
            emit(self, statement)

    def finish(self) -> Any:
        if not self.builder.block.is_terminated:
            self.builder.branch(self.exit)
        self.builder.position_at_end(self.exit)
        return None if self.result is None else self.result.get()

    def assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.bind(name, value)
            case ast.Subscript(value=base, slice=index):
                store(self.builder, self.expr(base), self.expr(index), value)
            case ast.Tuple(elts=parts) if isinstance(value, tuple) and len(parts) == len(value):
                for part, item in zip(parts, value, strict=True):
                    self.assign(part, item)
            case _:
                raise Unsupported(f"line {target.lineno}: assignment to {ast.unparse(target)}")

    def assign_all(self, statement: ast.Assign) -> None:
        value = self.expr(statement.value)
        for target in statement.targets:
            self.assign(target, value)

    def update(self, statement: ast.AugAssign) -> None:
        place = statement.target
        before = self.expr(place)
        self.assign(place, self.operate(statement.op, before, self.expr(statement.value)))

    def discard(self, statement: ast.Expr) -> None:
        self.expr(statement.value)

    def leave(self, statement: ast.Return) -> None:
        if statement.value is not None:
            value = self.expr(statement.value)
            if self.result is None:
                self.result = variable(self.builder, value)
            self.result.put(value)
        self.builder.branch(self.exit)

    def choose(self, statement: ast.If) -> None:
        test = self.expr(statement.test)
        if is_static(test):
            self.statements(statement.body if test else statement.orelse)
            return
        with self.branches(truth(self.builder, test)) as (then, otherwise):
            with then():
                self.statements(statement.body)
            with otherwise():
                self.statements(statement.orelse)

    def repeat(self, statement: ast.While) -> None:
        _refuse_else(statement)
        head, body, after = self.blocks("while", "do", "after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        test = self.expr(statement.test)
        if is_static(test) and test:
            self.builder.branch(body)
        else:
            self.builder.cbranch(truth(self.builder, test), body, after)
        with self.loop(body, head, after):
            self.statements(statement.body)

    def count(self, statement: ast.For) -> None:
        _refuse_else(statement)
        start, stop, step = self._range(statement.iter)
        builder = self.builder
        before = builder.block
        head, body, latch, after = self.blocks("for", "each", "next", "after")
        builder.branch(head)
        builder.position_at_end(head)
        counter = builder.phi(WORD)
        counter.add_incoming(start, before)
        builder.cbranch(builder.icmp_signed("<", counter, stop), body, after)
        outside = len(builder.function.blocks)
        with self.loop(body, latch, after):
            self.assign(statement.target, self.counter(counter))
            self.statements(statement.body)
        builder.position_at_end(latch)
        counter.add_incoming(builder.add(counter, step, flags=["nsw"]), latch)
        again = builder.branch(head)
        if _is_long([body, *builder.function.blocks[outside:]]):
            again.set_metadata("llvm.loop", _interleaved(builder.module, 2))
        builder.position_at_end(after)

    def counter(self, count: ir.Value) -> Value:
        """A loop's variable, from the int64 that counts."""
        return Value(self.builder, "int64", count)

    def _range(self, call: ast.expr) -> tuple[ir.Value, ...]:
        """Start, stop and step, which has to be positive."""
        if not (isinstance(call, ast.Call) and self.expr(call.func) is range):
            raise Unsupported(f"line {call.lineno}: a loop over something else than a range")
        match [self.expr(a) for a in call.args]:
            case [stop]:
                start, step = 0, 1
            case [start, stop]:
                step = 1
            case [start, stop, step]:
                pass
        if is_static(step) and step < 1:
            raise Unsupported(f"line {call.lineno}: a range that goes down")
        return tuple(word(self.builder, x) for x in (start, stop, step))

    @contextmanager
    def loop(self, body: ir.Block, again: ir.Block, after: ir.Block) -> Iterator[None]:
        """Emit the body of a loop; `continue` goes to `again`, `break` to `after`."""
        self.builder.position_at_end(body)
        self.loops.append((again, after))
        yield
        self.loops.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(again)
        self.builder.position_at_end(after)

    def jump(self, statement: ast.Break | ast.Continue) -> None:
        again, after = self.loops[-1]
        self.builder.branch(after if isinstance(statement, ast.Break) else again)

    def nothing(self, statement: ast.stmt) -> None:
        """`pass`."""


def _is_long(blocks: Sequence[ir.Block]) -> bool:
    """Whether a loop body is much arithmetic, and no loop."""
    body = [x for block in blocks for x in block.instructions]
    if any(x.opname == "phi" for x in body):
        return False
    return sum(x.opname not in _FREE for x in body) >= LONG_BODY


def _interleaved(module: ir.Module, count: int) -> ir.MDValue:
    """The identity of a loop, whose vectors are to be computed ``count`` at a time."""
    wish = module.add_metadata(["llvm.loop.interleave.count", ir.IntType(32)(count)])
    loop = ir.MDValue(module, (), name=str(len(module.metadata)))
    loop.operands = (loop, wish)
    return loop


_STATEMENTS: dict[type, Callable[[Body, Any], None]] = {
    ast.Assign: Body.assign_all,
    ast.AugAssign: Body.update,
    ast.Expr: Body.discard,
    ast.Return: Body.leave,
    ast.If: Body.choose,
    ast.While: Body.repeat,
    ast.For: Body.count,
    ast.Break: Body.jump,
    ast.Continue: Body.jump,
    ast.Pass: Body.nothing,
}


def _refuse_else(statement: ast.For | ast.While) -> None:
    if statement.orelse:
        raise Unsupported(f"line {statement.lineno}: else of a loop")
