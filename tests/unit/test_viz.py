"""Pictures: what they show, that they are safe and deterministic, and that they stay drawable."""

from __future__ import annotations

import pathlib
import re
import xml.etree.ElementTree as ElementTree

import pytest
from graphgrad.viz.picture import command

import graphgrad
from graphgrad import autodiff, dtypes, ir, lang, viz
from graphgrad.errors import GraphError, Origin, here, user_frame
from graphgrad.examples.demo import draw_loss
from graphgrad.examples.lenet import LeNet5
from graphgrad.ir import Graph
from graphgrad.regions import LOOP, Plan, Region

F32 = dtypes.float32
EVIL = '<script>alert("1")</script> & \\N\n]]>'


@pytest.fixture(autouse=True)
def provenance():
    """Nodes remember this file's lines, as they do while tracing."""
    before = ir.set_origin(here)
    yield
    ir.set_origin(before)


def in_module(name: str) -> None:
    def origin() -> Origin:
        frame = user_frame(2)
        return Origin(frame.f_code, frame.f_lasti, name)

    ir.set_origin(origin)


def mlp(name: str = "mlp") -> tuple[Graph, list[ir.Node]]:
    x = ir.input((8, 4), F32, "x")
    w = ir.input((3, 4), F32, "net.fc.weight", "parameter")
    b = ir.input((3,), F32, "net.fc.bias", "parameter")
    seen = ir.input((3,), F32, "net.norm.mean", "buffer")
    in_module("net.fc")
    h = lang.add(lang.dot_general(x, w, ((1,), (1,))), b)
    in_module("net.norm")
    h = lang.tanh(lang.sub(h, seen))
    in_module("")
    loss = lang.mul(lang.sum_(h, (0, 1)), 0.5)
    return Graph([x, w, b, seen], [loss], name), [w, b]


def step() -> Graph:
    graph, wrt = mlp("step")
    loss = graph.outputs[0]
    return Graph(
        graph.inputs, [loss, *autodiff.vjp_nodes([loss], [lang.scalar(1.0, F32)], wrt)], "step"
    )


def boxes(graph: Graph) -> dict[str, viz.scene.Box]:
    return {b.title: b for b in viz.draw(graph).scene.boxes}


def test_every_node_is_a_box_and_numbers_are_written_into_their_readers():
    scene = viz.draw(mlp()[0]).scene
    titles = [b.title for b in scene.boxes]
    operations = {"dot_general", "add", "sub", "tanh", "sum", "mul", "output"}
    inputs = {"x", "net.fc.weight", "net.fc.bias", "net.norm.mean"}
    assert len(titles) == len(set(titles)) and set(titles) == inputs | operations
    assert boxes(mlp()[0])["mul"].detail == "(·, 0.5)"
    assert len(scene.edges) == 10


def test_kinds_differ_in_shape_not_in_colour_alone():
    kinds = {b.title: b.kind for b in viz.draw(mlp()[0]).scene.boxes}
    assert (kinds["x"], kinds["net.fc.weight"], kinds["net.norm.mean"]) == (
        "input",
        "parameter",
        "state",
    )
    shapes = {viz.theme.KINDS[k].shape for k in ("input", "parameter", "state", "op", "output")}
    assert len(shapes) == 5


def test_modules_are_nested_frames():
    assert boxes(mlp()[0])["net.fc.weight"].group == ("net", "fc")
    assert boxes(mlp()[0])["tanh"].group == ("net", "norm")
    source = viz.draw(mlp()[0]).source
    assert "subgraph cluster_net__fc" in source
    assert source.index("cluster_net {") < source.index("cluster_net__fc {")


def test_hovering_shows_the_users_line():
    tip = boxes(mlp()[0])["tanh"].tooltip
    assert "tanh(" in tip and "float32[8, 3]" in tip
    assert re.search(r"test_viz\.py:\d+  h = lang\.tanh\(lang\.sub\(h, seen\)\)", tip)


def test_edges_carry_shapes():
    labels = {e.label for e in viz.draw(mlp()[0]).scene.edges}
    assert {"8×4", "3×4", "3", "8×3", "scalar"} <= labels


