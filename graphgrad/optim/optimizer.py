"""``Optimizer``: parameter groups, state, and one program a step.

    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    opt.zero_grad(); loss.backward(); opt.step()

A subclass names its state, its run-time numbers and its update rule; a step over all parameters of
a group is one program that writes into their memory. Numbers are inputs of that program, so
changing a learning rate retraces nothing.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import graphgrad as gg
from graphgrad.dtypes import float32
from graphgrad.optim.sparse import split
from graphgrad.optim.update import Update
from graphgrad.tensor import Tensor
from graphgrad.tensor.record import RemovableHandle
from graphgrad.tensor.sparse import SparseTensor
from graphgrad.tensor.state import enable_grad, no_grad

Group = dict[str, Any]
Hook = Callable[..., Any]


def typename(value: Any) -> str:
    """The name PyTorch's messages use: ``torch.FloatTensor``, ``int``."""
    return value.type() if isinstance(value, Tensor) else type(value).__name__


def check(ok: bool, text: str) -> None:
    """ValueError unless ``ok``."""
    if not ok:
        raise ValueError(text)


# Options with a lower bound of 0 (betas and rho also an upper one of 1), as errors name them.
_SPELLED = {
    "lr": "learning rate",
    "eps": "epsilon value",
    "momentum": "momentum value",
    "weight_decay": "weight_decay value",
    "alpha": "alpha value",
    "rho": "rho value",
    "lr_decay": "lr_decay value",
    "initial_accumulator_value": "initial_accumulator_value value",
    "momentum_decay": "momentum_decay value",
}


def validated(options: dict[str, Any]) -> dict[str, Any]:
    """The options, after PyTorch's checks: ValueError names the first that is out of range."""
    if isinstance(options["lr"], Tensor):
        check(options["lr"].numel() == 1, "Tensor lr must be 1-element")
    for name, spelled in _SPELLED.items():
        value = float(options.get(name, 0.0))
        inside = value >= 0.0 and (name != "rho" or value <= 1.0)
        check(inside, f"Invalid {spelled}: {options.get(name)}")
    for i, beta in enumerate(options.get("betas", ())):
        check(0.0 <= beta < 1.0, f"Invalid beta parameter at index {i}: {beta}")
    if options.get("differentiable"):
        raise NotImplementedError("an optimizer step cannot be differentiated")
    return options


