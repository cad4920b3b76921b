"""Gradients: ``backward``, ``grad``, custom functions, and switching recording on and off."""

from graphgrad.autograd import function, functional, graph, profiler
from graphgrad.autograd.anomaly import detect_anomaly, set_detect_anomaly
from graphgrad.autograd.function import Function
from graphgrad.autograd.gradcheck import gradcheck, gradgradcheck
from graphgrad.nearest import names_of
from graphgrad.tensor.backward import grad
from graphgrad.tensor.backward import run_backward as backward
from graphgrad.tensor.core import Tensor
from graphgrad.tensor.state import (
    enable_grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
)


class Variable(Tensor):
    """The old name of a tensor: ``Variable(x, requires_grad=True)`` is ``x`` itself."""

    __slots__ = ()

    def __new__(cls, data: Tensor, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        out = data.detach()
        return out.requires_grad_() if requires_grad else out


def set_multithreading_enabled(mode: bool) -> None:
    """Nothing to do: backward is one program, which uses the threads that kernels use."""


__all__ = [
    "Function",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "no_grad",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]

__getattr__ = names_of("graphgrad.autograd", globals())
