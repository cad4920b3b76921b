"""What ``graphgrad bench`` prints of starts, memory and threads."""

from __future__ import annotations

import json

import pytest

from graphgrad.bench.cold import Cold, Start
from graphgrad.bench.cold import Row as ColdRow
from graphgrad.bench.fresh import ImportClock
from graphgrad.bench.memory import Memory
from graphgrad.bench.memory import Row as MemoryRow
from graphgrad.bench.scaling import Row as ScalingRow
from graphgrad.bench.scaling import Scaling, run
from graphgrad.cli import main
from graphgrad.profiler.machine import Machine
from graphgrad.profiler.step import Line, Profile


def test_starts_are_compared_by_process():
    def starts(step, kernels):
        first, second = Start(0.5, 9.0, step, 0.2, kernels), Start(0.5, 9.0, step / 4, 0.2, 0)
        return {"first": first, "second": second}

    rows = [
        ColdRow("net", {"compiled": starts(2.0, 7), "jax": starts(1.0, None)}),
        ColdRow("other net", {"compiled": starts(2.0, 5), "jax": starts(4.0, None)}),
        ColdRow("only ours", {"compiled": starts(2.0, 1)}),
    ]
    table = Cold(1, rows, ["torch.compile"])
    text = str(table)
    # √(2/1 · 2/4), and √(2.5/1.5 · 2.5/4.5)
    assert "compiled ÷ jax, geometric mean: 1.00 step, 0.96 with imports." in text
    assert "Kernels graphgrad compiled: 13." in text and "Kernels graphgrad compiled: 0." in text
    assert "| only ours |             1.8 s |           2 s |                 2.5 s |" in text
    assert "torch.compile is not installed" in text
    assert json.loads(table.json())["rows"][0]["starts"]["jax"]["second"]["step"] == 0.25


def test_imports_are_timed_once_however_deep():
    with ImportClock() as clock:
        import email.mime.multipart
    before = clock.seconds
    import email.mime.text  # noqa: F401

    assert 0 < before < 5 and clock.seconds == before


def test_memory_is_compared_with_the_plan_and_with_pytorch():
    growth = {"compiled": 110_000_000, "torch": 220_000_000}
    since = {"compiled": 120_000_000, "torch": 330_000_000}
    text = str(Memory(1, [MemoryRow("net", growth, since, 100_000_000)], []))
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")[1:-1]]
    megabytes = ["110.0 MB", "220.0 MB", "100.0 MB", "1.10", "120.0 MB", "330.0 MB"]
    assert cells == ["net", *megabytes]
    alone = str(Memory(1, [MemoryRow("net", {"compiled": 5}, {"compiled": 5}, 5)], ["torch"]))
    assert "| torch" not in alone and "torch is not installed" in alone


def test_scaling_is_time_over_time():
    rows = [ScalingRow("net", {"compiled": {1: 0.2, 2: 0.1}, "torch": {1: 0.3, 2: 0.2}})]
    assert "|      200 ms |      100 ms |  2.00× |" in str(Scaling(2, rows))
    with pytest.raises(ValueError, match="one thread"):
        run(["sin"], threads=1)


def test_a_profile_sums_rows_of_one_kernel():
    machine = Machine(1, flops=1e9, bandwidth=1e9)
    rows = [
        Line("add", "float32[2]", 1, 0.2, 0, 100_000_000, 0.1),
        Line("dot", "float32[2]", 3, 0.6, 300_000_000, 0, 0.3),
        Line("add", "float32[3]", 1, 0.2, 0, 100_000_000, 0.1),
    ]
    lines = str(Profile("net", machine, 0.9, rows)).splitlines()
    assert lines[0].startswith("net: 900 ms a step")
    numbers = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[4:7]]
    assert numbers == [
        ["dot", "3", "600 ms", "60.0%", "0.5", "–", "50%"],
        ["add", "2", "400 ms", "40.0%", "–", "0.5", "50%"],
        ["all rows", "", "1 s", "100.0%", "0.3", "0.2", "50%"],
    ]


def test_measurements_exclude_each_other(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--cold", "--memory"])
    assert "not allowed with" in capsys.readouterr().err
