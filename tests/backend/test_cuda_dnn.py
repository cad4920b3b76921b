"""cuDNN: which products are convolutions, and what its frontend is handed: a fake computes it."""

from __future__ import annotations

import ctypes
import enum
import threading

import numpy as np
import pytest
from graphgrad.kernels.contract_build import product_of
from graphgrad.kernels.cuda.contract import cudnn_plan, library, lower_contraction
from graphgrad.kernels.cuda.contract.convolution import convolution_of
from graphgrad.kernels.cuda.contract.cudnn_plan import DnnConvolution
from graphgrad.kernels.cuda.contract.scattered import is_scattered, scattered_of
from graphgrad.kernels.host import interpret_region

from graphgrad import autodiff, dtypes, ir, lang
from graphgrad.compile import plan_graph
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.ir import Graph, node
from graphgrad.passes.simplify import simplify
from graphgrad.regions import CONTRACT

F = dtypes.float32


class Data(enum.Enum):
    FLOAT, HALF, BFLOAT16 = range(3)


class Note(enum.Enum):
    TENSOR_CORE, DOWN_CONVERT_INPUTS, REDUCED_PRECISION_REDUCTION, NONDETERMINISTIC = range(4)


class Heuristic(enum.Enum):
    A, FALLBACK = range(2)


class NotSupported(RuntimeError):
    pass


class FakeTensor:
    def __init__(self, **has):
        self.__dict__.update(has)

    def _setter(name):
        def put(self, value):
            setattr(self, name, value)
            return self

        return put

    set_output, set_uid, set_data_type = _setter("output"), _setter("uid"), _setter("data_type")
    set_dim, set_stride = _setter("dim"), _setter("stride")

    def at(self, pointers):
        """The operand's memory, of float32, as it was described."""
        reach = 1 + sum((n - 1) * s for n, s in zip(self.dim, self.stride, strict=True))
        assert min(self.stride) > 0
        memory = (ctypes.c_float * reach).from_address(pointers[self.uid])
        strides = [4 * s for s in self.stride]
        flat = np.frombuffer(memory, np.float32)
        return np.lib.stride_tricks.as_strided(flat, self.dim, strides)


class FakeGraph:
    """Computes what cuDNN's manual says of the node, on the host."""

    workspace_bytes = 0

    def __init__(self, **options):
        self.options, self.said = options, []

    def tensor(self, **has):
        return FakeTensor(**has)

    def conv_fprop(self, image, weight, **options):
        self.node, self.result = options, FakeTensor()
        self.image, self.filter, self.output = image, weight, self.result
        return self.result

    def conv_wgrad(self, image, loss, **options):
        self.node, self.result = options, FakeTensor()
        self.image, self.filter, self.output = image, self.result, loss
        return self.result

    def conv_dgrad(self, loss, filter, **options):
        self.node, self.result = options, FakeTensor()
        self.image, self.filter, self.output = self.result, filter, loss
        return self.result

    def __getattr__(self, name):
        if name not in ("validate", "build_operation_graph", "create_execution_plans",
                        "deselect_numeric_notes", "deselect_workspace_greater_than",
                        "check_support", "build_plans"):  # fmt: skip
            raise AttributeError(name)
        return lambda *arguments: self.said.append((name, *arguments))

    def execute(self, pointers, workspace, handle):
        self.ran = (workspace, handle)
        image, filter, output = (
            x.at(pointers) for x in (self.image, self.filter, self.output)
        )  # fmt: skip
        taps, groups = filter.shape[2:], image.shape[1] // filter.shape[1]
        out, per = filter.shape[0] // groups, filter.shape[1]
        self.result.at(pointers)[...] = 0
        padding = self.node["pre_padding"]
        assert padding == self.node["post_padding"]
        wide = np.pad(image, [(0, 0), (0, 0), *((p, p) for p in padding)])
        for tap in np.ndindex(*taps):
            cut = [slice(None)] * 2
            for i, k in enumerate(tap):
                step, positions = self.node["stride"][i], output.shape[2 + i]
                start = k * self.node["dilation"][i]
                cut.append(slice(start, start + (positions - 1) * step + 1, step))
            for g in range(groups):
                x = wide[tuple(cut)][:, g * per : (g + 1) * per]
                w = filter[(slice(g * out, (g + 1) * out), slice(None), *tap)]
                y = output[:, g * out : (g + 1) * out]
                assert x.shape[2:] == y.shape[2:]
                if self.result is self.output:
                    y += np.einsum("nc...,oc->no...", x, w)
                elif self.result is self.filter:
                    w += np.einsum("ncz,noz->oc", *(v.reshape(*v.shape[:2], -1) for v in (x, y)))
                else:
                    x += np.einsum("no...,oc->nc...", y, w)
        if self.result is self.image:
            inner = (slice(p, p + n) for p, n in zip(padding, image.shape[2:], strict=True))
            image[...] = wide[(slice(None), slice(None), *inner)]


