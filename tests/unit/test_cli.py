"""The command line: what it prints, and that its errors are one line."""

from __future__ import annotations

import json
import pathlib

import pytest

import graphgrad
from graphgrad.bench import Row, Table, run
from graphgrad.bench.workloads import GROUPS
from graphgrad.cli import main
from graphgrad.config import config


def test_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"graphgrad {graphgrad.__version__}\n"


def test_cache_clear_deletes_kernels_and_nothing_else(tmp_path: pathlib.Path, capsys):
    key = "0123456789abcdef0123"
    ours = [tmp_path / f"mul_add_{key}.py", tmp_path / f"mul_add_{key}.o"]
    theirs = [tmp_path / "notes.py", tmp_path / "thesis.o"]
    for path in (*ours, *theirs):
        path.write_text("x")
    with config.scope(cache_dir=tmp_path):
        assert main(["cache", "--path"]) == 0
        assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path)
    assert not any(p.exists() for p in ours) and all(p.exists() for p in theirs)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["draw", "nowhere"], "is not of the form module:function"),
        (["draw", "no_such_module:f"], "cannot import 'no_such_module'"),
        (["draw", "math:nothing"], "math has no 'nothing'"),
        (["bench", "--only", "nothing of that name"], "no workload is called"),
        (["bench", "--peers", "abacus"], "unknown peer 'abacus'"),
        (["bench", "--group", "nowhere"], "unknown group 'nowhere'"),
    ],
)
def test_errors_are_one_line(arguments: list[str], message: str, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "Traceback" not in error


def test_draw_writes_a_picture(tmp_path: pathlib.Path, monkeypatch, capsys):
    (tmp_path / "drawn.py").write_text(
        "import graphgrad as gg\n"
        "def loss():\n"
        "    w = gg.ones(3, requires_grad=True)\n"
        "    return (w * 2).sum()\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["draw", "drawn:loss", "-o", "loss.svg"]) == 0
    assert "SumBackward0" in (tmp_path / "loss.svg").read_text()
    assert "loss.svg" in capsys.readouterr().out


def test_draw_traces_a_module_with_examples(tmp_path, monkeypatch, capsys):
    (tmp_path / "drawn_net.py").write_text(
        "import graphgrad as gg\n"
        "net = gg.nn.Sequential(gg.nn.Linear(3, 4), gg.nn.ReLU(), gg.nn.Linear(4, 2))\n"
        "example = (gg.zeros(5, 3),)\n"
    )
    monkeypatch.chdir(tmp_path)
    wish = ["--example", "drawn_net:example", "--depth", "2", "--dims", "N=5", "--theme", "dark"]
    assert main(["draw", "drawn_net:net", "-o", "net.svg", *wish]) == 0
    svg = (tmp_path / "net.svg").read_text()
    assert "N×4" in svg and "prefers-color-scheme" not in svg and ">Linear · N×2" in svg
    assert main(["draw", "drawn_net:net", "-o", "net.svg", *wish[:2], "--dims", "N"]) == 2
    assert "'N' is not of the form NAME=SIZE" in capsys.readouterr().err
    assert main(["draw", "drawn_net:net", "-o", "net.svg"]) == 2
    assert "inputs=(x,)" in capsys.readouterr().err


def test_a_table_shows_times_ratios_and_who_is_absent():
    rows = [
        Row("matmul", {"written": 2e-3, "torch": 1e-3}, {"written": 2e-3}, 2e9, 4e12),
        Row("step", {"written": 4e-5, "compiled": 1e-5, "torch": 5e-5, "torch.compile": 4e-5}),
        Row("call", {"compiled": 1e-6, "torch": 1e-6}),
    ]
    text = str(Table(2, rows, ["jax"]))
    assert text.splitlines()[:5] == [
        "|        | written | compiled | torch | torch.compile | compiled/best | written/torch "
        "| FMA peak |",
        "| ------ | ------: | -------: | ----: | ------------: | ------------: | ------------: "
        "| -------: |",
        "| matmul |    2 ms |        – |  1 ms |             – |             – |          2.00 "
        "|      25% |",
        "| step   |   40 µs |    10 µs | 50 µs |         40 µs |          0.25 |          0.80 "
        "|        – |",
        "| call   |       – |     1 µs |  1 µs |             – |          1.00 |             – "
        "|        – |",
    ]
    assert "geometric mean 0.50 over 2 rows, highest 1.00 (call)" in text
    assert "below 1 graphgrad is faster" in text and "jax is not installed" in text
    record = json.loads(Table(2, rows).json())
    assert record["rows"][1]["seconds"]["compiled"] == 1e-5 and record["geometric_mean"] == 0.5


def test_workloads_run_and_names_are_distinct():
    workloads = [w for group in GROUPS.values() for w in group]
    assert len({w.name for w in workloads}) == len(workloads)
    for workload in workloads:
        if workload.name.startswith(("sin", "own", "call", "gradient")):
            step = workload.build(graphgrad, lambda function: function)
            assert step().shape == step().shape


def test_the_harness_measures_a_small_workload():
    table = run(["call, 1"], peers=(), threads=1)
    assert [row.name for row in table.rows] == ["call, 1 tensor"]
    assert 0 < table.rows[0].seconds["compiled"] < 1


def test_jax_runs_the_same_programs():
    pytest.importorskip("jax")
    from graphgrad.bench.jax_workloads import PROGRAMS

    workloads = [*GROUPS["main"], *GROUPS["other"]]
    assert set(PROGRAMS) >= {w.name for w in workloads}
    small = [w for w in workloads if w.name.startswith(("sin", "own", "MLP", "VAE", "gradient"))]
    for workload in small:
        ours, theirs = workload.build(graphgrad, lambda function: function), PROGRAMS[workload.name]
        step = theirs()
        for _ in range(3):
            assert float(step()) == pytest.approx(ours().item(), rel=1e-5)
