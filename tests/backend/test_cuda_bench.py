"""``graphgrad bench --device cuda``: without a GPU, on the emulator, and over a stand-in for one.

What only a card can show is marked ``gpu``: shares of its bandwidth, what a replayed step costs.
"""

from __future__ import annotations

import json
import math

import pytest

import graphgrad as gg
from graphgrad.bench import cuda, cuda_card, cuda_report
from graphgrad.bench.cuda_workloads import EXPECTED_SHARE, memory_rows, placed, product_rows, rows
from graphgrad.bench.workload import Workload
from graphgrad.bench.workloads import MAIN
from graphgrad.cli import main
from graphgrad.config import config
from tests.backend import fake_cuda


def with_a_gpu() -> bool:
    with config.scope(cuda="auto"):
        return gg.cuda.is_available()


needs_a_gpu = pytest.mark.skipif(not with_a_gpu(), reason="there is no GPU")


@pytest.mark.skipif(with_a_gpu(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_what_is_missing(capsys) -> None:
    assert main(["bench", "--device", "cuda", "--check"]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "no CUDA" in said[0] and "emulate" in said[0]


def test_the_emulator_checks_and_times_nothing(tmp_path, capsys) -> None:
    path = tmp_path / "card.json"
    with config.scope(cuda="emulate"):
        chosen = ["softmax", "sums of columns", "sin", "embedding"]
        command = ["bench", "--device", "cuda", "--check", "--json", str(path), "--only", *chosen]
        assert main(command) == 0
    record = json.loads(path.read_text())
    assert record["agrees"] and len(record["checks"]) == 5 and record["rows"] == []
    assert record["timings"] == "the emulator's, meaningless" and record["card"]["emulated"]
    assert all(check["difference"] < 1e-5 for check in record["checks"])
    assert "5 of 5 workloads agree with the CPU" in capsys.readouterr().out


def test_a_wrong_result_and_an_error_are_found_and_do_not_hide_the_rest(capsys) -> None:
    def where(t):
        return "here" if t is gg else "there"

    def build(wrong, error):
        def make(t, compile):
            value = t.from_numpy(cuda.np.ones(3, "float32"))
            factor = wrong if where(t) == "there" else 1.0
            if error and where(t) == "there":
                raise NotImplementedError("no CUDA kernel computes this")
            return lambda: value * factor

        return make

    with config.scope(cuda="emulate"):
        right = cuda.checked(Workload("right", build(1.0, False)))
        wrong = cuda.checked(Workload("wrong", build(1.001, False)))
        broken = cuda.checked(Workload("broken", build(1.0, True)))
        nan = cuda.checked(Workload("nan", build(math.nan, False)))
    assert [c.agrees for c in (right, wrong, broken, nan)] == [True, False, False, False]
    assert "no CUDA kernel computes this" in str(broken) and wrong.difference > 9e-4


def test_measuring_over_a_stand_in(monkeypatch) -> None:
    """Every line of the timing path, with times that mean nothing."""
    monkeypatch.setattr(cuda_card, "COPIED", 1 << 16)
    monkeypatch.setattr(cuda_card, "SIDE", 64)
    monkeypatch.setattr(cuda, "ROUNDS", 2)
    monkeypatch.setattr(cuda, "BLOCK_SECONDS", 1e-3)
    monkeypatch.setattr(cuda, "_has_torch", lambda: False)
    monkeypatch.setattr(cuda_card.importlib.util, "find_spec", lambda name: None)
    few = [*memory_rows(1 << 14)[:3], product_rows(64)[0], MAIN[0]]
    monkeypatch.setattr(cuda, "rows", lambda: few)
    with fake_cuda.installed(fake_cuda.fake_driver()):
        found = cuda.run(only=["x", "sum", "matmul", "sin"])
    assert found.card.copy_bandwidth > 0 and found.card.matmul_rate > 0
    assert [row.name for row in found.rows] == [w.name for w in few]
    for row in found.rows:
        assert set(row.seconds) == {"written", "compiled"} and max(row.apart.values()) < 1e-4
    assert found.rows[0].bandwidth() > 0 and found.rows[3].rate() > 0
    text = str(found)
    assert "of copy" in text and "torch.compile is not installed for CUDA" in text
    assert len(json.loads(found.json())["rows"]) == len(few)


def test_bytes_and_operations_are_those_of_the_shapes() -> None:
    (scaled, *_), side = memory_rows(1 << 16), 256
    assert scaled.nbytes == 2 * 4 * side * side
    assert product_rows(512)[0].flops == 2 * 512**3
    names = [w.name for w in rows()]
    assert len(set(names)) == len(names) and "ResNet-18, SGD" in names


def test_names_that_match_nothing_and_options_that_do_not_go_together(capsys) -> None:
    with config.scope(cuda="emulate"):
        assert main(["bench", "--device", "cuda", "--check", "--only", "nothing"]) == 2
        assert "no workload is called" in capsys.readouterr().err
        assert main(["bench", "--device", "cuda", "--memory"]) == 2
        assert main(["bench", "--device", "cuda", "--peers", "jax,numpy"]) == 0  # nothing is timed


# ---- what only a card can show -------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_the_card() -> cuda_report.Run:
    with config.scope(cuda="auto"):
        return cuda.run(check=True)


@pytest.mark.gpu
@needs_a_gpu
def test_everything_agrees_with_the_cpu(on_the_card) -> None:
    assert on_the_card.agrees, "\n".join(map(str, on_the_card.checks))


@pytest.mark.gpu
@needs_a_gpu
def test_lines_bound_by_memory_reach_most_of_a_copy(on_the_card) -> None:
    copy = on_the_card.card.copy_bandwidth
    shares = {r.name: r.bandwidth() / copy for r in on_the_card.rows if r.nbytes}
    assert min(shares.values()) >= EXPECTED_SHARE, shares


@pytest.mark.gpu
@needs_a_gpu
def test_a_replayed_lenet_step_costs_less_than_100_microseconds(on_the_card) -> None:
    (row,) = (r for r in on_the_card.rows if "LeNet" in r.name)
    assert row.seconds["compiled"] < 100e-6


@pytest.mark.gpu
@needs_a_gpu
def test_training_steps_beat_pytorch_as_written(on_the_card) -> None:
    steps = {r.name: r.seconds for r in on_the_card.rows if not (r.nbytes or r.flops)}
    if "torch" not in next(iter(steps.values())):
        pytest.skip("PyTorch is not installed for CUDA")
    ratios = {name: s["compiled"] / s["torch"] for name, s in steps.items()}
    assert max(ratios.values()) < 1, ratios


@pytest.mark.gpu
@needs_a_gpu
def test_the_same_lines_run_in_pytorch() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch is not installed for CUDA")
    step = placed(memory_rows(1 << 16)[0]).build(torch, lambda function: function)
    assert step().is_cuda
