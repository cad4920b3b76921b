"""The kernel runtime: pointers, Programs, executor, threads."""

import contextlib
import ctypes
import os
import random
import threading

import numpy as np
import pytest
from graphgrad.kernels import abi, cache, codegen, memory, recipes
from graphgrad.kernels import layout as at
from graphgrad.kernels.executor import KernelError, Runner
from graphgrad.kernels.program import Program, ProgramBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import kernel, python, wide_source

from graphgrad.config import config

# ---- abi -----------------------------------------------------------------------------------------


def module_of(source: str, name: str):
    return codegen.kernel_module(recipes.from_source(name, source).function(f"<{name}>"), name)


def test_twelve_operands_vectorise_without_overlap_checks():
    module = module_of(wide_source(12), "wide")
    ir = str(module)
    assert "vector.body" in ir
    assert "memcheck" not in ir
    if "+avx512f" in codegen.host()[1]:
        assert "zmm" in codegen.assembly(module)


@pytest.mark.parametrize("dtype", [name for name in abi.POINTERS if name != "bool"])
def test_every_dtype_loads_stores_and_advances(dtype):
    function = abi.POINTERS[dtype].__name__
    source = (
        f"from graphgrad.kernels.abi import {function}\n\n\n"
        f"def copy_{dtype}(args, start, stop, chunk):\n"
        f"    x = {function}(args, 0) + args[2]\n    y = {function}(args, 1)\n"
        "    for i in range(start, stop):\n        y[i] = x[i]\n"
    )
    name = f"copy_{dtype}"
    x, expected = np.arange(100, dtype=dtype), np.zeros(90, dtype)
    build = ProgramBuilder(1, 1)
    build.call(cache.load_kernel(name, source), [build.input(0), build.output(0), 10], 90)
    compiled = np.zeros(90, dtype)
    Runner(build.program())(x, compiled)
    table = (ctypes.c_int64 * 3)(x.ctypes.data, expected.ctypes.data, 10)
    recipes.from_source(name, source).function(f"<{name}>")(table, 0, 90, 0)
    np.testing.assert_array_equal(compiled, x[10:])
    np.testing.assert_array_equal(expected, x[10:])


def test_a_kernel_calls_another_by_address_with_a_local_table():
    source = (
        "from graphgrad.kernels.abi import address, call, f32, local_table\n\n\n"
        "def twice(args, start, stop, chunk):\n"
        "    x = f32(args, 1)\n    table = local_table(3)\n"
        "    for i in range(start, stop):\n"
        "        table[0] = address(x + i)\n        table[1] = args[2] + 4 * i\n"
        "        table[2] = args[3]\n        call(args[0], table, 0, 1, 0)\n"
    )
    x, y = np.arange(8, dtype="f4"), np.ones(8, "f4")
    build = ProgramBuilder(1, 1)
    slots = [kernel("axpy").address, build.input(0), build.output(0), 3.0]
    build.call(cache.load_kernel("twice", source), slots, 8)
    Runner(build.program())(x, y)
    np.testing.assert_array_equal(y, 1 + 3 * x)


# ---- programs ------------------------------------------------------------------------------------

N = 64


