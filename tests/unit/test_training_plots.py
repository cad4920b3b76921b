"""Curves, live plots and TensorBoard's files."""

from __future__ import annotations

import importlib.util
import math
import pathlib
import re
import struct
import sys
import types
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest

import graphgrad as gg
from graphgrad import training
from graphgrad.alias import imported_as
from graphgrad.errors import GraphError
from graphgrad.training.curves import WIDTH, Axis
from graphgrad.utils import tensorboard

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> tuple[list[list[tuple[float, float]]], list[str]]:
    """The points of every polyline of a picture, and its words."""
    root = ET.fromstring(text)
    lines = [
        [tuple(map(float, p.split(","))) for p in line.get("points", "").split()]
        for line in root.iter(f"{SVG}polyline")
    ]
    return lines, [t.text or "" for t in root.iter(f"{SVG}text")]


def test_points_lie_where_their_values_are() -> None:
    ((line,), words) = drawn(training.curves({"loss": ([0, 1, 2], [4.0, 2.0, 0.0])}, xlabel="t"))
    (x0, y0), (x1, y1), (x2, y2) = line
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2) and x0 < x1
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2) and y0 < y1  # up is small
    assert {"loss", "t", "0", "4"} <= set(words)


def test_large_ratios_are_drawn_by_their_logarithms() -> None:
    (line,), words = drawn(training.curves({"loss": ([0, 1, 2], [1e4, 1e2, 1.0])}))
    (_, y0), (_, y1), (_, y2) = line
    assert y1 - y0 == pytest.approx(y2 - y1, abs=0.2)
    assert {"1", "100", "10,000"} <= set(words)
    plain, _ = drawn(training.curves({"loss": ([0, 1, 2], [1e4, 1e2, 1.0])}, log=False))
    assert plain[0][1][1] - plain[0][0][1] > 10 * (plain[0][2][1] - plain[0][1][1])


@pytest.mark.parametrize(
    "values", [[], [math.nan], [math.inf, -math.inf], [3.0], [2.0, 2.0], [0.0, -1.0, math.nan, 5.0]]
)
def test_whatever_was_measured_is_a_picture(values: list[float]) -> None:
    text = training.curves({'a "<b>" & c': (list(range(len(values))), values)})
    lines, words = drawn(text)
    finite = [v for v in values if math.isfinite(v)]
    assert bool(lines) is bool(finite)
    assert 'a "<b>" & c' in words
    assert all(0 <= x <= WIDTH and 0 <= y <= 320 for line in lines for x, y in line)


def test_a_gap_is_a_gap_and_many_points_are_thinned() -> None:
    lines, _ = drawn(training.curves({"loss": (range(5), [1.0, 2.0, math.nan, 3.0, 2.0])}))
    assert [len(line) for line in lines] == [2, 2]
    many = np.sin(np.arange(100_000) / 1000).tolist()
    (line,), _ = drawn(training.curves({"loss": (range(100_000), many)}))
    assert len(line) < 2500
    last = training.curves({"loss": (range(99_999), many[:-1])})
    assert drawn(last)[0][0][-1][0] == pytest.approx(WIDTH - 20, abs=0.1)


def test_labels_do_not_lie_on_each_other() -> None:
    names = {f"a rather long name {i}": ([0, 1], [1.0, i]) for i in range(12)}
    root = ET.fromstring(training.curves(names, title="Title"))
    boxes = []
    for t in root.iter(f"{SVG}text"):
        width = 6.2 * len(t.text or "")
        shift = {"start": 0.0, "middle": -width / 2, "end": -width}[t.get("text-anchor", "start")]
        x, y = float(t.get("x", 0)) + shift, float(t.get("y", 0))
        boxes.append((x, y - 11, x + width, y + 3, t.text))
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= WIDTH
        for b in boxes[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)