class Optimizer:
    """Base class; ``param_groups`` hold parameters and options, ``state`` what is remembered."""

    # Called with (group, steps taken): every number the rule reads at run time.
    numbers: ClassVar[Mapping[str, Callable[[Group, float], float]]] = {}
    # Options whose being zero (or False) changes the rule itself, not only its numbers.
    switches: ClassVar[tuple[str, ...]] = ()
    # Whether elements are updated each for itself, so that complex ones are two numbers.
    elementwise: ClassVar[bool] = True

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {typename(params)}"
            )
        self.defaults = defaults
        # What a schedule looks at, to warn when it is stepped first.
        self._opt_called = False
        # The trace whose parameters are known to have taken equally many steps (see Lockstep).
        self.counted_by: Any = None
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        self._hooks: dict[str, OrderedDict[int, Hook]] = {k: OrderedDict() for k in _HOOKS}
        groups = list(params)
        check(len(groups) > 0, "optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": params if isinstance(params, set) else groups}]
        for group in groups:
            self.add_param_group(group)

    # ----------------------------------------------------------------------------------- a step

    def names(self, group: Group) -> tuple[str, ...]:
        """The state tensors a parameter of this group has."""
        raise NotImplementedError(f"{type(self).__name__} does not say which state it keeps")

    def names_of(self, group: Group, parameters: Iterable[Tensor]) -> dict[Tensor, tuple[str, ...]]:
        """The state tensors of each parameter; a subclass may let them depend on it."""
        return dict.fromkeys(parameters, self.names(group))

    def rule(self, group: Group) -> Callable[..., Any]:
        """The update in graph language: (p, g, *state, numbers) → (p, *state).

        Equal options must give equal (hashable) rules: the program is found by them.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update rule")

    def options(self, group: Group) -> dict[str, bool]:
        """Which switches are on."""
        return {name: bool(group[name]) for name in self.switches}

    def __graphgrad_guards__(self) -> list[tuple[Any, ...]]:
        """What a compiled step depends on: groups, their sizes and switches; numbers are inputs."""
        count = len(self.param_groups)
        rows: list[tuple[Any, ...]] = [
            (".param_groups", f"len({{}}.param_groups) == {count}", self)
        ]
        for i, group in enumerate(self.param_groups):
            here = f".param_groups[{i}]"
            rows.append((here, f"{{}}.param_groups[{i}] is {{}}", self, group))
            size = len(group["params"])
            rows.append((f"{here}['params']", f"len({{}}['params']) == {size}", group))
            for name in self.switches:
                negated = "" if group[name] else "not "
                rows.append((f"{here}[{name!r}]", f"{negated}{{}}[{name!r}]", group))
        return rows

    def start(self, group: Group, parameter: Tensor, name: str) -> Tensor:
        """A state tensor before the first step."""
        if name == "step":
            return gg.tensor(0.0, dtype=float32, device="cpu")
        return parameter.detach().new_zeros(parameter.shape)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns the loss ``closure`` computes."""
        self._opt_called = True
        self._run_hooks("step_pre", closure)
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                self._step_group(group)
        self._run_hooks("step_post", closure)
        return loss

    def _run_hooks(self, when: str, closure: Any) -> None:
        for hook in (*_everywhere[when].values(), *self._hooks[when].values()):
            hook(self, (closure,), {})

    def _step_group(self, group: Group) -> None:
        parameters = self._dense(group)
        if parameters:
            Update(self, group, parameters).run()

    def _dense(self, group: Group) -> list[Tensor]:
        """The parameters with a gradient, after a step of those whose gradient is sparse."""
        gradients = [(p, p.grad) for p in group["params"]]
        parameters = [p for p, g in gradients if g is not None]
        if SparseTensor in [g.__class__ for _, g in gradients]:
            parameters, sparse = split(parameters)
            for p in sparse:
                self._step_sparse(group, p)
        return parameters

    def _step_sparse(self, group: Group, parameter: Tensor) -> None:
        """Step one parameter whose gradient is sparse; SGD and Adagrad can."""
        name = type(self).__name__
        hint = ", please consider SparseAdam instead" if "Adam" in (name, name[:-1]) else ""
        raise RuntimeError(f"{name} does not support sparse gradients{hint}")

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or fill them with zeros)."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.detach().zero_()

    # ----------------------------------------------------------------------------------- groups

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with options of their own; what they lack comes from ``defaults``."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        param_group["params"] = [params] if isinstance(params, Tensor) else list(params)
        _split_names(param_group)
        self._check_parameters(param_group["params"])
        for name, default in self.defaults.items():
            param_group.setdefault(name, default)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        if known & {id(p) for p in param_group["params"]}:
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    def _check_parameters(self, params: Iterable[Any]) -> None:
        seen: set[int] = set()
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is {typename(p)}"
                )
            check(p.is_leaf, "can't optimize a non-leaf Tensor")
            if id(p) in seen:
                warnings.warn(
                    "optimizer contains a parameter group with duplicate parameters; in future, "
                    "this will cause an error; see github.com/pytorch/pytorch/issues/40967 for "
                    "more information",
                    stacklevel=4,
                )
            seen.add(id(p))

    # ----------------------------------------------------------------------------------- state

    def _numbered(self) -> dict[int, int]:
        """Position of every parameter, counted through the groups."""
        order: dict[int, int] = {}
        for group in self.param_groups:
            for p in group["params"]:
                order.setdefault(id(p), len(order))
        return order

    def state_dict(self) -> dict[str, Any]:
        """State by parameter number, and the groups with numbers in place of parameters."""
        for hook in self._hooks["state_dict_pre"].values():
            hook(self)
        number = self._numbered()
        groups = [
            {k: v for k, v in group.items() if k != "params"}
            | {"params": [number[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {number[id(p)]: kept for p, kept in self.state.items()}
        result: dict[str, Any] = {"state": state, "param_groups": groups}
        for hook in self._hooks["state_dict_post"].values():
            result = hook(self, result) or result
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``; ValueError when its groups do not fit."""
        state_dict = dict(state_dict)
        self.counted_by = None
        for hook in self._hooks["load_state_dict_pre"].values():
            state_dict = hook(self, state_dict) or state_dict
        saved = deepcopy(state_dict["param_groups"])
        check(
            len(saved) == len(self.param_groups),
            "loaded state dict has a different number of parameter groups",
        )
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            check(
                len(mine["params"]) == len(theirs["params"]),
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group",
            )
        parameter: dict[int, Tensor] = {}
        for mine, theirs in zip(self.param_groups, saved, strict=True):
            parameter |= dict(zip(theirs["params"], mine["params"], strict=True))
            params, names = mine["params"], mine.get("param_names")
            mine.clear()
            mine.update(theirs, params=params)
            if names is not None:
                mine["param_names"] = names
        for number, kept in state_dict["state"].items():
            if number in parameter:
                self._load_state(parameter[number], kept)
        for hook in self._hooks["load_state_dict_post"].values():
            hook(self)

    def _load_state(self, p: Tensor, kept: dict[str, Any]) -> None:
        state = self.state[p]
        for name, value in kept.items():
            value = value if name == "step" else _beside(value, p)
            if not isinstance(value, Tensor):
                state[name] = deepcopy(value)
                continue
            old = state.get(name)
            # In place where possible: compiled steps hold on to the tensors they update.
            if isinstance(old, Tensor) and old.shape == value.shape and old.dtype is value.dtype:
                with no_grad():
                    old.copy_(value)
            else:
                state[name] = value.detach().clone()

    def __getstate__(self) -> dict[str, Any]:
        return {k: getattr(self, k) for k in ("defaults", "state", "param_groups")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__dict__.setdefault("_hooks", {k: OrderedDict() for k in _HOOKS})
        self.counted_by = None

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([*lines, ")"])


# Hooks of every optimizer's steps.
_everywhere: dict[str, OrderedDict[int, Hook]] = {
    "step_pre": OrderedDict(),
    "step_post": OrderedDict(),
}


def register_optimizer_step_pre_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer."""
    return _added(_everywhere["step_pre"], hook)


def register_optimizer_step_post_hook(hook: Hook) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer."""
    return _added(_everywhere["step_post"], hook)


def _added(table: OrderedDict[int, Hook], hook: Hook, prepend: bool = False) -> RemovableHandle:
    handle = RemovableHandle(table)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


_HOOKS = {
    "step_pre": "Call ``hook(optimizer, args, kwargs)`` before every step.",
    "step_post": "Call ``hook(optimizer, args, kwargs)`` after every step.",
    "state_dict_pre": "Call ``hook(optimizer)`` before ``state_dict``.",
    "state_dict_post": "Call ``hook(optimizer, state_dict)`` after; may return another.",
    "load_state_dict_pre": "Call ``hook(optimizer, state_dict)`` before; may return another.",
    "load_state_dict_post": "Call ``hook(optimizer)`` after ``load_state_dict``.",
}


def _registrar(table: str, doc: str) -> Callable[..., RemovableHandle]:
    def register(self: Optimizer, hook: Hook, prepend: bool = False) -> RemovableHandle:
        return _added(self._hooks[table], hook, prepend)

    register.__name__, register.__doc__ = f"register_{table}_hook", doc
    return register


for _table, _doc in _HOOKS.items():
    setattr(Optimizer, f"register_{_table}_hook", _registrar(_table, _doc))


def _beside(value: Any, p: Tensor) -> Any:
    """Saved state as it is kept for a parameter: in its type, on its device, in containers too."""
    if isinstance(value, Tensor):
        return value.to(p.device, p.dtype) if p.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_beside(x, p) for x in value)
    return value


def _split_names(group: Group) -> None:
    """Turn (name, parameter) pairs into parameters and ``param_names``."""
    named = [isinstance(p, tuple) for p in group["params"]]
    if not any(named):
        return
    check(
        all(named),
        "all optimizer params should be with/without names. Some param names are missing",
    )
    group["param_names"] = [name for name, _ in group["params"]]
    group["params"] = [p for _, p in group["params"]]


@functools.cache
def rule_of(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """``function`` with its static options; equal options give the same object."""
    return functools.partial(function, **options)
