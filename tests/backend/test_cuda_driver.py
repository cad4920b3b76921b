"""Programs as launches: GpuDriver, graphs, staging and errors, over a GPU that is not there.

``fake_cuda`` stands for cuda.core: kernels compute on the CPU, queues are as lazy as they may be.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pathlib

import numpy as np
import pytest
from graphgrad.kernels.cuda.driver import OutOfMemoryError, driver
from graphgrad.kernels.cuda.memory import empty, from_host
from graphgrad.kernels.cuda.runner import MOST_GRAPHS, MOST_PLACES

import graphgrad as gg
from graphgrad import dtypes, interpret, ir, lang
from graphgrad.compile import compile_graph
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.ir import Graph, node
from graphgrad.tensor.core import wrap
from tests.backend import fake_cuda

CUDA = device("cuda", 0)
F = dtypes.float32


@pytest.fixture(autouse=True)
def gpu():
    with fake_cuda.installed(fake_cuda.fake_driver()) as made:
        yield made


def kinds() -> list[str]:
    """What was recorded since the last look, without memory and waiting."""
    names = [entry[0] for entry in fake_cuda.log]
    fake_cuda.log.clear()
    return [n for n in names if n in ("launch", "capture", "graph", "update")]


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def cuda(x: np.ndarray):
    return wrap(from_host(x, CUDA))


def host(x) -> np.ndarray:
    return x._array.host()


def chain() -> tuple[Graph, list[np.ndarray]]:
    """A sum along rows and what is divided by it: two regions where they cannot be one."""
    x, b = ir.input((40, 70), F), ir.input((70,), F)
    y = node("exp", node("add", x, b))
    total = node("sum", y, axes=(0,))
    return Graph([x, b], [node("div", y, total), total]), [random(40, 70), random(70)]


def run(executable, arrays):
    return [y.host() for y in executable([from_host(x, CUDA) for x in arrays])]


# ---- one program ---------------------------------------------------------------------------------


def test_launches_then_a_graph_give_the_bits_of_the_emulator():
    graph, arrays = chain()
    executable = compile_graph(graph, device=CUDA)
    with config.scope(cuda="emulate"):
        expected = run(compile_graph(graph, device=CUDA), arrays)
    for y, right in zip(expected, interpret.run(graph, arrays), strict=True):
        np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-5)
    placed = [from_host(x, CUDA) for x in arrays]
    seen = []
    for _ in range(4):
        results = executable(placed)
        assert all(np.array_equal(y.host(), e) for y, e in zip(results, expected, strict=True))
        del results
        seen.append(kinds())
    launches = executable.program.program.launches
    assert seen[0] == ["launch"] * launches
    assert seen[1:] == [["capture", "graph"], ["graph"], ["graph"]]


def test_modules_are_loaded_once_and_before_the_capture():
    graph, arrays = chain()
    executable = compile_graph(graph, device=CUDA)
    run(executable, arrays)
    loads = [entry for entry in fake_cuda.log if entry[0] == "load"]
    assert len(loads) == len(executable.explain().kernels)
    fake_cuda.log.clear()
    run(executable, arrays), run(executable, arrays)
    assert not [entry for entry in fake_cuda.log if entry[0] == "load"]


def test_buffers_that_move_get_a_place_of_their_own():
    graph, arrays = chain()
    executable = compile_graph(graph, device=CUDA)
    right = interpret.run(graph, arrays)
    kept = []
    for i in range(3 * MOST_PLACES):
        placed = [from_host(x + 0 * i, CUDA) for x in arrays]
        results = executable(placed)
        for y, expected in zip(results, right, strict=True):
            np.testing.assert_allclose(y.host(), expected, rtol=1e-5, atol=1e-5)
        kept += [*placed, *results]  # so that no address comes again
    made = kinds()
    assert made[-1] == "graph" and made.count("capture") == MOST_GRAPHS
    # Once every buffer has its place, one graph serves all.
    assert made[-MOST_PLACES:].count("update") <= 1
    for y in kept[2::4]:
        np.testing.assert_allclose(y.host(), right[0], rtol=1e-5, atol=1e-5)


def test_memory_of_others_that_is_not_aligned_is_copied():
    x = ir.input((64,), F)
    executable = compile_graph(Graph([x], [node("mul", x, lang.full((64,), 3.0, F))]), device=CUDA)
    wide = from_host(random(80), CUDA)
    (y,) = executable([wide.view((64,), (4,), 4)])
    np.testing.assert_array_equal(y.host(), wide.host()[1:65] * np.float32(3))
    assert wide.pointer % 16 == 0


def test_a_program_writes_over_its_input():
    x, g = ir.input((33,), F), ir.input((33,), F)
    executable = compile_graph(Graph([x, g], [node("sub", x, g)]), {0: 0}, device=CUDA)
    values, step = random(33), random(33)[::-1].copy()
    placed, rest = from_host(values, CUDA), from_host(step, CUDA)
    for _ in range(5):
        (out,) = executable([placed, rest])
        assert out is placed
        values = values - step
        np.testing.assert_array_equal(placed.host(), values)


def test_a_program_without_rows():
    x = ir.input((4,), F)
    executable = compile_graph(Graph([x], []), device=CUDA)
    assert executable([from_host(random(4), CUDA)]) == []


# ---- numbers, errors -----------------------------------------------------------------------------


def test_numbers_reach_a_device_that_is_calls_behind():
    x, lr = ir.input((8,), F), ir.input((), F, "lr", "scalar")
    scaled = node("sub", x, node("mul", x, node("expand", lr, shape=(8,))))
    executable = compile_graph(Graph([lr, x], [scaled]), {0: 1}, device=CUDA)
    values, placed, cell = random(8), from_host(random(8), CUDA), np.zeros((), np.float32)
    for i in range(40):
        cell[()] = 0.01 * (i // 3)
        executable([cell, placed])
        values = values - values * cell
    np.testing.assert_allclose(placed.host(), values, rtol=1e-6)
    copies = [entry for entry in fake_cuda.log if entry == ("copy", 16)]
    assert len(copies) == 14  # none where the number stayed


def test_an_index_out_of_range_is_an_error_with_the_users_line():
    look_up = gg.compile(lambda table, index: gg.nn.functional.embedding(index, table) * 2)
    rows, good, bad = random(5, 3), np.array([0, 4, 2, 1]), np.array([0, 4, 9, 1])
    for _ in range(2):  # launched, then as a graph
        np.testing.assert_array_equal(host(look_up(cuda(rows), cuda(good))), 2 * rows[good])
        with pytest.raises(IndexError, match=r"9[\s\S]*test_cuda_driver.py"):
            look_up(cuda(rows), cuda(bad))
    np.testing.assert_array_equal(host(look_up(cuda(rows), cuda(good))), 2 * rows[good])


def training(optimizer_of):
    """A compiled step over an embedding, and a function that reads all it may change."""
    gg.manual_seed(0)
    table, head = gg.nn.Embedding(6, 4).cuda(), gg.nn.Linear(4, 3).cuda()
    parameters = [*table.parameters(), *head.parameters()]
    optimizer = optimizer_of(parameters)

    @gg.compile
    def step(index, labels):
        optimizer.zero_grad()
        loss = gg.nn.functional.cross_entropy(head(table(index)), labels)
        loss.backward()
        optimizer.step()
        return loss

    def state():
        kept = [v for s in optimizer.state.values() for v in s.values() if isinstance(v, gg.Tensor)]
        return [x.detach().cpu().numpy().copy() for x in (*parameters, *kept)]

    return step, state


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: gg.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: gg.optim.Adam(p, lr=0.1),
    ],
)
@pytest.mark.parametrize("bad", ["index", "labels"])
def test_a_bad_index_leaves_parameters_and_state_as_they_were(bad: str, optimizer):
    step, state = training(optimizer)
    good = {"index": np.array([0, 5, 2, 1]), "labels": np.array([0, 2, 1, 1])}
    wrong = good | {bad: np.array([0, 2, 11, 1])}
    step(*map(cuda, good.values()))
    for _ in range(3):  # launched, then as graphs
        before = state()
        with pytest.raises(IndexError):
            step(*map(cuda, wrong.values()))
        for x, y in zip(before, state(), strict=True):
            np.testing.assert_array_equal(x, y)
        loss = step(*map(cuda, good.values()))
        assert np.isfinite(loss.item())
        assert any((x != y).any() for x, y in zip(before, state(), strict=True))


def test_the_host_waits_only_for_what_can_fail():
    step, _ = training(lambda p: gg.optim.SGD(p, lr=0.1))
    batch = [cuda(np.array([0, 5, 2, 1])), cuda(np.array([0, 2, 1, 1]))]
    for _ in range(4):
        fake_cuda.log.clear()
        loss = step(*batch)
    made = [entry[0] for entry in fake_cuda.log if entry[0] in ("graph", "sync")]
    assert made == ["graph", "sync", "graph"]
    before, after = (entry[1] for entry in fake_cuda.log if entry[0] == "graph")
    assert before > 1 and after > 1 and np.isfinite(loss.item())


def test_too_much_memory_says_how_much():
    held = empty((1 << 23,), np.dtype("float32"), CUDA)
    del held  # kept for the next who asks, and given back for one who asks for another size
    again = empty((3 << 22,), np.dtype("float32"), CUDA)
    with pytest.raises(OutOfMemoryError, match=r"Tried to allocate 67,108,864 bytes on cuda:0"):
        empty((1 << 24,), np.dtype("float32"), CUDA)
    assert again.size == 3 << 22


def test_a_device_that_is_not_there():
    with pytest.raises(RuntimeError, match="invalid device ordinal 1 of 1"):
        from_host(random(2), device("cuda", 1))


# ---- control flow, host calls --------------------------------------------------------------------


def compiled(function, *arrays: np.ndarray):
    """A function compiled on the CPU and on the device, three calls each; results compared."""
    on_cpu, on_gpu = gg.compile(function), gg.compile(function)
    expected = on_cpu(*map(gg.tensor, arrays))
    for _ in range(3):
        result = on_gpu(*map(cuda, arrays))
        np.testing.assert_allclose(host(result), expected._array, rtol=1e-5, atol=1e-6)
    return on_gpu


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_is_unrolled_into_one_graph(reverse: bool):
    def cumulative(x, h):
        def step(carry, row):
            new = (carry * 0.5 + row).tanh()
            return new, new + 1

        return gg.scan(step, h, x, reverse=reverse)[1]

    compiled(cumulative, random(6, 17), random(17))
    made = kinds()
    assert made.count("graph") == 2 and made.count("capture") <= 2


def test_loops_inside_loops_come_by_again():
    def nested(x, h):
        def inner(carry, row):
            return carry + row.sin(), carry

        def outer(carry, rows):
            last, seen = gg.scan(inner, carry, rows)
            return last, seen.sum(0)

        return gg.scan(outer, h, x)[1]

    compiled(nested, random(3, 4, 5), random(5))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_branch_asks_the_device(sign: int):
    def branch(x):
        return gg.cond(x.sum() > 0, lambda x: x * 2, lambda x: x.exp(), (x,))

    compiled(branch, sign * np.abs(random(9)))
    made = kinds()
    # Launched one by one once; then what is before the question and the branch are a graph each.
    assert made.count("graph") == 4 and "launch" not in made[made.index("graph") :]


def test_both_branches_are_captured_when_they_come():
    def branch(x):
        return gg.cond(x.sum() > 0, lambda x: x * 2, lambda x: x.exp(), (x,))

    on_gpu, ones = gg.compile(branch), np.ones(9, np.float32)
    for sign in (1, -1, 1, -1, -1, 1):
        expected = 2 * ones if sign > 0 else np.exp(-ones)
        np.testing.assert_allclose(host(on_gpu(cuda(sign * ones))), expected, rtol=1e-6)


def test_a_question_inside_of_a_loop():
    def alternate(x, h):
        def step(carry, row):
            new = gg.cond(row.sum() > 0, lambda c, r: c + r, lambda c, r: c * r, (carry, row))
            return new, new

        return gg.scan(step, h, x)[1]

    compiled(alternate, random(5, 3), random(3))
    assert "graph" in kinds()


def test_a_while_loop_asks_at_every_turn():
    def halve(x):
        return gg.while_loop(lambda x: x.abs().amax() > 0.1, lambda x: (x / 2,), (x,))[0]

    compiled(halve, random(7))
    made = kinds()
    assert "launch" not in made[made.index("graph") :]


def test_what_numpy_computes_is_copied_there_and_back():
    function = gg.compile(lambda a, b: gg.linalg.solve(a, b) * 2)
    a, b = random(4, 4) + 5 * np.eye(4, dtype=np.float32), random(4, 2)
    for _ in range(2):
        result = host(function(cuda(a), cuda(b)))
        np.testing.assert_allclose(result, 2 * np.linalg.solve(a, b), rtol=1e-4)
    assert kinds()[-1] == "graph"  # what comes after it, the second time


# ---- streams -------------------------------------------------------------------------------------


def test_a_program_on_another_stream_comes_after_its_last_call():
    graph, arrays = chain()
    executable = compile_graph(graph, device=CUDA)
    placed = [from_host(x, CUDA) for x in arrays]
    first = executable(placed)
    with gg.cuda.stream(gg.cuda.Stream()):
        second = executable(placed)
        gg.cuda.current_stream().synchronize()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.host(), b.host())


def test_events_and_streams_know_when_they_are_done():
    stream = gg.cuda.Stream()
    with gg.cuda.stream(stream):
        x = from_host(random(4), CUDA)
        start, end = gg.cuda.Event(enable_timing=True), gg.cuda.Event(enable_timing=True)
        start.record()
        x.copy()
        end.record()
        assert not end.query() and not stream.query()
    gg.cuda.default_stream().wait_event(end)
    end.synchronize()
    assert end.query() and start.elapsed_time(end) > 0
    stream.synchronize()
    assert stream.query()


def test_pinned_memory_is_plain_and_kept():
    page = driver().pinned(64)
    assert type(page) is np.ndarray and page.shape == (64,)
    view = page.view(np.float32)
    del page
    view[:] = 3
    x = from_host(view, CUDA, wait=False)
    view[:] = 4  # read when the copy runs
    assert (x.host() == 4).all()


# ---- the fake is like what it stands for ---------------------------------------------------------

NAMES = {
    "_device.pyi": {"Device": ["set_current", "create_stream", "create_event"]},
    "_stream.pyi": {"Stream": ["sync", "wait", "record"]},
    "_event.pyi": {"Event": ["sync"]},
    "_module.pyi": {"ObjectCode": ["from_cubin", "get_kernel"]},
    "graph/_graph_builder.pyi": {
        "GraphBuilder": ["begin_building", "end_building", "complete", "close"],
        "Graph": ["launch", "update"],
    },
}
TWINS = {"GraphBuilder": "Builder"}


def stubs() -> pathlib.Path | None:
    """Where cuda.core's signatures lie, if it is installed."""
    spec = importlib.util.find_spec("cuda.core") if importlib.util.find_spec("cuda") else None
    if spec is None or spec.origin is None:
        return None
    folder = pathlib.Path(spec.origin).parent
    return next((p.parent for p in sorted(folder.glob("**/_device.pyi"))), None)


