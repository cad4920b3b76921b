"""Programs on disk: the next process runs what this one planned, and never anything else."""

from __future__ import annotations

import functools
import importlib
import os

import numpy as np
import pytest
from graphgrad.kernels import cache, store
from growing import grow

import graphgrad as gg
from graphgrad import choices, dtypes, interpret, ir, lang, nn, optim
from graphgrad.compile import Executable
from graphgrad.config import config
from graphgrad.ir import Graph, node


@pytest.fixture(autouse=True)
def folder(tmp_path):
    forget()
    with config.scope(cache_dir=tmp_path, tier="compiled"):
        yield tmp_path


def floats(*shape):
    return ir.input(shape, dtypes.float32)


def layers(rows=8, power=2.0, name="x"):
    """A few products and what is between them."""
    x, w = ir.input((rows, 16), dtypes.float32, name), floats(16, 16)
    y = x
    for _ in range(4):
        y = node("dot_general", y, w, contract=((1,), (0,)), batch=((), ()))
        y = node("mul", node("tanh", y), node("scalar", value=power, dtype=dtypes.float32))
    return Graph([x, w], [y, node("sum", y, axes=(0,))])


def running(length=6):
    """A loop whose body has a product."""
    h, x, w = floats(3, 16), floats(length, 3, 16), floats(16, 16)
    carry, step, weight = floats(3, 16), floats(3, 16), floats(16, 16)
    y = node("dot_general", carry, weight, contract=((1,), (0,)), batch=((), ()))
    y = node("tanh", node("add", y, step))
    body = Graph([carry, step, weight], [y, y])
    counts = {"carries": 1, "sequences": 1, "length": length, "reverse": False}
    loop = node("scan", h, x, w, body=body, **counts)
    last, rows = (node("result", loop, index=i) for i in range(2))
    many = functools.reduce(lambda y, _: node("exp", node("neg", y)), range(8), rows)
    return Graph([h, x, w], [last, node("add", many, rows)])


def arrays_for(graph):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(x.shape).astype(x.dtype.numpy) for x in graph.inputs]


def longer(y):
    """A graph that is worth keeping."""
    for _ in range(store.WORTHWHILE):
        y = node("exp", y)
    return Graph([x for x in ir.topological([y]) if x.op.name == "input"], [y])


def forget():
    """As a new process begins: no graph has been compiled."""
    importlib.import_module("graphgrad.compile")._memo.clear()
    choices._known.clear()


def planned(executable):
    """Whether the program was planned here, rather than found."""
    assert executable.program
    return executable._plan is not None


