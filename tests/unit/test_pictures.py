"""Pictures of whole programs: calls beside gradients, folding, sizes by name, formats, errors."""

from __future__ import annotations

import pathlib
import subprocess
import time
import xml.etree.ElementTree as ElementTree

import pytest
from graphgrad.viz import costs, picture, rails
from graphgrad.viz.fold import View

import graphgrad
from graphgrad import dtypes, ir, lang, nn, viz
from graphgrad.errors import GraphError
from graphgrad.ir import Graph

F32 = dtypes.float32
EVIL = '"><script>alert("1")</script>'


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = (
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )

    def forward(self, x):
        return x + self.down(graphgrad.relu(self.up(self.norm(x))))


class Net(nn.Module):
    def __init__(self, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.Sequential(*(Block(8) for _ in range(blocks)))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def trained(net: nn.Module, *sizes: int):
    """A compiled step of a network, traced for one batch size after the other."""
    optimizer = graphgrad.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphgrad.compile
    def train(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for size in sizes:
        train.trace(graphgrad.zeros(size, 6))
    return train


@pytest.fixture(scope="module")
def step():
    return trained(Net(), 5)


def titles(drawn: viz.Picture) -> list[str]:
    return [b.title for b in drawn.scene.boxes]


# -------------------------------------------------------------------------------- calls, repeats


def test_every_call_has_its_gradient_in_its_row(step):
    scene = viz.draw(step, stage="traced").scene
    box = {b.id: b for b in scene.boxes}
    for row in scene.rows:
        calls = {box[i].phase: box[i].title for i in row if box[i].pair and box[i].kind != "kept"}
        if len(calls) == 2:
            assert calls["backward"] in (f"{calls['forward']}Backward{n}" for n in (0, 1)), calls


def test_four_blocks_are_one(step):
    drawn = viz.draw(step, stage="traced")
    assert "Block × 4" in drawn.source and "Net.blocks.0 … 3" in drawn.source
    assert titles(drawn).count("NativeLayerNorm") == 1


def test_repeats_of_repeats():
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = nn.Sequential(*(Net(3).blocks for _ in range(3)))

        def forward(self, x):
            return self.stages(x)

    deep = viz.draw(Deep(), inputs=(graphgrad.zeros(2, 8),), limit=100)
    labels = sorted(g.label for g in deep.scene.groups.values() if "×" in g.label)
    assert labels == ["Block × 3", "Sequential × 3"]


def test_a_recurrent_cell_is_drawn_once():
    cell = nn.RNNCell(3, 3)

    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x):
            h = graphgrad.zeros(2, 3)
            for _ in range(12):
                h = self.cell(x, h) * 0.5
            return h

    drawn = viz.draw(Unrolled(), inputs=(graphgrad.zeros(2, 3),))
    (frame,) = [g for g in drawn.scene.groups.values() if "×" in g.label]
    # The first call, which owns the weights, stands alone: with the product, eleven are equal.
    assert frame.label == "Mul, RNNCell × 11" and frame.note == "11 times"


def test_layers_that_alternate_repeat_together():
    parts = [part for _ in range(5) for part in (nn.Linear(8, 8), nn.ReLU())]
    scene = viz.draw(nn.Sequential(*parts), inputs=(graphgrad.zeros(2, 8),), limit=24).scene
    (frame,) = [g for g in scene.groups.values() if "×" in g.label]
    assert frame.label == "Linear, ReLU × 5" and frame.note == "Sequential.0 … 9"
    assert [b.title for b in scene.boxes if b.group] == ["weight, bias", "Addmm", "Relu"]


def test_histories_fold_like_programs():
    net = Net(12)
    drawn = net(graphgrad.zeros(5, 6)).sum().graph(theme="dark")
    assert drawn.theme == "dark"
    assert "Block × 12" in drawn.source and len(drawn.scene.boxes) < 30


def test_depth_fold_and_unfold(step):
    def at(**wish) -> set[str]:
        return set(titles(viz.draw(step, stage="traced", **wish)))

    assert {"stem", "blocks", "head", "blocks backward"} <= at(depth=2)
    assert {"Net", "Net backward"} <= at(depth=1)
    folded = at(fold="*.norm")
    assert "norm" in folded and "NativeLayerNorm" not in folded and "Addmm" in folded
    opened = at(depth=2, unfold="blocks.1.up")
    assert {"stem", "Addmm", "norm", "head"} <= opened and "blocks" not in opened
    assert "dot_general" in at(unfold="*")


def test_a_pattern_that_names_nothing_is_an_error(step):
    for wish in ({"fold": "*.attention"}, {"unfold": "*.attention"}):
        with pytest.raises(ValueError, match=r"no module is called '\*\.attention'; .* Net\.stem,"):
            viz.draw(step, stage="traced", **wish)
    with pytest.raises(ValueError, match="limit=0: a picture has 4 boxes at least"):
        viz.draw(step, limit=0)


def test_every_operation_of_a_large_program_is_laid_out_in_seconds():
    drawn = viz.draw(trained(Net(12), 5), stage="traced", unfold="*")
    scene, start = drawn.scene, time.process_time()
    assert len(scene.boxes) > 1000 and scene.on_rails
    operations = [b for b in scene.boxes if b.phase == "forward" and b.kind != "output"]
    assert {"dot_general", "add", "sub", "mul"} <= {b.title for b in operations}
    layout = rails.lay(scene, lambda path: (path[-1], ""))
    assert len(layout.boxes) == len(scene.boxes) and time.process_time() - start < 10


def test_kernels_are_paired_too(step):
    scene = viz.draw(step).scene
    box = {b.id: b for b in scene.boxes}
    pairs = [[box[i].phase for i in row if box[i].kind != "kept"] for row in scene.rows]
    assert sum("forward" in p and "backward" in p for p in pairs) >= 4


def test_buffers_that_a_step_writes_look_different_from_those_it_reads():
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
    kinds = {b.kind for b in viz.draw(trained(net, 5), stage="traced").scene.boxes}
    assert "mutated" in kinds
    net.eval()
    kinds = {b.kind for b in viz.draw(net, inputs=(graphgrad.zeros(5, 6),)).scene.boxes}
    assert "state" in kinds and "mutated" not in kinds
    shapes = [viz.theme.KINDS[k].shape for k in ("input", "parameter", "state", "mutated", "kept")]
    assert len(set(shapes)) == 5


# ----------------------------------------------------------------------------------- sizes, costs


def test_two_traces_tell_the_batch_from_a_width_of_the_same_size():
    scene = viz.draw(trained(Net(), 8, 16), stage="traced").scene
    details = [b.detail for b in scene.boxes if b.title == "Addmm"]
    # The last trace is of 16 rows; blocks are 8 wide, and twice that inside.
    assert any(d.startswith("N×16 ·") for d in details) and not any("N×N" in d for d in details)


def test_sizes_of_a_module_are_found_by_tracing_it_twice():
    drawn = viz.draw(Net(1), inputs=(graphgrad.zeros(8, 6),), dims={"batch": 8})
    (stem,) = [b for b in drawn.scene.boxes if b.path == ("Net", "stem") and b.kind == "contract"]
    assert stem.shape == "batch×8"


def test_one_trace_names_equal_sizes_except_parameters():
    drawn = viz.draw(trained(Net(1), 8), stage="traced", dims={"N": 8})
    weights = [b.detail for b in drawn.scene.boxes if b.kind == "parameter"]
    assert any("8×6" in w for w in weights) and "N×N" in drawn.source


def test_costs_are_counted_by_shape():
    x, w = ir.input((4, 5), F32), ir.input((5, 6), F32)
    product = lang.dot_general(x, w, ((1,), (0,)))
    assert costs.flops(product) == 2 * 4 * 5 * 6
    assert costs.flops(lang.sum_(product, (0,))) == 24 and costs.flops(lang.exp(product)) == 24
    assert costs.nbytes(product) == 96
    assert [costs.bytes_text(n) for n in (0, 999, 1000, 1_605_632, 10**13)] == [
        "0 B", "999 B", "1 kB", "1.6 MB", "10 TB",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------- layout


def test_nothing_overlaps_and_nothing_is_cut_off(step):
    for stage in ("traced", "kernels"):
        scene = viz.draw(step, stage=stage).scene
        layout = rails.lay(scene, lambda path: (path[-1], ""))
        places = list(layout.boxes.values())
        for i, one in enumerate(places):
            assert one.left >= 0 and one.right <= layout.width
            assert one.bottom >= 0 and one.top <= layout.height
            for other in places[i + 1 :]:
                beside = one.right <= other.left or other.right <= one.left
                assert beside or one.bottom >= other.top or other.bottom >= one.top


def test_rails_of_different_makers_do_not_lie_on_each_other(step):
    scene = viz.draw(step, stage="kernels").scene
    layout = rails.lay(scene, lambda path: (path[-1], ""))
    taken: dict[float, list[tuple[float, float, str]]] = {}
    for edge, corners in zip(scene.edges, layout.edges, strict=True):
        if len(corners) == 4:
            (x, y), (_, to) = corners[1:3]
            for low, high, maker in taken.get(x, []):
                assert maker == edge.tail or max(y, to) <= low or high <= min(y, to)
            taken.setdefault(x, []).append((min(y, to), max(y, to), edge.tail))
    assert taken


# ------------------------------------------------------------------------------- formats, bad input


def test_themes(step):
    auto, dark, light = (viz.draw(step, theme=t).svg() for t in ("auto", "dark", "light"))
    assert "prefers-color-scheme" in auto and "prefers-color-scheme" not in dark + light
    assert "#14171d" in dark and "#14171d" not in light
    with pytest.raises(ValueError, match="no theme 'blue'; there are auto, dark, light"):
        viz.draw(step, theme="blue")


def test_pixels_and_notebooks(step, tmp_path: pathlib.Path):
    drawn = viz.draw(step, tmp_path / "step.png")
    assert (tmp_path / "step.png").read_bytes().startswith(b"\x89PNG")
    assert drawn._repr_html_().startswith("<div") and drawn._repr_svg_() in drawn._repr_html_()


def test_what_the_layout_program_cannot_write_is_said(step, tmp_path, monkeypatch):
    refused = subprocess.CompletedProcess([], 1, b"", b'Format: "pdf" not recognized.')
    monkeypatch.setattr(picture.subprocess, "run", lambda *_, **__: refused)
    with pytest.raises(GraphError, match=r"cannot write \.pdf files\n  hint: install graphviz"):
        viz.draw(step, tmp_path / "step.pdf")


def test_without_a_layout_program_there_is_still_dot(step, tmp_path, monkeypatch):
    monkeypatch.setattr(picture.shutil, "which", lambda *_, **__: None)
    with pytest.raises(GraphError, match="no layout program: neither `dot` nor `graphviz-pure`"):
        viz.draw(step, tmp_path / "step.svg")
    viz.draw(step, tmp_path / "step.dot")
    assert (tmp_path / "step.dot").read_text().startswith("digraph")


def test_a_step_that_never_ran_is_traced_with_its_backward_pass():
    net = nn.Linear(3, 2)
    optimizer = graphgrad.optim.SGD(net.parameters(), lr=0.1)

    @graphgrad.compile
    def step(x):
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    before = net.weight.clone()
    drawn = viz.draw(step, inputs=(graphgrad.ones(4, 3),))
    assert {"Addmm", "AddmmBackward0"} <= set(titles(drawn))
    assert (net.weight == before).all()


def test_a_module_needs_examples():
    with pytest.raises(TypeError, match=r"draw\(model, inputs=\(x,\)\)"):
        viz.draw(Net())
    with pytest.raises(TypeError, match=r"path is a Tensor: examples go into inputs="):
        viz.draw(Net(), graphgrad.zeros(5, 6))


def test_scripts_in_module_names_stay_text():
    net = nn.Sequential(nn.Linear(2, 2))
    holder = nn.Module()
    holder.add_module(EVIL, net)
    holder.forward = lambda x: holder._modules[EVIL](x)
    for drawn in (
        viz.draw(holder, inputs=(graphgrad.zeros(3, 2),)),
        viz.draw(holder, inputs=(graphgrad.zeros(3, 2),), depth=2),
        viz.draw(holder(graphgrad.zeros(3, 2)).sum()),
    ):
        tree = ElementTree.fromstring(drawn.svg())
        assert not [e for e in tree.iter() if e.tag.endswith("script")]
        assert any("<script>" in "".join(e.itertext()) for e in tree.iter())


def test_twenty_thousand_nodes():
    h = x = ir.input((4,), F32, "x")
    for _ in range(10_000):
        h = lang.mul(lang.tanh(h), 0.5)
    start = time.process_time()
    drawn = viz.draw(Graph([x], [h]))
    assert len(drawn.scene.boxes) <= View().limit and len(drawn.svg()) < 1_000_000
    assert time.process_time() - start < 20


# ---------------------------------------------------------------------------------------- as text


def test_diff_says_what_a_pass_did():
    x = ir.input((3,), F32, "x")
    kept = lang.exp(x)
    before = Graph([x], [lang.mul(lang.add(kept, 0.0), lang.tanh(x))], "before")
    after = Graph([x], [lang.mul(kept, lang.tanh(x))], "after")
    found = graphgrad.diff(before, after)
    assert sorted(n.op.name for n in found.removed) == ["add", "scalar"]
    assert not found.added and [n.op.name for n, _ in found.changed] == ["mul"]
    assert found.summary == "after: 6 → 4 nodes, 2 removed, 1 changed"
    assert "  - " in str(found) and "  ~ " in str(found) and "  → " in str(found)
    assert not graphgrad.diff(after, after) and "nothing changed" in str(
        graphgrad.diff(after, after)
    )


def test_diff_of_a_compiled_function_goes_through_the_passes(step):
    found = graphgrad.diff(step)
    assert [d.name for d in found][:2] == ["dce", "cse"] and len(found) == 8
    assert "cse: " in str(found) and "test_pictures.py" in str(found)
    with pytest.raises(TypeError, match="cannot compare a int"):
        graphgrad.viz.diff(3)


def test_diff_of_tensors_is_pytorchs():
    assert graphgrad.diff(graphgrad.tensor([1, 4, 9])).tolist() == [3, 5]


def test_listings_say_module_and_record(step):
    text = str(step.trace().executable.graph)
    assert "in Net.blocks.0.norm (NativeLayerNorm)" in text
    assert "backward of Net.head (AddmmBackward0)" in text
    assert "blocks.0.norm.weight: float32[8]" in text


def test_a_loop_is_one_call_with_all_that_is_in_it():
    net = nn.LSTM(6, 4)
    optimizer = graphgrad.optim.SGD(net.parameters(), lr=0.1)

    @graphgrad.compile
    def train(x):
        optimizer.zero_grad()
        loss = net(x)[0].square().mean()
        loss.backward()
        optimizer.step()
        return loss

    train.trace(graphgrad.zeros(5, 2, 6))
    scene = viz.draw(train, stage="traced").scene
    assert {"Lstm", "LstmBackward0", "Pow", "Mean", "4 parameters"} <= {
        b.title for b in scene.boxes
    }
    assert len(scene.boxes) < 20 and all(b.kind != "input" or b.title == "x" for b in scene.boxes)


def test_parameters_of_a_module_that_is_never_called_stand_with_their_reader():
    net = nn.MultiheadAttention(8, 2)
    x = graphgrad.zeros(3, 2, 8)
    scene = viz.draw(net, inputs=(x, x, x)).scene
    owned = [b for b in scene.boxes if b.kind == "parameter"]
    assert [b.title for b in owned] == ["4 parameters"] and "out_proj.weight" in owned[0].tooltip


def test_every_workload_can_be_drawn(tmp_path):
    from graphgrad.bench.workloads import MAIN, OTHERS

    small = ("sin", "own", "gelu", "softmax", "matmul", "LeNet", "LSTM", "gradient", "VAE")
    for workload in (w for w in (*MAIN, *OTHERS) if w.name.startswith(small)):
        program = workload.build(graphgrad, graphgrad.compile)
        program.trace()
        for stage in ("traced", "kernels"):
            ElementTree.fromstring(viz.draw(program, stage=stage).svg())
