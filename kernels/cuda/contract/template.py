"""The register-tiled kernel: Grid IR of one block's tile of a product, read through its tables.

    kernel = product_kernel(Form(...))

A block moves a k-tile of both operands from global to shared memory, through the operands' index
maps, while its threads multiply the k-tile before; each thread adds up its numbers of the result in
registers. Rows and columns past the end are read again from the last ones, steps past the end are
zeros, so nothing in the loop depends on a thread's place.

Arithmetic of the float32 tile 128x128x8 (registers: ptxas 13.0, see the tests): 256 threads of at
most 128 registers, so 2 blocks or 16 warps an SM. A step of k is 64 multiply-adds a thread for 4
reads of 16 bytes from shared memory; a warp's reads of A are 4 different vectors and of B 8 (64 and
128 bytes of the 128 a cycle), so shared memory is busy for 4 of the 16 cycles that the
multiply-adds take on each of 4 schedulers. By PTX, two steps of k are 149 instructions for 128
multiply-adds (93 for 64 before steps were unrolled in twos; in fours registers spill), fetching the
next k-tile 48, keeping it 16: 512 of some 670 issued are multiply-adds, so 76% of peak is the bound
that a card could show. A k-tile's 8 KiB for 131,072 multiply-adds ask for 8 bytes a cycle an SM of
the level 2 cache.
"""

from __future__ import annotations

import functools
from typing import Any

from graphgrad import dtypes

from ...loopir import Call, For, Get, Int, Let, Number, Pointer, Put, Var
from ..gridir import Barrier, GetVector, GridKernel, Local, PutVector, Shared, When
from .index import Index, Names
from .maps import ALONG_OUTER, ALONG_STEPS, Access
from .place import NUMBERS, POINTERS, SLOT, Form, Place, cast, entry, slot
from .store import store
from .tensor import TensorSide, tensor_multiply

PAD = 4  # words a row of shared memory is longer: neighbouring k's of one row, other banks


@functools.cache
def product_kernel(form: Form) -> GridKernel:
    """The kernel of a form."""
    tile = form.tile
    place = Place(form)
    kind = TensorSide if tile.tensor else _Side
    sides = [kind(form, "a", tile.rows, form.a), kind(form, "b", tile.columns, form.b)]
    body = [*(side.shared() for side in sides), *place.body]
    for side in sides:
        body += side.start(place)
    size = tile.thread_rows * tile.thread_columns
    body.append(Local("sums", form.sums, size))
    if not tile.tensor:
        body += [Local("own_a", form.sums, tile.thread_rows)]
        body += [Local("own_b", form.sums, tile.thread_columns)]
    zero = Number(0.0, form.sums)
    body.append(For("i", Int(0), Int(size), (Put(Var("sums"), Var("i"), zero, form.sums),)))
    for side in sides:
        body += [*side.fetch(place.first_step), *side.keep(Index(Int(0)))]
    body.append(Barrier())
    body.append(_steps(form, place, sides))
    body += store(form, place)
    about = f"a tile of a product of {form.operands.name}, {tile.name}"
    kinds = ("ptr",) * len(POINTERS) + ("int",) * len(NUMBERS)
    kinds += form.epilogue.kinds if form.epilogue else ()
    resident = tile.resident(form.sums.itemsize)
    return GridKernel(form.name, about, tuple(body), tile.threads, resident=resident, kinds=kinds)


def _steps(form: Form, place: Place, sides: list[Any]) -> For:
    """The loop over k-tiles: the next one is on its way while this one is multiplied."""
    names = Names()
    step = Index(Var("step"))
    now = names.let("now", step % 2)
    more = step + 1 < place.count
    fetch = [x for s in sides for x in s.fetch(place.first_step + (step + 1) * form.tile.steps)]
    keep = [x for s in sides for x in s.keep(Index(Int(1)) - now)]
    body = (
        *names.body,
        When(more.expr, tuple(fetch)),
        (tensor_multiply if form.tile.tensor else _multiply)(form, place, sides, now),
        When(more.expr, tuple(keep)),
        Barrier(),
    )
    return For("step", Int(0), place.count.expr, body)


