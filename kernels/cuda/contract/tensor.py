"""Products of 16-bit floats on tensor cores: operands in shared memory, fragments by mma.sync.

Shared memory holds pairs of numbers along k as 32-bit words, row after row (column after column of
B), whatever order they have in memory: what is neighbours along k is moved as it is, what is
neighbours along the rows is put together in pairs. A row is 4 words longer than its k-tile, so that
the 8 rows of a fragment lie in 8 different groups of 4 banks.

Arithmetic of the tile 128x128x32: 8 warps of 64x32, so 16 products of 16x8x16 for 24 words read a
thread; at 1024 multiply-adds a cycle an SM (sm_80) 16 products of 4 warps take 128 cycles, and 96
reads of 128 bytes 96: tensor cores can be busy all the time if nothing else holds them up, which no
card has shown yet. mma.sync reaches about 60% of what sm_90's wgmma does. 128 registers a thread,
nothing spilled where operands move by vectors; 24 bytes (sm_80) where they move one by one.
"""

from __future__ import annotations

from typing import Any

from graphgrad import dtypes

from ...loopir import Call, For, Get, Int, Let, Number, Pointer, Put, Var
from ..gridir import GetVector, Local, PutVector, Shared, TensorProduct
from .index import Index, Names
from .maps import ALONG_OUTER, ALONG_STEPS, Access
from .place import SLOT, Form, Place, entry, slot

PAD = 4  # words
DEPTH = 16  # k of one product of fragments

U32 = dtypes.uint32
LOW, SHIFT = Number(0xFFFF, U32), Number(16, U32)
HIGH = Number(0xFFFF0000, U32)


