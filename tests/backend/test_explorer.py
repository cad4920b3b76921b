"""The explorer's data and file, without a browser; test_explorer_page opens it in one."""

from __future__ import annotations

import json
import pathlib
import re
import time
from typing import Any

import pages
import pytest
from graphgrad.viz.explorer.data import data

import graphgrad as gg
from graphgrad.cli import main
from graphgrad.config import config
from graphgrad.errors import GraphError
from graphgrad.exploring import explore, material


def written(path: pathlib.Path) -> dict[str, Any]:
    """The data that a page holds."""
    text = path.read_text("utf-8")
    (content,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(content)


@pytest.mark.parametrize("name", ["LeNet", "GPT", "ResNet"])
def test_train_steps_take_less_than_ten_seconds_and_three_megabytes(name: str) -> None:
    step = pages.workload(name)
    start = time.perf_counter()
    path = explore(step, pages.FOLDER / f"timed-{name}.html")
    assert time.perf_counter() - start < 30  # on a busy machine; 0.2 to 2 s on an idle one
    assert path.stat().st_size < 3_000_000


@pytest.mark.parametrize("name", ["LeNet", "LSTM", "GPT"])
def test_stages_lead_from_the_traced_graph_to_the_kernels(name: str) -> None:
    found = written(pages.page(name))
    stages = found["stages"]
    assert stages[0]["name"] == "traced" and stages[-1]["name"] == "kernels"
    alive: set[int] = set()
    for stage in stages:
        gone = {row[0] for row in stage.get("gone", ())}
        assert gone <= alive
        now = (alive - gone) | {row[0] for row in stage["set"]}
        made = {row[0] for row in stage.get("made", ())}
        assert not stage.get("made") or made == now - alive
        for _, *operands in stage["set"]:
            assert now.issuperset(operands), stage["name"]
        for _, kind, rules, into in stage.get("gone", ()):
            assert rules and (bool(into) is not (kind == "removed"))
            assert now.issuperset(into)
        alive = now
    homes = {row[0] for row in found["homes"]}
    ops = found["words"]
    inputs = {i for i, row in enumerate(found["nodes"]) if ops[row[0]] == "input"}
    assert alive - inputs <= homes


def test_every_kernel_has_source_or_a_reason() -> None:
    found = written(pages.page("GPT"))
    steps = found["kernels"][: found["steps"]]
    assert len(steps) > 100
    for kernel in steps:
        assert kernel["code"] or kernel["reason"] or kernel["kind"] == "control"
        for code in kernel["code"]:
            text = found["sources"][code["text"]].splitlines()
            assert all(1 <= i <= len(text) for _, *lines in code["lines"] for i in lines)


def test_the_memory_plan_is_the_programs() -> None:
    found = written(pages.page("LeNet"))["memory"]
    report = pages.workload("LeNet").trace().executable.explain().memory
    assert max(found["live"]) == report.peak
    assert found["peak"] == report.step
    assert max(offset + size for _, _, offset, size, *_ in found["bars"]) <= report.arena


def test_equal_programs_give_equal_pages() -> None:
    step = pages.workload("LSTM")
    texts = [explore(step, pages.FOLDER / f"again-{i}.html").read_text() for i in (0, 1)]
    assert texts[0] == texts[1]


def test_measured_times_reach_the_page(tmp_path: pathlib.Path) -> None:
    @gg.compile
    def step(x: Any) -> Any:
        return (x @ x).exp().sum(0)

    step(gg.ones(64, 64))
    profile = gg.profile(step, gg.ones(64, 64))
    found = data(material(step, step.trace(), profile))
    seconds = [k["seconds"] for k in found["kernels"] if k["rows"]]
    assert seconds and all(s > 0 for s in seconds)
    assert sum(seconds) == pytest.approx(sum(row.seconds for row in profile.work))
    assert found["machine"]


def test_retraces_and_guards_are_listed() -> None:
    scale = [2.0]

    @gg.compile
    def step(x: Any) -> Any:
        return x * scale[0]

    step(gg.ones(3))
    scale[0] = 3.0
    step(gg.ones(3))
    found = data(material(step, step.trace()))
    assert len(found["retraces"]) == 1 and "scale" in found["retraces"][0]
    assert found["guards"]


def test_nothing_in_a_name_or_source_ends_its_element() -> None:
    text = pages.page("hostile").read_text("utf-8")
    assert text.count("</script>") == text.count("<script") == 2
    assert pages.HOSTILE not in text
    words = written(pages.page("hostile"))["words"]
    assert any(pages.HOSTILE in word for word in words)


def test_a_program_without_operations_has_a_page() -> None:
    found = written(pages.page("empty"))
    assert found["kernels"] == [] or all(not k["flops"] for k in found["kernels"])
    assert found["memory"]["bars"] == []


def test_paths_that_cannot_be_written(tmp_path: pathlib.Path) -> None:
    step = pages.workload("sin")
    with pytest.raises(GraphError, match="cannot write '/nowhere/at/all"):
        explore(step, "/nowhere/at/all.html")
    with pytest.raises(ValueError, match="end it in"):
        explore(step, tmp_path / "page.pdf")
    with pytest.raises(ValueError, match="never called"):
        explore(gg.compile(lambda x: x), tmp_path / "page.html")


def test_anything_compile_takes_is_explored_with_examples(tmp_path: pathlib.Path) -> None:
    path = explore(gg.nn.Linear(4, 3), tmp_path / "linear.html", gg.ones(2, 4))
    assert "dot_general" in written(path)["words"]


def test_command(tmp_path: pathlib.Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "explored.py").write_text(
        "import graphgrad as gg\n"
        "@gg.compile\n"
        "def step(x=gg.ones(8)):\n"
        "    return x.exp().sum()\n"
        "def eager():\n"
        "    return step(gg.ones(4))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["explore", "explored:step", "-o", "step.html"]) == 0
    assert "written to step.html" in capsys.readouterr().out
    found = written(tmp_path / "step.html")
    assert any(k["seconds"] for k in found["kernels"])
    assert main(["explore", "explored:step", "-o", "step.html", "--no-profile"]) == 0
    assert not any(k["seconds"] for k in written(tmp_path / "step.html")["kernels"])
    assert main(["profile", "explored:step", "--trace", "t.json", "--json", "n.json"]) == 0
    assert "roofline" in capsys.readouterr().out
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert json.loads((tmp_path / "n.json").read_text())["rows"]
    assert main(["explore", "explored:step", "-o", "nowhere/step.html"]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_programs_of_another_device_show_their_kernels(tmp_path: pathlib.Path) -> None:
    with config.scope(cuda="emulate"):
        step = gg.compile(lambda x, w: (x @ w).exp().sum(1))
        args = gg.ones(4, 8, device="cuda"), gg.ones(8, 3, device="cuda")
        step(*args)
        found = written(explore(step, tmp_path / "step.html", *args))
    kernels = found["kernels"][: found["steps"]]
    assert kernels and all(kernel["code"] for kernel in kernels)
    texts = [found["sources"][code["text"]] for k in kernels for code in k["code"]]
    assert any("exp" in text and "def " in text for text in texts)