def test_backward_stands_beside_forward_and_marks_what_is_kept():
    scene = viz.draw(step()).scene
    assert {b.group[0] for b in scene.boxes if b.group} == {"forward", "backward"}
    kept = [e for e in scene.edges if e.kind == "kept"]
    assert kept and all(e.kind == "up" for e in scene.edges if e.tail.startswith("backward"))
    source = viz.draw(step()).source
    assert "kept #1" in source and "dir=back" in source


def test_kernels_are_frames_of_a_plan():
    graph, _ = mlp()
    tanh, sub = graph.outputs[0].inputs[0].inputs[0], graph.outputs[0].inputs[0].inputs[0].inputs[0]
    region = Region(LOOP, (sub, tanh), sub.inputs, (tanh,))
    scene = viz.draw(Plan(graph, (region,))).scene
    inside = [b.title for b in scene.boxes if b.group == ("kernel 0",)]
    assert inside == ["sub", "tanh"]
    assert scene.groups[("kernel 0",)].label == "0 · sub_tanh · net.norm"
    assert "reads 108 bytes, writes 96" in scene.groups[("kernel 0",)].tooltip


def test_loops_and_branches_show_their_graphs():
    h, x = ir.input((3,), F32, "h"), ir.input((3,), F32, "x")
    cell = lang.tanh(lang.add(h, x))
    start, xs = ir.input((3,), F32, "start"), ir.input((5, 3), F32, "xs")
    outs = lang.scan(Graph([h, x], [cell, cell]), [start], [xs], [], 5)
    scene = viz.draw(Graph([start, xs], [outs[1]])).scene
    inner = {b.title for b in scene.boxes if b.group and b.group[0].endswith("body")}
    assert inner == {"h", "x", "add", "tanh"}
    ids = {b.title: b.id for b in scene.boxes}
    assert [e.tail for e in scene.edges if e.head == ids["result"]] == [ids["tanh"]]


def test_equal_graphs_give_equal_bytes():
    assert viz.draw(step()).source == viz.draw(step()).source
    assert viz.draw(step()).svg() == viz.draw(step()).svg()


def test_hostile_names_stay_text():
    x = ir.input((2,), F32, EVIL)
    ir.set_origin(lambda: Origin(None, -1, EVIL))
    picture = viz.draw(Graph([x], [lang.exp(x)], EVIL))
    tree = ElementTree.fromstring(picture.svg())
    assert not [e for e in tree.iter() if e.tag.endswith("script")]
    texts = "".join("".join(e.itertext()) for e in tree.iter() if e.tag.endswith(("text", "title")))
    assert 'alert("1")' in texts and "\\N" in texts


def test_svg_stands_alone_and_knows_a_dark_page(tmp_path: pathlib.Path):
    path = tmp_path / "g.svg"
    viz.draw(mlp()[0], path)
    svg = path.read_text()
    ElementTree.fromstring(svg)
    assert "prefers-color-scheme: dark" in svg
    assert "href" not in svg and "@import" not in svg


def test_large_graphs_fold_by_module():
    h = x = ir.input((4,), F32, "x")
    for i in range(500):
        in_module(f"blocks.{i // 25}.layer")
        h = lang.mul(lang.tanh(h), lang.exp(h))
    picture = viz.draw(Graph([x], [h], "deep"))
    # Twenty equal blocks are one, and its 25 equal stretches of three operations.
    assert [b.title for b in picture.scene.boxes] == ["x", "Tanh", "Exp", "Mul", "output"]
    assert "1502 boxes, folded into 5" in picture.source
    assert "0 × 20" in picture.source and "Tanh, Exp, Mul × 25" in picture.source
    assert picture.svg().count("<svg") == 3


def test_large_graphs_without_modules_fold_too():
    h = x = ir.input((4,), F32, "x")
    for _ in range(1500):
        h = lang.tanh(h)
    assert 4 <= len(viz.draw(Graph([x], [h])).scene.boxes) <= viz.fold.LIMIT


def test_an_empty_graph_says_so():
    assert "the graph is empty" in viz.draw(Graph([], [])).svg()