class TensorSide:
    """One operand: its shared memory, and how threads bring a k-tile there, pair by pair of k."""

    def __init__(self, form: Form, name: str, outer: int, access: Access) -> None:
        self.form, self.name, self.outer, self.access = form, name, outer, access
        tile = form.tile
        self.pitch = tile.steps // 2 + PAD
        self.buffer = outer * self.pitch
        vector = access.vector
        along_steps = access.along == ALONG_STEPS
        units = tile.steps // max(2, vector) if along_steps else outer // vector
        self.line = units
        self.stride = tile.threads // units
        self.lines = (outer if along_steps else tile.steps // 2) // self.stride
        self.words = max(1, vector // 2) if along_steps else vector
        self.number = Index(Var(f"{name}_line"))

    def shared(self) -> Shared:
        """Two k-tiles, row by row."""
        return Shared(f"shared_{self.name}", U32, 2 * self.buffer)

    def start(self, place: Place) -> list[Any]:
        """What a thread needs for all its reads: its place in a line, the offsets of its rows."""
        names, n = Names(), self.name
        base = names.let(f"{n}_base", entry(f"{n}_batches", place.batch))
        self.along = names.let(f"{n}_along", place.thread % self.line)
        self.across = names.let(f"{n}_across", place.thread // self.line)
        first = place.row if n == "a" else place.column
        arrays = [Local(f"{n}_staged", U32, self.lines * self.words)]
        if self.access.along == ALONG_OUTER:
            at = first // self.access.vector + self.along
            self.offset = names.let(f"{n}_offset", base + entry(f"{n}_outer", at))
            return [*self._pointers(), *names.body, *arrays]
        arrays.append(Local(f"{n}_offsets", dtypes.int32, self.lines))
        line = first + self.across + self.number * self.stride
        offset = (base + entry(f"{n}_outer", line)).expr
        put = Put(Var(f"{n}_offsets"), self.number.expr, offset, dtypes.int32)
        self.offset = entry(f"{n}_offsets", self.number)
        return [*self._pointers(), *names.body, *arrays, self._each((put,))]

    def _pointers(self) -> list[Any]:
        n = self.name
        tables = {"batches": f"{n}_batch", "steps": f"{n}_steps"}
        tables["outer"] = {"a": "a_rows", "b": "b_columns"}[n]
        memory = U32 if self.access.vector > 1 else dtypes.int16
        return [
            *(Let(f"{n}_{k}", Pointer(SLOT[v], dtypes.int32)) for k, v in tables.items()),
            Let(f"{n}_values", Pointer(SLOT[n], memory)),
        ]

    def _each(self, body: tuple[Any, ...]) -> For:
        """For every line of a thread."""
        return For(self.number.expr.name, Int(0), Int(self.lines), body)

    def fetch(self, first_step: Index) -> list[Any]:
        """Read this thread's words of a k-tile into registers; zeros past the end of k."""
        vector, along_steps = self.access.vector, self.access.along == ALONG_STEPS
        if along_steps and vector > 1:
            return self._whole_vectors(first_step)
        unit = self.along if along_steps else self.across + self.number * self.stride
        names = Names()
        k = names.let(f"{self.name}_k", first_step + unit * 2)
        read = self._pairs(k) if vector == 1 else self._zipped(k)
        return [self._each((*names.body, *read))]

    def _whole_vectors(self, first_step: Index) -> list[Any]:
        """Neighbours along k, as they are; tables count words and have an entry a vector."""
        n, vector, names = self.name, self.access.vector, Names()
        k = names.let(f"{n}_k", first_step + self.along * vector)
        step = names.let(f"{n}_step", entry(f"{n}_steps", first_step // vector + self.along))
        at = self.offset + step
        fresh, read = self._vector("read", at)
        puts = [
            self._stage(q, _where((k < slot("steps")).expr, Var(x))) for q, x in enumerate(fresh)
        ]
        return [*names.body, self._each((*read, *puts))]

    def _vector(self, word: str, at: Index) -> tuple[tuple[str, ...], list[Any]]:
        """A vector of memory as words."""
        fresh = tuple(f"{self.name}_{word}{q}" for q in range(self.access.vector // 2))
        values = Var(f"{self.name}_values")
        if len(fresh) == 1:
            return fresh, [Let(fresh[0], Get(values, at.expr, U32))]
        return fresh, [GetVector(fresh, values, at.expr, U32)]

    def _pairs(self, k: Index) -> list[Any]:
        """Two numbers of one row, one after the other."""
        n, body, halves = self.name, [], []
        for q in range(2):
            at = self.offset + entry(f"{n}_steps", k + q)
            body.append(Let(f"{n}_read{q}", Get(Var(f"{n}_values"), at.expr, dtypes.int16)))
            wide = _and(Call("cast", U32, dtypes.int16, (Var(f"{n}_read{q}"),)), LOW)
            halves.append(_where((k + q < slot("steps")).expr, wide))
        low, high = halves
        return [*body, self._stage(0, _or(low, _shifted("shift_left", high)))]

    def _zipped(self, k: Index) -> list[Any]:
        """Vectors along the rows of two steps of k, put together in pairs."""
        n, body, vectors = self.name, [], []
        for q, word in enumerate(("low", "high")):
            at = self.offset + entry(f"{n}_steps", k + q)
            fresh, read = self._vector(word, at)
            inside = (k + q < slot("steps")).expr
            masked = [f"{x}_in" for x in fresh]
            body += [
                *read,
                *(Let(m, _where(inside, Var(x))) for m, x in zip(masked, fresh, strict=True)),
            ]
            vectors.append(masked)
        for q, (low, high) in enumerate(zip(*vectors, strict=True)):
            even = _or(_and(Var(low), LOW), _shifted("shift_left", Var(high)))
            odd = _or(_shifted("shift_right", Var(low)), _and(Var(high), HIGH))
            body += [self._stage(2 * q, even), self._stage(2 * q + 1, odd)]
        return body

    def _stage(self, q: int, word: Any) -> Put:
        at = (self.number * self.words + q).expr
        return Put(Var(f"{self.name}_staged"), at, word, U32)

    def keep(self, buffer: Index) -> list[Any]:
        """Write what was read to a buffer of shared memory."""
        names, shared = Names(), Var(f"shared_{self.name}")
        staged = Var(f"{self.name}_staged")
        words = [Get(staged, (self.number * self.words + q).expr, U32) for q in range(self.words)]
        line = self.across + self.number * self.stride
        if self.access.along == ALONG_STEPS:
            at = buffer * self.buffer + line * self.pitch + self.along * self.words
            whole = PutVector(shared, at.expr, tuple(words), U32)
            puts: list[Any] = [whole if self.words > 1 else Put(shared, at.expr, words[0], U32)]
        else:
            row = buffer * self.buffer + self.along * (self.access.vector * self.pitch) + line
            at = names.let(f"{self.name}_at", row)
            puts = [Put(shared, (at + q * self.pitch).expr, x, U32) for q, x in enumerate(words)]
        return [self._each((*names.body, *puts))]


def _where(condition: Any, word: Any) -> Call:
    return Call("where", U32, U32, (condition, word, Number(0, U32)))


def _and(left: Any, right: Any) -> Call:
    return Call("bitwise_and", U32, U32, (left, right))


def _or(left: Any, right: Any) -> Call:
    return Call("bitwise_or", U32, U32, (left, right))


def _shifted(op: str, word: Any) -> Call:
    return Call(op, U32, U32, (word, SHIFT))


def tensor_multiply(form: Form, place: Place, sides: list[TensorSide], now: Index) -> For:
    """Add the products of one k-tile to the sums, 16x8 numbers of a warp at a time."""
    tile, (a, b) = form.tile, sides
    k, i, j = (Index(Var(name)) for name in "kij")
    first_a = now * a.buffer + (place.numbers.warp_row + i * 16) * a.pitch + k * (DEPTH // 2)
    first_b = now * b.buffer + (place.numbers.warp_column + j * 8) * b.pitch + k * (DEPTH // 2)
    at = (i * (tile.thread_columns // 2) + j) * 4
    product = TensorProduct(
        Var("sums"), at.expr, Var("shared_a"), first_a.expr, Var("shared_b"), first_b.expr,
        a.pitch, form.operands,
    )  # fmt: skip
    columns = For("j", Int(0), Int(tile.thread_columns // 2), (product,))
    rows = For("i", Int(0), Int(tile.thread_rows // 2), (columns,))
    return For("k", Int(0), Int(tile.steps // DEPTH), (rows,))