def _multiply(form: Form, place: Place, sides: list[_Side], now: Index) -> For:
    """Add the products of one k-tile in shared memory to the sums, a few steps at a time: their
    addresses differ by constants."""
    tile, numbers = form.tile, place.numbers
    names = Names()
    body: list[Any] = []
    k = Index(Var("k"))
    starts = [
        names.let(f"{side.name}_now", now * side.buffer + own + k * (tile.unrolled * side.pitch))
        for side, own in zip(sides, (numbers.thread_row, numbers.thread_column), strict=True)
    ]
    for step in range(tile.unrolled):
        for side, start in zip(sides, starts, strict=True):
            body += side.own(start + step * side.pitch)
        body.append(_outer_product(form))
    return For("k", Int(0), Int(tile.steps // tile.unrolled), (*names.body, *body))


def _outer_product(form: Form) -> For:
    """Add each of a thread's numbers of A times each of B."""
    tile, dtype = form.tile, form.sums
    at = (Index(Var("i")) * tile.thread_columns + Index(Var("j"))).expr
    left, right = Get(Var("own_a"), Var("i"), dtype), Get(Var("own_b"), Var("j"), dtype)
    product = Call("mul", dtype, dtype, (left, right))
    add = Call("add", dtype, dtype, (Get(Var("sums"), at, dtype), product))
    inner = For("j", Int(0), Int(tile.thread_columns), (Put(Var("sums"), at, add, dtype),))
    return For("i", Int(0), Int(tile.thread_rows), (inner,))


class _Side:
    """One operand: its shared memory, and how threads bring a k-tile there."""

    def __init__(self, form: Form, name: str, outer: int, access: Access) -> None:
        self.form, self.name, self.outer, self.access = form, name, outer, access
        tile = form.tile
        self.pitch = outer + PAD * 4 // form.sums.itemsize
        self.buffer = tile.steps * self.pitch
        per_thread = (tile.thread_rows, tile.thread_columns)[name == "b"]
        self.groups = [
            g * outer * form.lanes // per_thread for g in range(per_thread // form.lanes)
        ]
        # threads of one line: along k or along the rows; each thread does every `stride`-th line
        self.line = (tile.steps if access.along == ALONG_STEPS else outer) // access.vector
        self.stride = tile.threads // self.line
        self.lines = (outer if access.along == ALONG_STEPS else tile.steps) // self.stride
        self.table = {"a": "a_rows", "b": "b_columns"}[name]
        self.number = Index(Var(f"{name}_line"))

    def shared(self) -> Shared:
        """Two k-tiles, k by k; rows are padded."""
        return Shared(f"shared_{self.name}", self.form.sums, 2 * self.buffer)

    def start(self, place: Place) -> list[Any]:
        """What a thread needs for all its reads: its place in a line, the offsets of its rows."""
        names, n = Names(), self.name
        base = names.let(f"{n}_base", entry(f"{n}_batches", place.batch))
        self.along = names.let(f"{n}_along", place.thread % self.line)
        self.across = names.let(f"{n}_across", place.thread // self.line)
        first = place.row if n == "a" else place.column
        table, staged = f"{n}_outer", self.lines * self.access.vector
        arrays = [Local(f"{n}_staged", self.form.sums, staged)]
        if self.access.along == ALONG_OUTER:
            vector = first // self.access.vector + self.along
            self.offset = names.let(f"{n}_offset", base + entry(table, vector))
            return [*self._pointers(), *names.body, *arrays]
        arrays.append(Local(f"{n}_offsets", dtypes.int32, self.lines))
        line = first + self.across + self.number * self.stride
        offset = (base + entry(table, line)).expr
        put = Put(Var(f"{n}_offsets"), self.number.expr, offset, dtypes.int32)
        self.offset = entry(f"{n}_offsets", self.number)
        return [*self._pointers(), *names.body, *arrays, self._each((put,))]

    def _each(self, body: tuple[Any, ...]) -> For:
        """For every line of a thread."""
        return For(self.number.expr.name, Int(0), Int(self.lines), body)

    def _pointers(self) -> list[Any]:
        n = self.name
        return [
            Let(f"{n}_batches", Pointer(SLOT[f"{n}_batch"], dtypes.int32)),
            Let(f"{n}_outer", Pointer(SLOT[self.table], dtypes.int32)),
            Let(f"{n}_steps", Pointer(SLOT[f"{n}_steps"], dtypes.int32)),
            Let(f"{n}_values", Pointer(SLOT[n], self.form.operands)),
        ]

    def fetch(self, first_step: Index) -> list[Any]:
        """Read this thread's numbers of a k-tile into registers; zeros past the end of k."""
        n, vector = self.name, self.access.vector
        steps, names, inside = f"{n}_steps", Names(), Names()
        if self.access.along == ALONG_STEPS:
            k = names.let(f"{n}_k", first_step + self.along * vector)
            step = names.let(f"{n}_step", entry(steps, first_step // vector + self.along))
        else:
            k = inside.let(f"{n}_k", first_step + self.across + self.number * self.stride)
            step = inside.let(f"{n}_step", entry(steps, k))
        body = (*inside.body, *self._read(self.offset + step, k))
        return [*names.body, self._each(body)]

    def _read(self, at: Index, k: Index) -> list[Any]:
        """Read a line's numbers; zeros past the end of k."""
        n, vector, source, dtype = self.name, self.access.vector, self.form.operands, self.form.sums
        values, staged = Var(f"{n}_values"), Var(f"{n}_staged")
        fresh = tuple(f"{n}_read{q}" for q in range(vector))
        if vector == 1:
            # Bound first: what is read is chosen from, not whether it is read.
            read: list[Any] = [Let(fresh[0], Get(values, at.expr, source))]
        else:
            read = [GetVector(fresh, values, at.expr, source)]
        inside, zero = (k < slot("steps")).expr, Number(0.0, dtype)
        for q, name in enumerate(fresh):
            number = cast(Var(name), source, dtype)
            number = Call("where", dtype, dtype, (inside, number, zero))
            read.append(Put(staged, (self.number * vector + q).expr, number, dtype))
        return read

    def own(self, row: Index) -> list[Any]:
        """Read the thread's numbers of one step of k, vectors of a row of shared memory."""
        n, lanes, dtype = self.name, self.form.lanes, self.form.sums
        body: list[Any] = []
        for group, offset in enumerate(self.groups):
            fresh = tuple(f"{n}{group}_{q}" for q in range(lanes))
            body.append(GetVector(fresh, Var(f"shared_{n}"), (row + offset).expr, dtype))
            for q, name in enumerate(fresh):
                body.append(Put(Var(f"own_{n}"), Int(group * lanes + q), Var(name), dtype))
        return body

    def keep(self, buffer: Index) -> list[Any]:
        """Write what was read to a buffer of shared memory."""
        vector, sums, names = self.access.vector, self.form.sums, Names()
        shared, staged = Var(f"shared_{self.name}"), Var(f"{self.name}_staged")
        numbers = [Get(staged, (self.number * vector + q).expr, sums) for q in range(vector)]
        line = self.across + self.number * self.stride
        if self.access.along == ALONG_STEPS:
            at = buffer * self.buffer + self.along * (vector * self.pitch) + line
            at = names.let(f"{self.name}_at", at)
            puts = [Put(shared, (at + q * self.pitch).expr, x, sums) for q, x in enumerate(numbers)]
        else:
            at = buffer * self.buffer + line * self.pitch + self.along * vector
            whole = vector > 1
            puts = [PutVector(shared, at.expr, tuple(numbers), sums) if whole
                    else Put(shared, at.expr, numbers[0], sums)]  # fmt: skip
        return [self._each((*names.body, *puts))]