class Emulator:
    """What a Program means, said a second time: rows read from the table, kernels in Python."""

    def __init__(self, program: Program, names: dict[int, str]) -> None:
        self.program, self.functions = program, {a: python(n) for a, n in names.items()}

    def run(self, *arrays: np.ndarray) -> None:
        program = self.program
        arena = np.zeros(program.arena_bytes + 8, np.uint8)
        fixed = [*program.constants, np.zeros(2, np.int64)]
        bases = [a.ctypes.data for a in (arena, *arrays, *fixed)]
        self.args = program.args.copy()
        for slot, base, offset in program.patches:
            self.args[slot] = bases[base] + offset
        self.rows(0, len(program.rows))

    def rows(self, pc: int, end: int) -> None:
        while pc < end:
            opcode, fn, first, extent, grain, aux0, aux1, aux2 = map(int, self.program.rows[pc])
            pc += 1
            if opcode == at.CALL:
                self.chunks(fn, first, extent, grain)
            elif opcode == at.GROUP:
                for t in range(aux0):
                    self.chunks(fn, first + t * aux1, int(self.args[extent + t]), grain)
            elif opcode == at.LOOP:
                before = self.args.copy()
                for _ in range(aux0):
                    self.rows(pc, pc + aux1)
                    for b in range(int(self.args[aux2])):
                        slot, delta = self.args[aux2 + 1 + 2 * b : aux2 + 3 + 2 * b]
                        self.args[slot] += delta
                self.args[:] = before
                pc += aux1
            elif opcode == at.JUMP:
                pc += aux1 - 1
            elif opcode == at.JUMP_IF:
                cell = ctypes.c_uint8.from_address(int(self.args[aux0])).value
                pc += (aux1 - 1) * (cell == aux2)

    def chunks(self, fn: int, first: int, extent: int, grain: int) -> None:
        table = self.args[first:].ctypes.data_as(at.TABLE_TYPE)
        grain = grain or max(extent, 1)
        for c in range(max(1, -(-extent // grain))):
            self.functions[fn](table, c * grain, min(extent, (c + 1) * grain), c)


class RandomProgram:
    """Nested loops, branches and whiles over kernels whose results depend on their order."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.build = ProgramBuilder(inputs=0, outputs=4)
        self.total, self.out, self.parts, self.flags = map(self.build.output, range(4))
        self.counter = 0
        self.block(depth=0, loops=[])
        self.program = self.build.program()

    def block(self, depth: int, loops: list) -> None:
        kinds = ["mix", "spread", "group"] + ["loop", "branch", "while"] * (depth < 3)
        for _ in range(self.random.randint(1, 3)):
            getattr(self, self.random.choice(kinds).replace("while", "while_"))(depth, loops)

    def moved(self, slot, loops: list, delta: int):
        if loops and self.random.random() < 0.7:
            return self.random.choice(loops).move(slot, delta)
        return slot

    def mix(self, depth: int, loops: list) -> None:
        number = self.moved(self.random.randint(0, 99), loops, self.random.randint(-5, 5))
        self.build.call(kernel("mix"), [self.total, number], self.random.randint(0, 9))

    def table(self, first: int, loops: list) -> list:
        out = self.moved(self.out + 8 * first, loops, 8)
        return [out, self.parts + 8 * first, self.random.randint(0, 99)]

    def spread(self, depth: int, loops: list) -> None:
        extent, grain = self.random.randint(1, N), self.random.randint(0, 20)
        self.build.call(kernel("spread"), self.table(0, loops), extent, grain)

    def group(self, depth: int, loops: list) -> None:
        # Tables side by side, so that none writes what another one does at the same time.
        extents = [self.random.randint(0, N // 4) for _ in range(self.random.randint(1, 4))]
        move, number = self.random.choice([None, *loops]), self.random.randint(0, 99)
        tables = []
        for t in range(len(extents)):
            out = self.out + 8 * (N // 2) * t
            moved = move.move(out, 8) if move else out
            tables.append([moved, self.parts + 8 * N * t, number])
        self.build.group(kernel("spread"), tables, extents, self.random.randint(1, 9))

    def loop(self, depth: int, loops: list) -> None:
        with self.build.loop(self.random.randint(0, 3)) as loop:
            self.block(depth + 1, [*loops, loop])

    def tick(self):
        count, flag = self.flags + 16 * self.counter, self.flags + 16 * self.counter + 8
        self.counter += 1
        self.build.call(kernel("tick"), [count, flag, self.random.randint(1, 3)], 1)
        return flag

    def branch(self, depth: int, loops: list) -> None:
        sides = [lambda: self.block(depth + 1, loops)] * self.random.randint(1, 2)
        self.build.branch(self.tick(), *sides)

    def while_(self, depth: int, loops: list) -> None:
        self.build.while_loop(self.tick, lambda: self.block(depth + 1, loops))

    def arrays(self) -> list[np.ndarray]:
        return [np.zeros(n, np.int64) for n in (1, 4 * N, 5 * N, 2 * self.counter + 2)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_programs_do_what_the_table_says(seed):
    made = RandomProgram(seed)
    names = {kernel(name).address: name for name in ("mix", "spread", "tick")}
    runner, emulator = Runner(made.program), Emulator(made.program, names)
    got, expected = made.arrays(), made.arrays()
    for _ in range(2):  # twice: loops leave the slots as they were
        runner(*got)
        emulator.run(*expected)
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def axpy_program(n: int, grain: int) -> Runner:
    build = ProgramBuilder(2, 1)
    slots = [build.input(0), build.output(0), build.input(1)]
    build.call(kernel("axpy"), slots, n, grain)
    return Runner(build.program())


def test_buffers_and_numbers_change_from_call_to_call():
    runner, y = axpy_program(100, 7), np.zeros(100, "f4")
    for scale in (2.0, -3.0):
        x = np.random.default_rng(0).random(100, "f4")
        before = y.copy()
        runner(x, scale, y)
        np.testing.assert_allclose(y, before + scale * x, rtol=1e-6)


def test_values_that_are_no_buffers_are_refused():
    runner, x = axpy_program(4, 4), np.zeros(4, "f4")
    for wrong in ("text", None, np.float64(2), x.view(memory.Block)):
        with pytest.raises(TypeError, match=r"numpy\.ndarray, float or int"):
            runner(x, wrong, x)
    with pytest.raises(OverflowError):
        runner(x, 1 << 70, x)
    runner(x, 1.0, x.copy())


def test_an_error_stops_the_run_and_the_next_run_starts_afresh():
    build = ProgramBuilder(1, 1)
    with build.loop(10) as loop:
        number = loop.move(0, 1)
        build.call(kernel("fail"), [build.error, build.output(0), build.input(0)], 1, name="risky")
        build.call(kernel("mix"), [build.arena(0), number], 1)
    build.arena_bytes = 8
    runner, total = Runner(build.program()), np.zeros(1, np.int64)
    with pytest.raises(KernelError, match="error 7 in risky") as caught:
        runner(4, total)
    assert (caught.value.code, caught.value.row, total[0]) == (7, 1, 5)
    total[0] = 0
    runner(-1, total)
    assert total[0] == 10


def test_host_calls_resume_inside_loops_and_raise_through():
    seen = []

    def host(x, y):
        seen.append(float(x[0]))
        y += x.sum()
        if len(seen) == 99:
            raise ZeroDivisionError

    x, y = np.arange(6, dtype="f4"), np.zeros(2, "f4")
    build = ProgramBuilder(1, 1)
    with build.loop(3) as loop:
        row = loop.move(build.input(0), 8)
        build.host(host, [(row, (2,), np.float32), (build.output(0), (2,), np.float32)])
        build.call(kernel("nothing"), [], 1)
    runner = Runner(build.program())
    runner(x, y)
    assert seen == [0, 2, 4]
    assert y.tolist() == [15, 15]
    seen += [0] * 95
    with pytest.raises(ZeroDivisionError):
        runner(x, y)
    seen.clear()
    runner(x, y)
    assert seen == [0, 2, 4]


def test_scratch_constants_and_reentrant_calls():
    build = ProgramBuilder(0, 1, arena_bytes=100)
    constant = np.full(50, 2, "f4")
    scratch = build.scratch(200)
    build.call(kernel("axpy"), [constant, scratch, 0.0], 50)
    build.call(kernel("axpy"), [constant, build.output(0), 3.0], 50)
    inner = Runner(build.program())
    assert inner.program.arena_bytes >= 300
    y = np.zeros(50, "f4")
    build = ProgramBuilder(0, 0)
    build.host(lambda: inner(y), [])
    outer = Runner(build.program())
    outer()
    build = ProgramBuilder(0, 0)
    build.host(outer, [])
    Runner(build.program())()
    assert (y == 12).all()


def test_listing_and_profile_name_every_row():
    build = ProgramBuilder(2, 1)
    with build.loop(5, name="steps") as loop:
        x = loop.move(build.input(0), 4)
        build.call(kernel("axpy"), [x, build.output(0) + 8, build.input(1)], 10, 4)
    build.group(
        kernel("axpy"), [[build.input(0), build.output(0), 1.0]] * 2, [3, 0], 2, name="both"
    )
    runner = Runner(build.program())
    text = repr(runner.program)
    for part in ("2 launches", "loop   5 trips of rows 1..1", "(input0~4, output0+8, input1)"):
        assert part in text
    x, y, again = np.arange(20, dtype="f4"), np.zeros(20, "f4"), np.zeros(20, "f4")
    timings = runner.profile(x, 2.0, y)
    assert [(t.name, t.runs) for t in timings] == [("steps", 1), ("axpy", 5), ("both", 1)]
    runner(x, 2.0, again)
    np.testing.assert_array_equal(y, again)


def test_mistakes_while_building_are_explained():
    build = ProgramBuilder(1, 0)
    with pytest.raises(IndexError, match="input 1 of a program with 1"):
        build.input(1)
    with pytest.raises(ValueError, match="one length"):
        build.group(kernel("mix"), [[1], [1, 2]], [1, 1], 1)
    build.jump(build.label())
    with pytest.raises(ValueError, match="never placed"):
        build.program()
    Runner(ProgramBuilder(0, 0).program())()


# ---- threads -------------------------------------------------------------------------------------


@contextlib.contextmanager
def team(size: int):
    with config.scope(threads=size):
        yield


def total_after(runner: Runner, size: int, n: int) -> np.ndarray:
    x, y = np.linspace(0, 1, n, dtype="f4"), np.zeros(n, "f4")
    with team(size):
        for _ in range(50):
            runner(x, 0.1, y)
    return y


def test_any_number_of_threads_computes_the_same_bits():
    runner = axpy_program(10_000, 100)
    expected = total_after(runner, 1, 10_000)
    for size in (2, 3, 5):
        np.testing.assert_array_equal(total_after(runner, size, 10_000), expected)


def test_python_threads_run_programs_at_once():
    runner = axpy_program(20_000, 500)
    results = [None] * 4

    def work(k: int) -> None:
        y = np.zeros(20_000, "f4")
        for _ in range(300):
            runner(np.full(20_000, k, "f4"), 1.0, y)
        results[k] = y

    with team(2):
        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for k, y in enumerate(results):
        assert (y == 300 * k).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_runs_on_its_own():
    runner, x, y = axpy_program(5000, 100), np.ones(5000, "f4"), np.zeros(5000, "f4")
    with team(2):
        runner(x, 1.0, y)
        child = os.fork()
        if child == 0:
            runner(x, 2.0, y)
            os._exit(0 if (y == 3).all() else 1)
        _, status = os.waitpid(child, 0)
        assert status == 0
        runner(x, 1.0, y)
    assert (y == 2).all()
