"""Convolutions by NVIDIA's cuDNN, through nvidia-cudnn-frontend's graphs: planned once a shape.

    planned(convolution)(stream, image, filter, output, workspace)
    supported(convolution)       # whether cuDNN has a plan for it on the current device

Optional: the package, cuDNN itself and a GPU have to be there. Plans repeat bit for bit, as our own
kernels do, sum in float32, and round float32 operands to TF32 only where that is asked for. Nothing
here has run on a GPU: tests compare every argument with a recording fake of the package.
"""

from __future__ import annotations

import functools
import threading
import warnings
from typing import Any

from .convolution import Convolution, Tensor

WORKSPACE_BYTES = 64 << 20  # plans that want more are left out
IMAGE, FILTER, OUTPUT = 1, 2, 3  # numbers of the operands
_TYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}
# direction -> the graph's method, its operands' names and whose they are; the third is the result
NODES = {
    "fprop": ("conv_fprop", {"image": "image", "weight": "filter"}),
    "wgrad": ("conv_wgrad", {"image": "image", "loss": "output"}),
    "dgrad": ("conv_dgrad", {"loss": "output", "filter": "filter"}),
}
INSTALL = "pip install nvidia-cudnn-frontend nvidia-cudnn-cu13"


class DnnConvolution:
    """A planned convolution on the current device."""

    def __init__(self, convolution: Convolution, bindings: Any = None) -> None:
        self.convolution = convolution
        self.dnn = bindings or _bindings()
        self.handle = self.dnn.handle()
        self.graph = self._graph()
        self._plan()

    def __call__(self, stream: int, image: int, filter: int, output: int, workspace: int) -> None:
        """Enqueue on a stream. Pointers are device addresses; which of them is written
        is the convolution's direction."""
        pointers = {IMAGE: image, FILTER: filter, OUTPUT: output}
        with self.dnn.lock:  # a handle, and so its stream, is one thread's at a time
            self.dnn.cudnn.set_stream(handle=self.handle, stream=stream)
            self.graph.execute(pointers, workspace, handle=self.handle)

    def _graph(self) -> Any:
        """One node: its operands, and the result under its own number."""
        cudnn, convolution = self.dnn.cudnn, self.convolution
        io, single = cudnn.data_type[_TYPES[convolution.dtype]], cudnn.data_type.FLOAT
        graph = cudnn.pygraph(
            name=convolution.name,
            io_data_type=io,
            intermediate_data_type=single,
            compute_data_type=single,
            handle=self.handle,
        )

        def operand(name: str, x: Tensor, uid: int) -> Any:
            dims, strides = list(x.dims), list(x.strides)
            return graph.tensor(dim=dims, stride=strides, data_type=io, name=name, uid=uid)

        uids = {"image": IMAGE, "filter": FILTER, "output": OUTPUT}
        made, names = NODES[convolution.direction]
        operands = {
            name: operand(name, getattr(convolution, field), uids[field])
            for name, field in names.items()
        }
        (written,) = uids.keys() - names.values()
        result: Tensor = getattr(convolution, written)
        y = getattr(graph, made)(**operands, **self._options())
        y.set_output(True).set_uid(uids[written]).set_data_type(io)
        y.set_dim(list(result.dims)).set_stride(list(result.strides))
        return graph

    def _options(self) -> dict[str, Any]:
        convolution = self.convolution
        return {
            "pre_padding": list(convolution.padding),
            "post_padding": list(convolution.padding),
            "stride": list(convolution.stride),
            "dilation": list(convolution.dilation),
            "compute_data_type": self.dnn.cudnn.data_type.FLOAT,
            "name": "convolution",
        }

    def _plan(self) -> None:
        """The first plan of cuDNN's heuristics that computes what our own kernels would."""
        cudnn, graph = self.dnn.cudnn, self.graph
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
        notes = ["NONDETERMINISTIC", "DOWN_CONVERT_INPUTS", "REDUCED_PRECISION_REDUCTION"]
        if self.convolution.dtype == "float32" and not self.convolution.tf32:
            notes.append("TENSOR_CORE")  # of float32: TF32
        graph.deselect_numeric_notes([cudnn.numerical_note[note] for note in notes])
        graph.deselect_workspace_greater_than(WORKSPACE_BYTES)
        graph.check_support()
        graph.build_plans()


def planned(convolution: Convolution) -> DnnConvolution:
    """The plan for the current device, made once."""
    return _planned(convolution, _bindings().device())


@functools.lru_cache(maxsize=4096)
def _planned(convolution: Convolution, device: int) -> DnnConvolution:
    return DnnConvolution(convolution)


def supported(convolution: Convolution) -> bool:
    """Whether cuDNN computes it on the current device; asked once."""
    return _supported(convolution, _bindings().device())


@functools.lru_cache(maxsize=4096)
def _supported(convolution: Convolution, device: int) -> bool:
    try:
        _planned(convolution, device)
    except _bindings().declines:
        return False
    except RuntimeError as error:  # our own kernel computes it as well, but somebody should know
        warnings.warn(f"cuDNN made no plan for {convolution.name}: {error}", stacklevel=2)
        return False
    return True


class Bindings:
    """nvidia-cudnn-frontend, and one handle of cuDNN a device."""

    def __init__(self) -> None:
        import cudnn

        self.cudnn = cudnn
        self.lock = threading.RLock()
        self.declines = (cudnn.cudnnGraphNotSupportedError, NotImplementedError)
        self._handles: dict[int, Any] = {}

    def device(self) -> int:
        """The number of this thread's current device."""
        from cuda.core import Device

        return Device().device_id

    def handle(self) -> Any:
        """The current device's handle, made at first use: that needs a GPU."""
        with self.lock:
            device = self.device()
            if device not in self._handles:
                self._handles[device] = self.cudnn.create_handle()
            return self._handles[device]


@functools.cache
def _bindings() -> Bindings:
    return Bindings()


@functools.cache
def version() -> int | None:
    """The version of the cuDNN that nvidia-cudnn-frontend loads; None where either is missing."""
    import importlib.util

    if importlib.util.find_spec("cudnn") is None:
        return None
    try:
        return int(_bindings().cudnn.backend_version())
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None


def installed() -> bool:
    """Whether nvidia-cudnn-frontend and the cuDNN it loads are there."""
    return version() is not None
