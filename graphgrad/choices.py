"""What plans decide by size, kept for the other sizes of the same structure.

    with remembered(structure, "build"):         # around planning; structure_of(graph) names it
        with section(("product", "float32")):    # a region: what is decided inside is its own
            settle("rows", 8)                    # 8; or what the first plan said here

Kernels serve every size, but which ones a plan uses depends on sizes at a dozen places: whether a
long sum is cut into parts, how wide the tile of a product is. Where a new batch size or sequence
length decides as the first one did, its kernels are there already, and LLVM has nothing to do.
Any answer must be correct everywhere: it is only a matter of time, and a place where it can cost
much says that its own answer is ``binding``. Questions of one name are told apart by how often they
were asked, so asking twice is two questions, and no two answers may have to agree.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import threading
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

from graphgrad.ir import Graph, Node, subgraphs

Answer = TypeVar("Answer", bound=Hashable)
# Answers by (question, how often it was asked before), sections by (key, how often …).
Choices = dict[Any, Any]

_MOST = 512
# Attributes that say how operations are put together, not how large things are.
_STRUCTURAL = ("axis", "axes", "contract", "batch", "carries", "sequences")


class _Section:
    """An open section: what is known there, and how often each question was asked.

    ``whole`` are the choices of all the stage.
    """

    __slots__ = ("asked", "made", "whole")

    def __init__(self, made: Choices, whole: Choices) -> None:
        self.made, self.whole = made, whole
        self.asked: Counter[Any] = Counter()

    def next(self, question: Hashable) -> tuple[Hashable, int]:
        number = self.asked[question]
        self.asked[question] += 1
        return question, number


_open: ContextVar[_Section | None] = ContextVar("choices", default=None)
_known: OrderedDict[str, Choices] = OrderedDict()
_lock = threading.Lock()


def settle(question: Hashable, answer: Answer, binding: bool = False) -> Answer:
    """``answer``; unless ``binding``, the one the first plan of this structure gave here."""
    opened = _open.get()
    if opened is None:
        return answer
    first = opened.made.setdefault(opened.next(question), answer)
    return answer if binding else first


@contextlib.contextmanager
def section(key: Hashable) -> Iterator[Choices]:
    """Questions inside are counted on their own; gives what is known there, to be added to."""
    opened = _open.get()
    if opened is None:
        yield {}
        return
    inner = opened.made.setdefault(opened.next(key), {})
    with _opened(_Section(inner, opened.whole)):
        yield inner


def common(key: Hashable) -> dict[Any, None]:
    """A set that all sections of a stage share, in the order things were added."""
    opened = _open.get()
    return {} if opened is None else opened.whole.setdefault(("common", key), {})


@contextlib.contextmanager
def _opened(opened: _Section) -> Iterator[None]:
    token = _open.set(opened)
    try:
        yield
    finally:
        _open.reset(token)


@contextlib.contextmanager
def remembered(structure: str, stage: str) -> Iterator[None]:
    """Settle a stage of planning as plans of this structure did before."""
    made = _choices_of(structure).setdefault(stage, {})
    with _opened(_Section(made, made)):
        yield


def _choices_of(structure: str) -> Choices:
    with _lock:
        found = _known.setdefault(structure, {})
        _known.move_to_end(structure)
        if len(_known) > _MOST:
            _known.popitem(last=False)
        return found


def digest(structure: str) -> bytes:
    """What decides, beside a graph, how it is planned."""
    return hashlib.sha256(export(structure)).digest()


def export(structure: str) -> bytes:
    """All choices made for a structure, to be kept beside a program."""
    # Version 2: equal values give equal bytes, whether or not they are the same objects.
    return marshal.dumps(_choices_of(structure), 2)


def restore(structure: str, made: bytes) -> None:
    """Know what another process chose, where this one has not chosen yet."""
    _merge(_choices_of(structure), marshal.loads(made))


def _merge(known: Choices, more: Choices) -> None:
    for key, value in more.items():
        first = known.setdefault(key, value)
        if first is not value and isinstance(value, dict):
            _merge(first, value)


def structure_of(graph: Graph) -> str:
    """A name that graphs share which differ in sizes alone."""
    return hashlib.sha256(marshal.dumps(graph.rows(_described), 2)).hexdigest()[:20]


def _described(x: Node) -> tuple[Any, ...]:
    attrs = tuple(repr(x.attrs[k]) for k in _STRUCTURAL if k in x.attrs)
    inner = tuple(graph.rows(_described) for graph in subgraphs(x))
    return x.op.name, x.dtype.name, len(x.shape), attrs, inner