@pytest.mark.skipif(stubs() is None, reason="cuda-core is not installed")
@pytest.mark.parametrize("file", NAMES)
def test_the_fake_has_cuda_cores_signatures(file: str):
    tree = ast.parse((stubs() / file).read_text())
    classes = {x.name: x for x in ast.walk(tree) if isinstance(x, ast.ClassDef)}
    for name, methods in NAMES[file].items():
        body = {x.name: x for x in classes[name].body if isinstance(x, ast.FunctionDef)}
        ours = getattr(fake_cuda, TWINS.get(name, name))
        for method in methods:
            theirs = [a.arg for a in (*body[method].args.args, *body[method].args.kwonlyargs)]
            mine = list(inspect.signature(getattr(ours, method)).parameters)
            assert [a for a in theirs if a != "self"] == [a for a in mine if a != "self"], method


@pytest.mark.skipif(stubs() is None, reason="cuda-core is not installed")
def test_cuda_core_takes_our_arguments():
    """What needs no driver: launch configurations, options, and packing of kernel arguments."""
    from cuda import core
    from cuda.core._kernel_arg_handler import ParamHolder
    from graphgrad.kernels.cuda.flatten import ARGUMENTS

    config = core.LaunchConfig(grid=70000, block=256)
    assert tuple(config.grid) == (70000, 1, 1) and tuple(config.block) == (256, 1, 1)
    core.EventOptions(timing_enabled=True, blocking_sync=False)
    core.StreamOptions(nonblocking=True, priority=-1)
    arguments = tuple(convert(5) for convert in ARGUMENTS.values())
    assert ParamHolder(arguments).ptr
    for name in ("launch", "Device", "ObjectCode", "Stream", "LegacyPinnedMemoryResource"):
        assert hasattr(core, name)


