"""gg.profile, the Chrome trace, and the profiler with PyTorch's names."""

from __future__ import annotations

import json
import pathlib
import threading
from typing import Any

import pytest

import graphgrad as gg
from graphgrad import nn, profiler
from graphgrad.config import config
from graphgrad.errors import GraphError
from graphgrad.profiler.trace import Span, chrome_trace


def training_step() -> Any:
    model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    optimizer = gg.optim.SGD(model.parameters(), lr=0.1)

    @gg.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def batch() -> tuple[Any, Any]:
    return gg.randn(8, 20), gg.randint(0, 4, (8,))


def test_profile_times_every_kernel_of_a_function() -> None:
    step, (x, y) = training_step(), batch()
    found = gg.profile(step, x, y, repeats=3)
    compiled = step.trace(x, y).executable.program
    assert [row.row for row in found.work] == list(range(len(compiled.program.rows)))
    # Forward, and the gradients of both weights and of the hidden values.
    assert sum(row.flops for row in found.rows) > 2 * 8 * (2 * 20 * 30 + 3 * 30 * 4)
    assert all(row.seconds > 0 for row in found.rows)
    assert str(found).startswith("step: ")
    assert "roofline" in str(found) and "test_profiler.py:" in found.by_row()


def test_a_profile_runs_the_function_as_often_as_it_says() -> None:
    calls = gg.zeros(1)

    @gg.compile
    def count() -> None:
        calls.add_(1)

    gg.profile(count, repeats=2, warm_up=4)
    assert calls.item() == 4 + 2 * 2


def test_what_is_not_compiled_yet_is_compiled() -> None:
    found = gg.profile(nn.Linear(4, 3), gg.ones(2, 4), repeats=1)
    assert found.rows


def test_profiles_need_kernels() -> None:
    with config.scope(tier="interpret"), pytest.raises(ValueError, match="'interpret'"):
        gg.profile(lambda x: x.exp(), gg.ones(3))
    with pytest.raises(ValueError, match="must be positive"):
        gg.profile(lambda x: x.exp(), gg.ones(3), repeats=0)


