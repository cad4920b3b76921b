"""Parameters as functions of others: ``layer.weight`` computed by a module from what is trained.

class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

parametrize.register_parametrization(layer, "weight", Symmetric())
layer.parametrizations.weight.original          # what the optimizer sees
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphgrad.nn.modules.container import ModuleDict, ModuleList
from graphgrad.nn.modules.module import Module
from graphgrad.nn.parameter import Parameter
from graphgrad.nn.utils import _computed
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad


class _Cache:
    """Values computed since the outermost ``cached`` was entered."""

    depth = 0
    values: dict[tuple[int, str], Tensor] = {}


@contextmanager
def cached() -> Iterator[None]:
    """Inside, every parametrized tensor is computed once, at its first use."""
    _Cache.depth += 1
    try:
        yield
    finally:
        _Cache.depth -= 1
        if not _Cache.depth:
            _Cache.values = {}


class ParametrizationList(ModuleList):
    """The modules that compute one tensor in turn, and the ``original`` or originals they take."""

    is_tensor: bool

    def __init__(self, modules: Sequence[Module], original: Tensor, unsafe: bool = False) -> None:
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        with no_grad():
            value = self._inverse(original)
        self.is_tensor = isinstance(value, Tensor)
        if self.is_tensor:
            if isinstance(original, Parameter):
                original.data = value
                self.original = original
            else:
                self.register_buffer("original", value)
        else:
            self.ntensors = len(value)
            for i, part in enumerate(value):
                if isinstance(original, Parameter):
                    setattr(self, f"original{i}", Parameter(part, original.requires_grad))
                else:
                    self.register_buffer(f"original{i}", part)
        if not unsafe:
            self._check(original)

    def _inverse(self, value: Any) -> Any:
        """What the first module takes, for the last to give ``value``."""
        for module in reversed(list(self)):
            if hasattr(module, "right_inverse"):
                try:
                    value = module.right_inverse(value)
                except NotImplementedError:
                    continue
        if not isinstance(value, (Tensor, Sequence)):
            raise ValueError(
                "'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). "
                f"Got {type(value).__name__}"
            )
        return value

    def _check(self, original: Tensor) -> None:
        with no_grad():
            value = self()
        if not isinstance(value, Tensor):
            raise ValueError(f"A parametrization must return a tensor. Got {type(value).__name__}.")
        if value.dtype is not original.dtype or tuple(value.shape) != tuple(original.shape):
            raise ValueError(
                "Registering a parametrization may not change the shape or dtype of the tensor, "
                f"unless the `unsafe` flag is enabled: {tuple(original.shape)} {original.dtype} "
                f"became {tuple(value.shape)} {value.dtype}."
            )

    def originals(self) -> list[Tensor]:
        """What the first module takes."""
        if self.is_tensor:
            return [self.original]
        return [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Tensor) -> None:
        """Set the originals so that the tensor becomes ``value``."""
        with no_grad():
            found = self._inverse(value)
            parts = [found] if self.is_tensor else list(found)
            for original, part in zip(self.originals(), parts, strict=True):
                original.copy_(part)

    def forward(self) -> Tensor:
        modules = list(self)
        value = modules[0](*self.originals())
        for module in modules[1:]:
            value = module(value)
        return value


def _read(name: str) -> Any:
    def get(module: Any) -> Tensor:
        if not _Cache.depth:
            return module.parametrizations[name]()
        key = (id(module), name)
        if key not in _Cache.values:
            _Cache.values[key] = module.parametrizations[name]()
        return _Cache.values[key]

    return get


def _write(name: str) -> Any:
    def put(module: Any, value: Tensor) -> None:
        module.parametrizations[name].right_inverse(value)

    return put


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Compute ``module.tensor_name`` by ``parametrization``; registered again, they are chained.

    The parametrization's ``right_inverse``, if it has one, says what is trained from the value so
    far. ``unsafe`` allows another shape or dtype.
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        rows = module.parametrizations[tensor_name]
        value = getattr(module, tensor_name)
        if hasattr(parametrization, "right_inverse"):
            with no_grad():
                value = parametrization.right_inverse(value)
            rows.right_inverse(value)
        rows.append(parametrization)
        return module
    original = _own_tensors(module).get(tensor_name)
    if original is None:
        raise ValueError(
            f"Module '{module}' does not have a parameter, a buffer, or a parametrized element "
            f"with name '{tensor_name}'"
        )
    rows = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if "parametrizations" not in module._modules:
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = rows
    _computed.compute(
        module, tensor_name, _read(tensor_name), _write(tensor_name), prefix="Parametrized"
    )
    return module


def _own_tensors(module: Module) -> dict[str, Any]:
    return {**module._buffers, **module._parameters}


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether any tensor of the module, or the one named, is parametrized."""
    tables = module._modules.get("parametrizations")
    if not tables:
        return False
    return len(tables) > 0 if tensor_name is None else tensor_name in tables


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """A plain parameter again: with the computed value, or (else) with the original."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    rows = module.parametrizations[tensor_name]
    if not rows.is_tensor and not leave_parametrized:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    trained = all(isinstance(x, Parameter) for x in rows.originals())
    with no_grad():
        value = rows() if leave_parametrized else rows.original.detach()
    original = rows.original if rows.is_tensor else Parameter(value)
    if rows.is_tensor:
        original.data = value
    del module.parametrizations[tensor_name]
    _computed.forget(module, tensor_name)
    if trained:
        module.register_parameter(tensor_name, original)
    else:
        module.register_buffer(tensor_name, value)
    if not len(module.parametrizations):
        del module.parametrizations
    return module


def type_before_parametrizations(module: Module) -> type:
    """The class that the module was built as."""
    return _computed.original_class(module)


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give ``to_module`` the parametrizations of ``from_module``, and what they are trained on."""
    if not is_parametrized(from_module):
        return to_module
    names = [tensor_name] if tensor_name else list(from_module.parametrizations)
    for name in names:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        rows = from_module.parametrizations[name]
        for parametrization in rows:
            register_parametrization(to_module, name, parametrization, unsafe=rows.unsafe)
        for mine, other in zip(
            to_module.parametrizations[name].originals(), rows.originals(), strict=True
        ):
            mine.data = other.detach().clone()
    return to_module