# ---- strided copies ------------------------------------------------------------------------------

SHAPES = [(5, 6, 7), (1, 8), (3, 1, 4, 2), (12,)]
TAKES = [
    lambda x: x.T,
    lambda x: x[::-1],
    lambda x: x[..., ::2],
    lambda x: x[..., None, :].swapaxes(-1, 0),
    lambda x: np.broadcast_to(x, (3, *x.shape)),
]


@pytest.mark.parametrize(
    "dtype", ["uint8", "float16", "float32", "int64", "complex64", "complex128"]
)
@pytest.mark.parametrize("take", TAKES)
def test_strided_copies(take, dtype: str):
    for shape in SHAPES:
        x = np.arange(np.prod(shape)).astype(dtype).reshape(shape)
        seen = take(x)
        whole = from_host(x, CUDA)
        offset = seen.__array_interface__["data"][0] - x.__array_interface__["data"][0]
        view = whole.view(seen.shape, seen.strides, offset)
        np.testing.assert_array_equal(view.copy().host(), seen)
        if 0 in seen.strides:
            continue
        view.copy_(from_host(np.ascontiguousarray(seen + seen), CUDA))
        expected = x.copy()
        take(expected)[...] = seen + seen
        np.testing.assert_array_equal(whole.host(), expected)


def test_a_strided_copy_of_something_huge_counts_in_64_bits():
    from graphgrad.kernels.cuda.strided import copy_kernel, joined

    assert copy_kernel(2, 4, True).parameters[2:] == ("i64",) * 7
    assert copy_kernel(2, 4, False).parameters[2:] == ("i32",) * 7
    assert joined([(4, 30, 15), (1, 9, 9), (3, 10, 5), (2, 5, 1)]) == ((12, 10, 5), (2, 5, 1))
