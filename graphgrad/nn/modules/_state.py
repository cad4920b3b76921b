"""Saving and loading what a module holds: ``state_dict``, ``load_state_dict`` and their hooks.

weights = model.state_dict()            # names to tensors, sharing the model's memory
model.load_state_dict(weights)          # copies in; names every missing, unexpected or misfit key
"""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

from graphgrad.nn.parameter import Parameter
from graphgrad.tensor import Tensor
from graphgrad.tensor.record import RemovableHandle
from graphgrad.tensor.state import no_grad

_EXTRA = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ("missing_keys", "unexpected_keys"))):
    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


def _quoted(keys: list[str]) -> str:
    return ", ".join(f'"{key}"' for key in keys)


class StateMixin:
    """The part of ``Module`` that turns state into names and tensors, and back."""

    _version: int = 1
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Any]
    _non_persistent_buffers_set: set[str]

    def _init_state_hooks(self) -> None:
        for table in _TABLES:
            object.__setattr__(self, table, OrderedDict())

    def get_extra_state(self) -> Any:
        """Override (with ``set_extra_state``) to store more than tensors in the state dict."""
        raise RuntimeError(
            "Reached a code path in Module.get_extra_state() that should never be called."
        )

    def set_extra_state(self, state: Any) -> None:
        """Override to receive what ``get_extra_state`` stored."""
        raise RuntimeError(
            "Reached a code path in Module.set_extra_state() that should never be called."
        )

    def _overrides(self, name: str) -> bool:
        return getattr(type(self), name) is not getattr(StateMixin, name)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        """Write this module's own tensors (not its children's) into ``destination``."""
        for name, x in self._own_state():
            if x is not None:
                destination[prefix + name] = x if keep_vars else x.detach()
        if self._overrides("get_extra_state"):
            destination[prefix + _EXTRA] = self.get_extra_state()

    def _own_state(self) -> list[tuple[str, Tensor | None]]:
        skip = self._non_persistent_buffers_set
        buffers = [(name, b) for name, b in self._buffers.items() if name not in skip]
        return [*self._parameters.items(), *buffers]

    def state_dict(
        self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False
    ) -> Any:
        """Names to tensors, of this module and its children; an OrderedDict with ``_metadata``."""
        if args:
            destination, prefix, keep_vars = (*args, prefix, keep_vars)[:3]
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, child in self._modules.items():
            if child is not None:
                child.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        for hook in self._state_dict_hooks.values():
            result = hook(self, destination, prefix, metadata)
            destination = destination if result is None else result
        return destination

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Load this module's own tensors, adding to the three lists what does not fit."""
        for hook in self._load_state_dict_pre_hooks.values():
            hook(
                state_dict,
                prefix,
                local_metadata,
                strict,
                missing_keys,
                unexpected_keys,
                error_msgs,
            )
        for name, x in self._own_state():
            key = prefix + name
            if x is None:
                continue
            if key in state_dict:
                self._load_tensor(name, key, x, state_dict[key], local_metadata, error_msgs)
            elif strict:
                missing_keys.append(key)
        self._load_extra_state(state_dict, prefix, strict, missing_keys, unexpected_keys)
        if strict:
            unexpected_keys.extend(
                key for key in state_dict if key.startswith(prefix) and self._unknown(key, prefix)
            )

    def _load_extra_state(
        self, state_dict: Any, prefix: str, strict: bool, missing: list[str], unexpected: list[str]
    ) -> None:
        key = prefix + _EXTRA
        if self._overrides("set_extra_state"):
            if key in state_dict:
                self.set_extra_state(state_dict[key])
            elif strict:
                missing.append(key)
        elif strict and key in state_dict:
            unexpected.append(key)

    def _unknown(self, key: str, prefix: str) -> bool:
        """Whether no parameter, buffer or child of this module answers to ``key``."""
        name, *rest = key[len(prefix) :].split(".", 1)
        if name == _EXTRA:
            return False
        own = {k for k, x in self._own_state() if x is not None}
        return name not in self._modules if rest else name not in own

    def _load_tensor(
        self, name: str, key: str, x: Tensor, value: Any, metadata: Any, errors: list[str]
    ) -> None:
        if not isinstance(value, Tensor):
            errors.append(
                f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                f"object from checkpoint but received {type(value)}"
            )
            return
        # Models saved before version 0.4 kept scalars as one-element vectors.
        if x.dim() == 0 and tuple(value.shape) == (1,):
            value = value[0]
        if tuple(value.shape) != tuple(x.shape):
            errors.append(
                f"size mismatch for {key}: copying a param with shape {value.shape} from "
                f"checkpoint, the shape in current model is {x.shape}."
            )
        elif metadata.get("assign_to_params_buffers", False):
            if isinstance(x, Parameter) and not isinstance(value, Parameter):
                value = Parameter(value, requires_grad=x.requires_grad)
            setattr(self, name, value)
        else:
            with no_grad():
                x.copy_(value)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Copy tensors in by name (``assign``: take them over instead of copying).

        Returns the missing and unexpected names; raises RuntimeError listing them if ``strict``,
        and always listing tensors whose shape does not fit.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        missing: list[str] = []
        unexpected: list[str] = []
        errors: list[str] = []
        metadata = getattr(state_dict, "_metadata", None)
        state = OrderedDict(state_dict)
        if metadata is not None:
            state._metadata = metadata  # type: ignore[attr-defined]
        _load(self, state, "", metadata, assign, (missing, unexpected, errors))
        if strict and unexpected:
            errors.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if strict and missing:
            errors.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if errors:
            listed = "\n\t".join(errors)
            raise RuntimeError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t{listed}"
            )
        return _IncompatibleKeys(missing, unexpected)

    def _register_state_hook(self, table: str, hook: Callable[..., Any]) -> RemovableHandle:
        hooks = getattr(self, table)
        handle = RemovableHandle(hooks)
        hooks[handle.id] = hook
        return handle

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before the state is read."""
        return self._register_state_hook("_state_dict_pre_hooks", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after the state is read."""
        return self._register_state_hook("_state_dict_hooks", hook)

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """PyTorch's older name: the hook may return another state."""
        return self.register_state_dict_post_hook(hook)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """PyTorch's older name: the hook does not see the module unless ``with_module``."""
        if with_module:
            return self.register_load_state_dict_pre_hook(hook)
        return self._register_state_hook("_load_state_dict_pre_hooks", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, …)`` before this module's tensors are loaded."""

        def with_module(*args: Any) -> Any:
            return hook(self, *args)

        return self._register_state_hook("_load_state_dict_pre_hooks", with_module)

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may edit the two lists."""
        return self._register_state_hook("_load_state_dict_post_hooks", hook)


_TABLES = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


def _load(
    module: Any,
    state: Any,
    prefix: str,
    metadata: Any,
    assign: bool,
    found: tuple[list[str], list[str], list[str]],
) -> None:
    """Load a module, then its children, each from the keys under its own prefix."""
    local = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
    if assign:
        local["assign_to_params_buffers"] = True
    module._load_from_state_dict(state, prefix, local, True, *found)
    for name, child in module._modules.items():
        if child is not None:
            start = f"{prefix}{name}."
            below = OrderedDict((k, v) for k, v in state.items() if k.startswith(start))
            _load(child, below, start, metadata, assign, found)
    for hook in module._load_state_dict_post_hooks.values():
        if hook(module, _IncompatibleKeys(found[0], found[1])) is not None:
            raise AssertionError(
                "Hooks registered with ``register_load_state_dict_post_hook`` are not"
                "expected to return new values, if incompatible_keys need to be modified,"
                "it should be done inplace."
            )