def test_saving_says_what_is_wrong(tmp_path: pathlib.Path):
    graph, _ = mlp()
    with pytest.raises(GraphError, match=r"cannot write .*No such file or directory"):
        viz.draw(graph, tmp_path / "missing" / "g.svg")
    with pytest.raises(GraphError, match=r"one of \.svg, \.dot, \.gv, \.png, \.pdf, \.html"):
        viz.draw(graph, tmp_path / "g.xyz")
    with pytest.raises(TypeError, match="cannot draw a int"):
        viz.draw(3)


def test_dot_source_is_saved_as_it_is(tmp_path: pathlib.Path):
    picture = viz.draw(mlp()[0], tmp_path / "g.dot")
    assert (tmp_path / "g.dot").read_text() == picture.source


def test_a_layout_program_is_found_without_the_path(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert pathlib.Path(command()).name.startswith("graphviz-pure")


def test_a_page_holds_every_stage_of_a_program(tmp_path: pathlib.Path):
    class Executable:
        graph, optimised = step(), step()
        plan, trace = Plan(optimised, ()), ()

    picture = viz.draw(Executable(), tmp_path / "step.html")
    html = (tmp_path / "step.html").read_text()
    assert re.findall(r"<button>(\w+)</button>", html) == ["traced", "simplified", "kernels"]
    assert html.count("prefers-color-scheme") == 4
    assert picture.scene.title.startswith("step")


# ----------------------------------------------------------------------------- tensors and programs


class Net(graphgrad.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = graphgrad.nn.Linear(4, 3)

    def forward(self, x):
        return graphgrad.relu(self.fc(x))


def test_history_in_pytorchs_names():
    w = graphgrad.ones(3, requires_grad=True)
    loss = (w * 2).exp().sum()
    scene = loss.graph().scene
    assert [b.title for b in scene.boxes] == [
        "w", "MulBackward0", "ExpBackward0", "SumBackward0", "loss",
    ]  # fmt: skip
    assert [e.label for e in scene.edges] == ["3", "3", "3", "scalar"]
    assert scene.boxes[1].detail.startswith("test_viz.py:")
    assert "loss = (w * 2).exp().sum()" in scene.boxes[1].tooltip


def test_parameters_stand_in_their_modules():
    net = Net()
    scene = viz.draw(net(graphgrad.ones(2, 4)).sum()).scene
    homes = {b.title: b.group for b in scene.boxes}
    assert homes["fc.weight"] == homes["fc.bias"] == homes["AddmmBackward0"] == ("Net", "fc")
    assert homes["ReluBackward0"] == ("Net",)


def test_parameters_are_named_by_the_caller_or_found_in_its_callers():
    def titles(loss, **named):
        return {b.title for b in viz.draw(loss, **named).scene.boxes if b.kind == "parameter"}

    net = Net()
    loss = net(graphgrad.ones(2, 4)).sum()
    assert titles(loss) == {"fc.weight", "fc.bias"}
    named = {f"student.{name}": p for name, p in net.named_parameters()}
    assert titles(loss, params=named) == {"student.fc.weight", "student.fc.bias"}


def test_each_use_of_a_module_has_its_own_frame():
    class Twice(graphgrad.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = graphgrad.nn.Tanh()

        def forward(self, x):
            return self.act(self.act(x) * 2)

    scene = viz.draw(Twice()(graphgrad.ones(2, requires_grad=True)).sum()).scene
    frames = [b.group for b in scene.boxes if b.title == "TanhBackward0"]
    assert frames == [("Twice", "act"), ("Twice", "act#2")]
    assert [scene.group(path).label for path in frames] == ["Twice.act", "Twice.act"]


def test_the_demo_draws_lenet_tidily(tmp_path: pathlib.Path):
    digits, loss_of = graphgrad.zeros(64, 1, 28, 28), graphgrad.nn.CrossEntropyLoss()
    labels = graphgrad.zeros(64, dtype=graphgrad.int64)
    draw_loss(LeNet5(), loss_of, digits, labels, tmp_path / "lenet.svg")
    svg = (tmp_path / "lenet.svg").read_text()
    for name in ("conv1", "weight, bias", "linear3", "ConvolutionBackward0", "LeNet5", "loss"):
        assert f">{name}</text>" in svg
    assert ">leaf</text>" not in svg and len(svg) < 100_000
    draw_loss(LeNet5(), loss_of, digits, labels, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == svg


def trained(net, optimizer, *sizes: int):
    """A compiled step that has run once, interpreted."""

    @graphgrad.compile
    def train(x):
        optimizer.zero_grad()
        loss = net(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    with graphgrad.config.scope(tier="interpret"):
        train(graphgrad.ones(*sizes))
    return train


@pytest.fixture(scope="module")
def stack():
    net = graphgrad.nn.Sequential(*(graphgrad.nn.Linear(4, 4) for _ in range(6)))
    return trained(net, graphgrad.optim.Adam(net.parameters()), 3, 4)


def test_a_step_is_a_ladder_of_calls_and_their_gradients(stack):
    scene = viz.draw(stack, stage="traced").scene
    by_id = {b.id: b for b in scene.boxes}
    rows = [[by_id[i].title for i in row] for row in scene.rows]
    owned = "weight, bias"
    assert [owned, "Addmm", "AddmmBackward0", owned] in rows
    # What backward reads of a call stands between the two.
    assert ["Pow", "48 B", "PowBackward0"] in rows
    assert [owned, "Addmm", "48 B", "AddmmBackward0", owned] in rows
    kinds = {by_id[i].kind for row in scene.rows for i in row}
    assert kinds == {"parameter", "op", "reduce", "contract", "kept", "backward", "update"}


def test_equal_layers_are_drawn_once(stack):
    scene = viz.draw(stack, stage="traced").scene
    # The first layer's input needs no gradient, so it is like no other.
    assert scene.group(("Sequential", "1")).label == "Linear × 5"
    assert {b.path for b in scene.boxes if b.path} == {("Sequential", "0"), ("Sequential", "1")}


def test_layers_of_other_widths_are_no_repeat():
    widths = (4, 4, 4, 5, 5, 5, 5)
    layers = map(graphgrad.nn.Linear, widths, widths[1:])
    net = graphgrad.nn.Sequential(*layers)
    step = trained(net, graphgrad.optim.SGD(net.parameters(), lr=0.1), 3, 4)
    scene = viz.draw(
        step,
        stage="traced",
    ).scene
    labels = [g.label for g in scene.groups.values()]
    assert labels == ["Linear × 3"], labels


def test_updates_are_a_box_for_each_module(stack):
    for stage in ("traced", "kernels"):
        updates = [b for b in viz.draw(stack, stage=stage).scene.boxes if b.kind == "update"]
        assert len(updates) == (2 if stage == "traced" else 6), stage
        assert all("exp_avg" in b.detail and "weight, bias" in b.title for b in updates)


def test_a_tensor_without_history_says_so():
    assert "no history" in viz.draw(graphgrad.ones(3)).source


def test_a_compiled_step_has_names_phases_and_kernels(tmp_path: pathlib.Path):
    w = graphgrad.ones(3, requires_grad=True)

    @graphgrad.compile
    def train(x):
        loss = (w * x).exp().sum()
        loss.backward()
        with graphgrad.no_grad():
            w.sub_(0.1 * w.grad)
        w.grad = None
        return loss

    with graphgrad.config.scope(tier="interpret"):
        train(graphgrad.ones(3))
    stages = {name: make() for name, make in viz.stages.scenes(train, {}).items()}
    assert list(stages) == ["traced", "simplified", "kernels"]
    titles = {b.title: b for b in stages["traced"].boxes}
    assert titles["x"].kind == "input" and titles["w"].kind == "parameter"
    assert titles["w updated"].group == ("update",) and titles["result"].kind == "output"
    assert {b.group[:1] for b in stages["traced"].boxes} >= {("forward",), ("backward",)}
    assert all(g.kind.startswith("kernel") for g in stages["kernels"].groups.values())
    viz.draw(train, tmp_path / "train.html")