class Package:
    """What is used of the package cudnn."""

    data_type, heur_mode, numerical_note = Data, Heuristic, Note
    pygraph, cudnnGraphNotSupportedError = FakeGraph, NotSupported

    def set_stream(self, handle, stream):
        self.streams = (handle, stream)


class Fake:
    """What `Bindings` offers."""

    declines = (NotSupported, NotImplementedError)

    def __init__(self):
        self.cudnn, self.lock = Package(), threading.RLock()

    def device(self):
        return 0

    def handle(self):
        return 42


@pytest.fixture
def there(monkeypatch):
    """As if package and library were installed."""
    fake = Fake()
    monkeypatch.setattr(cudnn_plan, "installed", lambda: True)
    monkeypatch.setattr(cudnn_plan, "_bindings", lambda: fake)
    cudnn_plan._planned.cache_clear()
    cudnn_plan._supported.cache_clear()
    yield fake
    cudnn_plan._planned.cache_clear()
    cudnn_plan._supported.cache_clear()


def calls(region, **settings):
    with config.scope(**{"cuda": "auto", "cuda_blas": "own", **settings}):
        return lower_contraction(region)


# ---- which products, and what they compute -------------------------------------------------------


def convolution(x, w, pad=0, stride=1, dilation=1, groups=1):
    """As `graphgrad.functional` writes it: x (N, C, *space), w (O, C / groups, *taps)."""
    n = len(w.shape) - 2
    if groups > 1:
        x = lang.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
        w = lang.reshape(w, (groups, w.shape[0] // groups, *w.shape[1:]))
    lead = len(x.shape) - n
    if pad:
        x = lang.pad(x, (0,) * lead + (pad,) * n, (0,) * lead + (pad,) * n)
    space, taps = range(lead, lead + n), range(lead + n, lead + 2 * n)
    attrs = {"size": w.shape[-n:], "stride": (stride,) * n, "dilation": (dilation,) * n}
    windows = node("window", x, axes=tuple(space), **attrs)
    if groups == 1:
        dot = lang.dot_general(w, windows, ((1, *space), (1, *taps)))
        return lang.permute(dot, (1, 0, *range(2, 2 + n)))
    dot = lang.dot_general(w, windows, ((2, *range(3, 3 + n)), (2, *taps)), ((0,), (1,)))
    moved = lang.permute(dot, (2, 0, 1, *range(3, 3 + n)))
    return lang.reshape(moved, (moved.shape[0], groups * w.shape[1], *moved.shape[3:]))


def products(x, w, dtype=F, cuda_dnn="own", **options):
    """The products of a convolution and of its gradients by data and weight, as planned."""
    x, w = ir.input(x, dtype), ir.input(w, dtype)
    y = convolution(x, w, **options)
    g = ir.like(y)
    graph = simplify(Graph([x, w, g], [y, *autodiff.vjp_nodes([y], [g], [x, w])]))
    with config.scope(cuda="auto", cuda_blas="own", cuda_dnn=cuda_dnn):
        plan = plan_graph(graph, {}, device=device("cuda:0"))
    return [region for region in plan if region.kind == CONTRACT]


def aligned(values):
    """A copy in memory aligned to 16 bytes."""
    memory = np.empty(values.nbytes + 16, np.uint8)
    start = -memory.ctypes.data % 16
    array = memory[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    array[...] = values
    return array


def check(region):
    """Run the region's product as the fake's convolution, beside the interpreter."""
    found = scattered_of(region) if is_scattered(region) else convolution_of(product_of(region))
    assert found is not None, region
    rng = np.random.default_rng(0)
    values = [aligned(rng.standard_normal(x.shape).astype(np.float32)) for x in region.inputs]
    (wanted,) = interpret_region(region, values)
    memory = dict(zip(region.inputs, values, strict=True))
    (target,) = region.outputs
    memory[target] = aligned(np.full(wanted.shape, np.nan, np.float32))
    fake = Fake()
    run = DnnConvolution(found.key, fake)
    slots = found.image, found.filter, found.output
    run(7, *(memory[x].ctypes.data + offset for x, offset in slots), 4000)
    np.testing.assert_allclose(memory[target], wanted, rtol=2e-4, atol=2e-4)
    assert fake.cudnn.streams == (42, 7) and run.graph.ran == (4000, 42)
    return found.key


CASES = {
    "plain": ((2, 4, 9, 8), (8, 4, 3, 3), {}),
    "padded": ((2, 4, 8, 8), (8, 4, 3, 3), {"pad": 1}),
    "strides": ((2, 4, 9, 11), (8, 4, 3, 3), {"stride": 2}),
    "padded strides": ((2, 4, 8, 8), (8, 4, 3, 3), {"stride": 2, "pad": 1}),
    "dilated": ((2, 4, 12, 11), (8, 4, 3, 3), {"dilation": 2}),
    "stride and dilation": ((2, 4, 16, 16), (8, 4, 3, 3), {"dilation": 2, "stride": 2}),
    "one axis": ((2, 4, 20), (8, 4, 5), {"pad": 2}),
    "taps of two sizes": ((2, 4, 9, 8), (8, 4, 2, 4), {}),
    "one channel": ((2, 1, 9, 8), (8, 1, 3, 3), {}),
    "one image": ((1, 4, 9, 8), (8, 4, 3, 3), {}),
    "groups": ((2, 8, 9, 8), (12, 4, 3, 3), {"groups": 2, "pad": 1}),
    "depthwise": ((2, 8, 9, 8), (8, 1, 3, 3), {"groups": 8, "pad": 1}),
    "three axes": ((2, 4, 6, 5, 7), (4, 4, 3, 2, 3), {}),
}


# Their gradient by the data is a plain product, whose windows are then summed.
SUMMED = ("strides", "padded strides", "stride and dilation", "one channel")


def slides(region):
    return any(x.op.name == "window" for x in region.nodes)


@pytest.mark.parametrize("case", CASES)
def test_three_directions_compute_what_the_interpreter_does(case):
    x, w, options = CASES[case]
    regions = products(x, w, **options)
    keys = [check(region) for region in regions if slides(region)]
    wanted = ["fprop", "wgrad"] if case in SUMMED else ["dgrad", "fprop", "wgrad"]
    assert sorted(key.direction for key in keys) == wanted and len(regions) == 3
    assert all(len(key.stride) == max(2, len(w) - 2) for key in keys)


def one(x=(2, 4, 9, 8), w=(8, 4, 3, 3), dtype=F, **options):
    """A convolution alone, as a region."""
    x, w = ir.input(x, dtype), ir.input(w, dtype)
    y = convolution(x, w, **options)
    with config.scope(cuda="auto", cuda_blas="own", cuda_dnn="own"):
        plan = plan_graph(Graph([x, w], [y]), {}, device=device("cuda:0"))
    return next(region for region in plan if region.kind == CONTRACT)


def test_names_and_strides():
    key = check(one(stride=2, dilation=3, x=(2, 4, 20, 16)))
    assert key.name == "cudnn_fprop_float32_3x3" and key.parameters == ("ptr",) * 4
    assert (key.stride, key.dilation) == ((2, 2), (3, 3))
    assert key.image.dims == (2, 4, 19, 15) and key.image.strides == (1280, 320, 16, 1)
    assert key.filter.dims == (8, 4, 3, 3) and key.output.dims == (2, 8, 7, 5)


def test_what_is_no_convolution_of_cudnn_is_ours():
    assert convolution_of(product_of(one(dtype=dtypes.float64))) is None
    a, b = ir.input((4, 8), F), ir.input((8, 8), F)
    plain = lang.dot_general(a, b, ((1,), (0,)))
    x, w = ir.input((2, 3, 10, 8), F), ir.input((8, 4, 3, 3), F)
    attrs = {"size": (3,), "stride": (1,), "dilation": (1,)}
    own_taps = lang.dot_general(  # a batch of positions has no weights in common
        w, node("window", x, axes=(2,), **attrs), ((2, 3), (1, 4)), ((0,), (2,))
    )
    v, u = ir.input((2, 4, 12), F), ir.input((8, 4, 3), F)
    part = node("slice", v, start=(0, 0, 1), stop=(2, 4, 12), step=(1, 1, 1))
    unaligned = lang.dot_general(u, node("window", part, axes=(2,), **attrs), ((1, 2), (1, 3)))
    turned = node("window", node("flip", v, axes=(2,)), axes=(2,), **attrs)
    backwards = lang.dot_general(u, turned, ((1, 2), (1, 3)))
    kept = node("window", v, axes=(2,), **attrs)
    apart = lang.dot_general(u, kept, ((1,), (1,)))  # taps of both stay
    for y, *inputs in ((plain, a, b), (own_taps, x, w), (unaligned, v, u), (backwards, v, u),
                       (apart, v, u)):  # fmt: skip
        with config.scope(cuda="auto", cuda_blas="own", cuda_dnn="own"):
            plan = plan_graph(Graph(inputs, [y]), {}, device=device("cuda:0"))
        (region,) = (region for region in plan if region.kind == CONTRACT)
        assert convolution_of(product_of(region)) is None, y


# ---- what is handed over -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "tf32", "io", "exact"),
    [(F, False, "FLOAT", True), (F, True, "FLOAT", False), (dtypes.float16, True, "HALF", False),
     (dtypes.bfloat16, False, "BFLOAT16", False)],
)  # fmt: skip
def test_a_plan_of_the_types_that_sums_in_float32(dtype, tf32, io, exact):
    region = one(x=(2, 8, 9, 8), w=(8, 8, 3, 3), dtype=dtype)
    run = DnnConvolution(convolution_of(product_of(region), tf32).key, Fake())
    graph = run.graph
    assert graph.options["io_data_type"] is Data[io] is graph.result.data_type
    assert graph.options["compute_data_type"] is Data.FLOAT is graph.node["compute_data_type"]
    names, said = [said[0] for said in graph.said], {x: y for x, *y in graph.said}
    assert names == ["validate", "build_operation_graph", "create_execution_plans",
                     "deselect_numeric_notes", "deselect_workspace_greater_than",
                     "check_support", "build_plans"]  # fmt: skip
    assert (Note.TENSOR_CORE in said["deselect_numeric_notes"][0]) is exact
    assert Note.NONDETERMINISTIC in said["deselect_numeric_notes"][0]
    assert said["deselect_workspace_greater_than"] == [cudnn_plan.WORKSPACE_BYTES]
    assert said["create_execution_plans"] == [[Heuristic.A, Heuristic.FALLBACK]]


def test_the_installed_package_takes_these_graphs():
    """Names, signatures and its own inference of shapes; what follows needs cuDNN and a GPU."""
    cudnn = pytest.importorskip("cudnn")

    class Unplanned(DnnConvolution):
        def _plan(self):
            pass

    class Real(Fake):
        def __init__(self):
            self.cudnn = cudnn

        def handle(self):
            return None

    for case in ("padded", "dilated", "one axis", "groups"):
        x, w, options = CASES[case]
        for region in products(x, w, **options):
            key = convolution_of(product_of(region)).key
            graph = Unplanned(key, Real()).graph
            for uid, operand in ((1, key.image), (2, key.filter), (3, key.output)):
                tensor = graph.find_tensor(uid)
                assert tuple(tensor.dim) == operand.dims
                assert tuple(tensor.stride) == operand.strides
                assert not tensor.is_virtual and tensor.data_type is cudnn.data_type.FLOAT
            if key.direction == "fprop":
                (made,) = graph.nodes
                assert tuple(cudnn._pygraph._conv_fprop_dims(made)) == key.output.dims
    builder = cudnn._pybind_module.backend_graph
    for name, names in cudnn_plan.NODES.values():
        for option in (*names, "pre_padding", "post_padding", "stride", "dilation",
                       "compute_data_type", "name"):  # fmt: skip
            assert f"{option}: " in getattr(builder, name).__doc__
    for name in ("validate", "build_operation_graph", "create_execution_plans", "check_support",
                 "deselect_numeric_notes", "deselect_workspace_greater_than", "build_plans",
                 "execute"):  # fmt: skip
        assert callable(getattr(cudnn.pygraph, name)), name
    assert all(hasattr(cudnn.numerical_note, note.name) for note in Note)
    assert all(hasattr(cudnn.heur_mode, mode.name) for mode in Heuristic)
    assert issubclass(cudnn.cudnnGraphNotSupportedError, Exception)


# ---- who is asked --------------------------------------------------------------------------------


def test_the_setting_decides_who_is_asked(there, monkeypatch):
    region = one()
    for setting in ("auto", "cudnn"):
        (call,) = calls(region, cuda_dnn=setting)
        assert isinstance(call, library.LibraryCall) and call.name == "cudnn_fprop_float32_3x3"
        assert call.scratch_bytes == cudnn_plan.WORKSPACE_BYTES and call.slots[3] == ("scratch", 0)
        assert len(call.slots) == len(call.key.parameters)
        assert call.key.launcher() is call.key.launcher()  # planned once
    for settings in ({"cuda_dnn": "own"}, {"cuda": "emulate", "cuda_dnn": "cudnn"}):
        assert not isinstance(calls(region, **settings)[0], library.LibraryCall)
    monkeypatch.setattr(cudnn_plan, "installed", lambda: False)
    assert not isinstance(calls(region, cuda_dnn="auto")[0], library.LibraryCall)
    with pytest.raises(RuntimeError, match="pip install nvidia-cudnn-frontend"):
        calls(region, cuda_dnn="cudnn")
    with pytest.raises(ValueError, match="cuda_dnn"):
        config.cuda_dnn = "cublaslt"


def test_a_bias_is_added_by_a_loop_over_what_cudnn_wrote(there):
    x, w, b = ir.input((2, 4, 9, 8), F), ir.input((8, 4, 3, 3), F), ir.input((8,), F)
    y = node("add", convolution(x, w), node("reshape", b, shape=(8, 1, 1)))
    for setting, regions in (("auto", 2), ("own", 1)):
        with config.scope(cuda="auto", cuda_blas="own", cuda_dnn=setting):
            plan = plan_graph(Graph([x, w, b], [y]), {}, device=device("cuda:0"))
            assert len(list(plan)) == regions


def test_programs_are_kept_by_the_setting():
    kept = set()
    for setting in ("auto", "own", "cudnn"):
        with config.scope(cuda_dnn=setting):
            kept.add(config.of_kernels("cuda"))
    assert len(kept) == 3


def test_tf32_is_asked_for_by_pytorchs_switch(there):
    region = one()
    for tf32 in (False, True):
        assert calls(region, cuda_dnn="auto", cuda_tf32=tf32)[0].key.tf32 is tf32


def test_what_cudnn_declines_is_ours(there, monkeypatch):
    def declined(self):
        raise NotSupported("no engine")

    monkeypatch.setattr(FakeGraph, "check_support", declined, raising=False)
    assert not isinstance(calls(one(), cuda_dnn="cudnn")[0], library.LibraryCall)


def test_another_failure_is_told(there, monkeypatch):
    def failed(self):
        raise RuntimeError("CUDNN_STATUS_INTERNAL_ERROR")

    monkeypatch.setattr(FakeGraph, "build_plans", failed, raising=False)
    with pytest.warns(UserWarning, match="cudnn_fprop_float32_3x3: CUDNN_STATUS_INTERNAL_ERROR"):
        assert not isinstance(calls(one(), cuda_dnn="auto")[0], library.LibraryCall)


def test_without_cudnn_itself_it_is_not_installed(monkeypatch):
    """The package alone imports, and its first call reports that the library is missing."""
    fake = Fake()

    def version():
        raise RuntimeError("Unable to find symbol cudnnGetVersion")

    monkeypatch.setattr(fake.cudnn, "backend_version", version, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(cudnn_plan, "_bindings", lambda: fake)
    assert cudnn_plan.version.__wrapped__() is None
    monkeypatch.setattr(fake.cudnn, "backend_version", lambda: 91000)
    assert cudnn_plan.version.__wrapped__() == 91000