def checked(text: str) -> list[dict[str, Any]]:
    """The complete events of a trace, which is what the format's description asks for."""
    trace = json.loads(text)
    assert trace["displayTimeUnit"] in ("ms", "ns")
    complete = []
    for event in trace["traceEvents"]:
        assert event["ph"] in ("X", "M")
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
        else:
            assert event["ts"] >= 0 and event["dur"] >= 0
            assert isinstance(event["cat"], str) and isinstance(event["args"], dict)
            complete.append(event)
    threads = {e["tid"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert {e["tid"] for e in complete} <= threads
    return complete


def test_a_call_is_a_chrome_trace(tmp_path: pathlib.Path) -> None:
    step, (x, y) = training_step(), batch()
    found = gg.profile(step, x, y, repeats=1)
    found.export_chrome_trace(tmp_path / "step.json")
    events = checked((tmp_path / "step.json").read_text())
    assert [e["args"]["row"] for e in events] == [row.row for row in found.work]
    ends = [e["ts"] + e["dur"] for e in events]
    assert all(end <= e["ts"] + 1e-2 for end, e in zip(ends, events[1:], strict=False))
    with pytest.raises(GraphError, match="cannot write"):
        found.export_chrome_trace(tmp_path / "nowhere" / "step.json")


def test_a_loop_has_a_span_for_each_of_its_turns() -> None:
    @gg.compile
    def states(xs: Any) -> Any:
        return gg.scan(lambda h, x: (gg.tanh(h * 0.5 + x), h), gg.zeros(4), xs)[1]

    found = gg.profile(states, gg.randn(12, 4), repeats=1)
    events = checked(found.chrome_trace())
    inner = next(row for row in found.work if row.runs == 12)
    assert sum(e["args"]["row"] == inner.row for e in events) == 12


def test_names_are_json_whatever_they_hold() -> None:
    span = Span('a "quoted" </name>\n\u2028', 1.0, 1.5, "user", {"why": "日本"}, thread=7)
    (event,) = checked(chrome_trace([span], "x\\y"))
    assert event["name"] == span.name and event["dur"] == 5e5 and event["args"] == {"why": "日本"}
    assert checked(chrome_trace([], "nothing")) == []


# ---- torch.profiler's names -------------------------------------------------------------------


def test_kernels_and_recorded_functions_are_averaged(tmp_path: pathlib.Path) -> None:
    step, data = training_step(), batch()
    step(*data)
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as prof:
        for _ in range(3):
            with profiler.record_function("training"):
                step(*data)
    averages = {row.key: row for row in prof.key_averages()}
    assert averages["training"].count == 3
    kernels = [row for key, row in averages.items() if key != "training"]
    assert kernels and all(row.count % 3 == 0 for row in kernels)
    assert sum(row.cpu_time_total for row in kernels) <= averages["training"].cpu_time_total
    table = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=2)
    assert len(table.splitlines()) == 4 and "training" in table
    with pytest.raises(ValueError, match="sort_by='beauty'"):
        prof.key_averages().table(sort_by="beauty")
    prof.export_chrome_trace(tmp_path / "trace.json")
    assert len(checked((tmp_path / "trace.json").read_text())) == len(prof.events())


def test_results_are_the_same_and_nothing_is_heard_afterwards() -> None:
    from graphgrad.kernels.executor import Runner

    call = Runner.__call__
    double = gg.compile(lambda x: x * 2.0 + 1.0)
    before = double(gg.arange(5.0))
    with profiler.profile() as prof:
        inside = double(gg.arange(5.0))
    heard = len(prof.events())
    assert heard and (before == inside).all()
    assert (double(gg.arange(5.0)) == before).all()
    assert len(prof.events()) == heard and Runner.__call__ is call


def test_an_error_inside_ends_the_recording() -> None:
    from graphgrad.kernels.executor import Runner

    call = Runner.__call__
    with pytest.raises(ZeroDivisionError), profiler.profile():
        raise ZeroDivisionError
    assert Runner.__call__ is call


def test_other_threads_are_heard() -> None:
    double = gg.compile(lambda x: x * 2.0 + 1.0)
    double(gg.arange(5.0))
    with profiler.profile() as prof:
        threads = [threading.Thread(target=double, args=(gg.arange(5.0),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(prof.events()) == 3


def test_a_schedule_records_some_steps(tmp_path: pathlib.Path) -> None:
    double = gg.compile(lambda x: x * 2.0 + 1.0)
    double(gg.arange(5.0))
    seen: list[list[str]] = []
    plan = profiler.schedule(skip_first=1, wait=1, warmup=1, active=2, repeat=1)
    actions = [plan(i).name for i in range(7)]
    assert actions == ["NONE", "NONE", "WARMUP", "RECORD", "RECORD_AND_SAVE", "NONE", "NONE"]
    with profiler.profile(
        schedule=plan, on_trace_ready=lambda p: seen.append([s.name for s in p.events()])
    ) as prof:
        for _ in range(7):
            double(gg.arange(5.0))
            prof.step()
    (names,) = seen
    assert [n for n in names if n.startswith("ProfilerStep")] == [
        "ProfilerStep#3",
        "ProfilerStep#4",
    ]
    assert len(names) == 4
    with pytest.raises(ValueError, match="at least"):
        profiler.schedule(wait=0, warmup=0, active=0)


def test_traces_go_to_a_folder(tmp_path: pathlib.Path) -> None:
    handler = profiler.tensorboard_trace_handler(str(tmp_path / "log"), "me")
    with profiler.profile(on_trace_ready=handler):
        gg.compile(lambda x: x * 2.0)(gg.ones(3))
    (path,) = (tmp_path / "log").glob("me.*.pt.trace.json")
    checked(path.read_text())


def test_a_profiler_opens_once() -> None:
    prof = profiler.profile()
    with pytest.raises(RuntimeError, match="not open"):
        prof.stop()
    prof.start()
    with pytest.raises(RuntimeError, match="open already"):
        prof.start()
    prof.stop()


def test_a_recorded_function_may_be_a_decorator() -> None:
    @profiler.record_function("whole")
    def work() -> int:
        return 3

    with profiler.profile() as prof:
        assert work() == 3
    assert [s.name for s in prof.events()] == ["whole"]


def test_the_old_place_has_the_same_names() -> None:
    from graphgrad.autograd.profiler import profile, record_function

    assert profile is profiler.profile and record_function is profiler.record_function
    assert gg.autograd.profiler.profile is profile