@pytest.mark.parametrize("graph", [layers(), running()], ids=["products", "loop"])
def test_a_program_that_was_found_is_the_one_that_was_planned(graph):
    first, second = Executable(graph), Executable(graph)
    arrays = arrays_for(graph)
    expected = interpret.run(graph, arrays)
    built = first(arrays)
    forget()
    found = second(arrays)
    assert planned(first) and not planned(second)
    for right, left, same in zip(expected, built, found, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(left, same)
    assert repr(first.program.program) == repr(second.program.program)
    assert str(first.explain()) == str(second.explain())
    assert first.program.making.row_regions.keys() == second.program.making.row_regions.keys()


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_come_back_as_they_were(seed, monkeypatch):
    monkeypatch.setattr(store, "WORTHWHILE", 0)
    graph, arrays = grow(seed)
    first, second = Executable(graph), Executable(graph)
    planned_here = first(arrays)
    forget()
    for left, right in zip(planned_here, second(arrays), strict=True):
        np.testing.assert_array_equal(left, right)
    assert planned(second) == bool(first.program.program.hosts)


def test_an_output_that_replaces_an_input_does_so_again():
    x, w = floats(64, 64), floats(64, 64)
    y = x
    for _ in range(12):
        y = node("add", node("mul", y, w), w)
    graph = Graph([x, w], [y])
    results = []
    for _ in range(2):
        arrays = arrays_for(graph)
        (result,) = Executable(graph, {0: 0})(arrays)
        assert result is arrays[0]
        results.append(result)
        forget()
    np.testing.assert_array_equal(*results)
    assert planned(Executable(graph)), "without the alias it is another program"
    assert planned(Executable(graph, donated=[0]))


def test_what_decides_a_program_is_in_its_key(monkeypatch):
    def key(graph):
        return store.key_of(graph, {}, ())

    assert key(layers()) == key(layers(name="other"))
    graphs = [layers(), layers(rows=9), layers(power=3.0), layers(power=-0.0), layers(power=0.0)]
    graphs += [running(), running(7)]
    for value in (np.ones(4, "f4"), np.zeros(4, "f4"), np.ones(4, "f8")):
        graphs.append(longer(lang.constant(value)))
    for axes in ({"low": (0,), "high": (1,)}, {"low": (1,), "high": (0,)}):
        graphs.append(longer(node("pad", floats(4), **axes, interior=(0,), value=0)))
    keys = set(map(key, graphs)) | {store.key_of(graphs[0], {}, (), chosen=b"like another size")}
    graphs.append(graphs[0])
    assert None not in keys and len(keys) == len(graphs)
    before = key(layers())
    monkeypatch.setattr(store, "_code", lambda: b"another version")
    assert key(layers()) != before


def test_a_program_with_an_object_in_it_has_no_key():
    graph = longer(floats(4))
    graph.outputs[0].attrs["extra"] = object()
    assert store.key_of(graph, {}, ()) is None


def test_damage_is_planned_again(folder):
    graph = layers()
    arrays = arrays_for(graph)
    expected = Executable(graph)(arrays)
    (path,) = folder.glob("program_*.bin")
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-1] + bytes([whole[-1] ^ 1])):
        path.write_bytes(damaged)
        forget()
        again = Executable(graph)
        for left, right in zip(expected, again(arrays), strict=True):
            np.testing.assert_array_equal(left, right)
        assert planned(again) and path.read_bytes() == whole


def test_a_kernel_that_is_gone_is_compiled_again(folder, monkeypatch):
    graph = layers()
    arrays = arrays_for(graph)
    expected = Executable(graph)(arrays)
    for path in [*folder.glob("*.o"), *folder.glob("*.py")]:
        path.unlink()
    monkeypatch.setattr(cache, "_jobs", {})  # as in a new process
    forget()
    again = Executable(graph)
    for left, right in zip(expected, again(arrays), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not planned(again) and list(folder.glob("*.o"))


def test_an_error_in_a_program_that_was_found_names_the_line():
    def lines(x, at):
        for _ in range(8):
            x = (x * x).cos()
        return x.index_select(0, at)

    x, at = gg.randn(8, 4), gg.tensor([0, 9])
    for _ in range(2):
        with pytest.raises(IndexError, match=r"index 9 is out of .*in gather, test_store.py:\d+"):
            gg.compile(lines)(x, at)
        forget()


def test_only_the_programs_used_last_are_kept(folder, monkeypatch):
    monkeypatch.setattr(store, "LIMIT", 4)
    for age, rows in enumerate(range(3, 8)):
        forget()
        Executable(layers(rows))(arrays_for(layers(rows)))
        for path in folder.glob("program_*.bin"):
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
        if age == 3:
            forget()
            assert not planned(Executable(layers(3))), "used again, the second is now the oldest"
    assert len(list(folder.glob("program_*.bin"))) == 4
    forget()
    assert not planned(Executable(layers(3)))
    forget()
    assert planned(Executable(layers(4)))


def test_training_goes_on_from_a_program_that_was_found():
    def losses():
        gg.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
        optimizer = optim.Adam(model.parameters(), lr=0.1)

        @gg.compile
        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        x, y = gg.randn(8, 8), gg.randint(0, 4, (8,))
        return [step(x, y).item() for _ in range(4)]

    first = losses()
    forget()
    assert losses() == first
    assert first[-1] < first[0]