@pytest.mark.parametrize("low, high", [(0, 1), (-3.7, 12.2), (1e-9, 3e-9), (99_990, 100_010)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = Axis([low, high], 0, 100).ticks()
    assert 3 <= len(ticks) <= 7
    assert all(low - 1e-9 * abs(low) <= t <= high * (1 + 1e-9) for t in ticks)


# ---- live --------------------------------------------------------------------------------------


def test_a_plot_in_a_file_grows(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "loss.svg"
    plot = training.LivePlot(path, title="fit", xlabel="epoch", every=0)
    plot.add(0, loss=3.0)
    first = path.read_text()
    plot.add(5, loss=gg.tensor(2.0), accuracy=0.5)
    plot.add(loss=1.0)
    plot.close()
    assert path.read_text() != first and plot.series["loss"][0] == [0.0, 5.0, 6.0]
    assert path.read_text() == plot.svg() == plot._repr_svg_()
    assert {"fit", "epoch", "loss", "accuracy"} <= set(drawn(plot.svg())[1])


def test_a_plot_is_not_drawn_more_often_than_asked(tmp_path: pathlib.Path) -> None:
    plot = training.LivePlot(tmp_path / "loss.svg", every=1000)
    plot.add(loss=1.0)
    before = (tmp_path / "loss.svg").read_text()
    for _ in range(100):
        plot.add(loss=2.0)
    assert (tmp_path / "loss.svg").read_text() == before
    plot.close()
    assert (tmp_path / "loss.svg").read_text() != before


def test_a_plot_needs_a_place(tmp_path: pathlib.Path) -> None:
    with pytest.raises(GraphError, match="give a file to draw into"):
        training.LivePlot()
    plot = training.LivePlot(tmp_path / "nowhere" / "loss.svg")
    with pytest.raises(GraphError, match="cannot write"):
        plot.add(loss=1.0)


def test_in_a_notebook_the_cells_plot_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    handle = types.SimpleNamespace(update=lambda plot: shown.append(("update", plot.svg())))

    def display(plot: Any, display_id: bool) -> Any:
        shown.append(("display", plot.svg()))
        return handle

    ipython, place = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    place.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", place)
    plot = training.LivePlot(every=0)
    plot.add(loss=2.0)
    plot.add(loss=1.0)
    assert [what for what, _ in shown] == ["display", "update"]
    assert shown[0][1] != shown[1][1]


def fitted(callback: Any) -> Any:
    x = gg.randn(64, 4)
    return gg.fit(
        gg.nn.Linear(4, 1), (x, x.sum(1, keepdim=True)), "mse", epochs=3, callbacks=[callback]
    )


def test_fit_plots_each_epoch(tmp_path: pathlib.Path) -> None:
    plot = training.LivePlot(tmp_path / "loss.svg")
    history = fitted(plot)
    assert plot.series["loss"] == ([1.0, 2.0, 3.0], history["loss"])
    assert (tmp_path / "loss.svg").read_text() == plot.svg()


def test_the_sine_example_draws_its_loss(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = pathlib.Path(gg.__file__).parent / "examples" / "sine.py"
    spec = importlib.util.spec_from_file_location("sine_example", path)
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    with imported_as("torch"):
        spec.loader.exec_module(script)
        losses = script.main(["--epochs", "2000", "--plot", "out"])
        eager = script.main(["--epochs", "300", "--eager"])
    assert len(losses) == 20 and losses[-1] < losses[0] / 3
    np.testing.assert_allclose(eager, losses[:3], rtol=1e-3)
    (line,), words = drawn((tmp_path / "out-loss.svg").read_text())
    assert len(line) == 20 and "epoch" in words
    assert len(drawn((tmp_path / "out-fit.svg").read_text())[0]) == 2


# ---- TensorBoard ------------------------------------------------------------------------------


def records(folder: pathlib.Path) -> list[bytes]:
    """The records of an event file: length, checksum, content, checksum."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


@pytest.fixture(params=["tensorboardX", "tensorboard"])
def package(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the two packages, the other hidden."""
    pytest.importorskip(request.param)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        tensorboard.importlib.util, "find_spec", lambda n: find(n) if n == request.param else None
    )
    return request.param


def values(folder: pathlib.Path, package: str) -> dict[str, list[tuple[int, float]]]:
    """Every number of an event file by tag, with its step."""
    where = "tensorboardX.proto" if package == "tensorboardX" else "tensorboard.compat.proto"
    event_pb2 = importlib.import_module(f"{where}.event_pb2")
    found: dict[str, list[tuple[int, float]]] = {}
    for record in records(folder):
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            number = value.simple_value or next(iter(value.tensor.float_val), 0.0)
            if not number and value.tensor.tensor_content:
                (number,) = struct.unpack("<f", value.tensor.tensor_content[:4])
            found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_numbers_are_written_for_tensorboard(tmp_path: pathlib.Path, package: str) -> None:
    with tensorboard.SummaryWriter(tmp_path / "run") as writer:
        for step in range(3):
            writer.add_scalar("loss", gg.tensor(2.0 + step, requires_grad=True), step)
        writer.add_scalar("rate", 0.5, global_step=7)
        writer.add_histogram("weights", gg.randn(100), 1)
        writer.add_text("notes", "hello", 1)
        writer.flush()
    found = values(tmp_path / "run", package)
    assert found["loss"] == [(0, 2.0), (1, 3.0), (2, 4.0)] and found["rate"] == [(7, 0.5)]
    assert "weights" in found and any(tag.startswith("notes") for tag in found)
    assert writer.get_logdir() == str(tmp_path / "run")


def test_fit_writes_for_tensorboard(tmp_path: pathlib.Path, package: str) -> None:
    history = fitted(training.TensorBoard(tmp_path / "run"))
    found = values(tmp_path / "run", package)
    assert [step for step, _ in found["epoch/loss"]] == [1, 2, 3]
    np.testing.assert_allclose([v for _, v in found["epoch/loss"]], history["loss"], rtol=1e-5)
    assert len(found["loss/batch"]) == 3 * 2


def test_what_cannot_be_written_says_so(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("tensorboardX"):
        with tensorboard.SummaryWriter(tmp_path / "run") as writer:
            with pytest.raises(NotImplementedError, match=re.escape("graphgrad.explore(")):
                writer.add_graph(gg.nn.Linear(2, 2))
            with pytest.raises(AttributeError):
                writer.add_nonsense()  # type: ignore[attr-defined]
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        tensorboard.SummaryWriter(tmp_path / "other")


def test_pictures_need_tensorboardx(tmp_path: pathlib.Path, monkeypatch: Any) -> None:
    pytest.importorskip("tensorboard")
    monkeypatch.setattr(tensorboard.importlib.util, "find_spec", lambda n: n == "tensorboard")
    with (
        tensorboard.SummaryWriter(tmp_path / "run") as writer,
        pytest.raises(NotImplementedError, match="add_image needs tensorboardX"),
    ):
        writer.add_image("digit", gg.zeros(1, 28, 28))
