"""Functions of functions: ``grad``, ``vjp``, ``jvp``, ``jacrev``, ``hessian``, ``vmap``.

Modules are functions of their parameters, too:

    gradients = func.grad(lambda p: loss(func.functional_call(model, p, x), y))(parameters)

Arguments that are differentiated may be nested containers of tensors. Transformations nest, and
work inside ``gg.compile``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from graphgrad.random.generator import restore, snapshot
from graphgrad.tensor import FUNCTIONS, Tensor, engine
from graphgrad.tensor.backward import grad as gradients
from graphgrad.tensor.plan import edge_of
from graphgrad.tensor.state import enable_grad, state
from graphgrad.tree import flatten, unflatten

Function = Callable[..., Any]

# How many transformations of this module are running, one inside the other.
_depth = 0


@contextlib.contextmanager
def _inside() -> Iterator[None]:
    global _depth
    _depth += 1
    try:
        with enable_grad():
            yield
    finally:
        _depth -= 1


class _Pulled:
    """A function that ran once on fresh inputs, and whose cotangents can be pulled back."""

    def __init__(self, function: Function, args: Sequence[Any], wanted: Sequence[int]) -> None:
        self.outside = [x for i in wanted for x in flatten(args[i])[0]]
        self.keep = state.grad and (_depth > 0 or any(_needs(x) for x in self.outside))
        fresh, self.shapes, self.inputs = list(args), [], []
        for i in wanted:
            leaves, shape = flatten(args[i])
            leaves = [self._fresh(x) for x in leaves]
            fresh[i] = unflatten(shape, leaves)
            self.inputs += leaves
            self.shapes.append((shape, len(leaves)))
        with _inside():
            self.result = function(*fresh)

    def _fresh(self, x: Any) -> Any:
        if not isinstance(x, Tensor):
            raise TypeError(
                f"arguments that are differentiated must hold tensors only, not {type(x).__name__}"
            )
        return x.view_as(x) if x._needs and state.grad else x.detach().requires_grad_()

    def pull(self, outputs: Sequence[Tensor], cotangents: Any, final: bool = False) -> list[Tensor]:
        """One gradient an input, zeros where an output does not depend on it."""
        reached = [(y, g) for y, g in zip(outputs, cotangents, strict=True) if y._needs]
        keep = self.keep or self._others_flow(outputs)
        found: Sequence[Any] = [None] * len(self.inputs)
        if reached:
            ys, gs = zip(*reached, strict=True)
            retain = not final or keep
            found = gradients(ys, self.inputs, gs, retain, keep, allow_unused=True)
        pairs = zip(found, self.inputs, strict=True)
        return [FUNCTIONS["zeros_like"](x.detach()) if g is None else g for g, x in pairs]

    def _others_flow(self, outputs: Sequence[Tensor]) -> bool:
        """Whether tensors that the function took from elsewhere require gradients."""
        if not state.grad:
            return False
        own = {id(x) for x in self.inputs}
        records = engine.reach(edge_of(y) for y in outputs if y._needs)
        leaves = (target for rec in records for target, _ in rec.edges)
        return any(isinstance(t, Tensor) and t._needs and id(t) not in own for t in leaves)

    def shaped(self, leaves: Sequence[Any]) -> list[Any]:
        """Leaves in the containers of the arguments they belong to."""
        done, parts = 0, []
        for shape, count in self.shapes:
            parts.append(unflatten(shape, leaves[done : done + count]))
            done += count
        return parts

    def given(self, y: Any) -> Any:
        """A result as callers see it: without the history that leads to the fresh inputs."""
        leaves, shape = flatten(y)
        keep = self.keep or self._others_flow([x for x in leaves if isinstance(x, Tensor)])
        seen = [x.detach() if isinstance(x, Tensor) and not keep else x for x in leaves]
        return unflatten(shape, seen)


def _needs(x: Any) -> bool:
    return isinstance(x, Tensor) and x._needs


def _numbers(argnums: int | tuple[int, ...], count: int) -> list[int]:
    listed = [argnums] if isinstance(argnums, int) else list(argnums)
    for i in listed:
        if not -count <= i < count:
            raise RuntimeError(f"argnums={argnums}, but there are {count} positional arguments")
    return [i % count for i in listed]


def _split(result: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not (isinstance(result, tuple) and len(result) == 2):
        raise RuntimeError("with has_aux=True the function must return a pair (output, aux)")
    return result


# ---------------------------------------------------------------------------------------- gradients


def grad_and_value(
    func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False
) -> Function:
    """A function that returns (gradients, value) of a scalar ``func``; or (…, (value, aux))."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wanted = _numbers(argnums, len(args))
        pulled = _Pulled(lambda *xs: func(*xs, **kwargs), args, wanted)
        value, aux = _split(pulled.result, has_aux)
        if not isinstance(value, Tensor) or value.dim() != 0:
            what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value)
            raise RuntimeError(f"grad: the function must return a scalar tensor, not {what}")
        parts = pulled.shaped(pulled.pull([value], [FUNCTIONS["ones_like"](value)], final=True))
        found = parts[0] if isinstance(argnums, int) else tuple(parts)
        value = pulled.given(value)
        return found, (value, pulled.given(aux)) if has_aux else value

    return wrapper


def grad(func: Function, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Function:
    """A function that returns the gradient of a scalar ``func``, or (gradient, aux)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        found, value = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return wrapper


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """(output, f) where f(cotangents) are the gradients of the primals; has_aux: (…, f, aux)."""
    pulled = _Pulled(func, primals, range(len(primals)))
    output, aux = _split(pulled.result, has_aux)
    leaves, shape = flatten(output)

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: Any = None) -> Any:
        given, described = flatten(cotangents)
        if described != shape:
            raise RuntimeError("vjp: cotangents must have the structure of the output")
        parts = pulled.shaped(pulled.pull(leaves, given, final=not retain_graph))
        return parts[0] if len(parts) == 1 and len(primals) == 1 else tuple(parts)

    seen = pulled.given(output)
    return (seen, pull, pulled.given(aux)) if has_aux else (seen, pull)


def linearize(func: Function, *primals: Any) -> tuple[Any, Function]:
    """(output, f) where f(*tangents) is the derivative of ``func`` at the primals along them."""
    pulled = _Pulled(func, primals, range(len(primals)))
    leaves, shape = flatten(pulled.result)
    dummies, through = _transposed(pulled, leaves)

    def push(*tangents: Any) -> Any:
        given = [t for tangent in tangents for t in flatten(tangent)[0]]
        return unflatten(shape, _along(through, dummies, given, pulled.keep))

    return pulled.given(pulled.result), push


def _transposed(pulled: _Pulled, outputs: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Dummy cotangents, and the gradients as linear functions of them."""
    zeros = FUNCTIONS["zeros_like"]
    dummies = [zeros(y.detach()).requires_grad_() for y in outputs]
    reached = [(y, d) for y, d in zip(outputs, dummies, strict=True) if y._needs]
    with enable_grad():
        if not reached:
            return dummies, [zeros(x.detach()) for x in pulled.inputs]
        ys, ds = zip(*reached, strict=True)
        found = gradients(ys, pulled.inputs, ds, create_graph=True, allow_unused=True)
    pairs = zip(found, pulled.inputs, strict=True)
    return dummies, [zeros(x.detach()) if g is None else g for g, x in pairs]


def _along(
    through: Sequence[Tensor], dummies: Sequence[Tensor], tangents: Sequence[Any], keep: bool
) -> list[Tensor]:
    """The derivative along tangents: the gradient of (transposed map)·tangents."""
    pairs = [(g, t) for g, t in zip(through, tangents, strict=True) if g._needs]
    found: Sequence[Any] = [None] * len(dummies)
    if pairs:
        gs, ts = zip(*pairs, strict=True)
        found = gradients(gs, dummies, ts, True, keep, allow_unused=True)
    both = zip(found, dummies, strict=True)
    return [FUNCTIONS["zeros_like"](d.detach()) if g is None else g for g, d in both]


def jvp(
    func: Function, primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """(output, its derivative along the tangents); with has_aux (…, …, aux)."""
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise RuntimeError("jvp: primals and tangents must be tuples")
    if len(primals) != len(tangents):
        raise RuntimeError(f"jvp: got {len(primals)} primals but {len(tangents)} tangents")
    pulled = _Pulled(func, primals, range(len(primals)))
    output, aux = _split(pulled.result, has_aux)
    leaves, shape = flatten(output)
    dummies, through = _transposed(pulled, leaves)
    given = [t for tangent in tangents for t in flatten(tangent)[0]]
    moved = unflatten(shape, _along(through, dummies, given, pulled.keep))
    seen = pulled.given(output)
    return (seen, moved, pulled.given(aux)) if has_aux else (seen, moved)


# ---------------------------------------------------------------------------------------- Jacobians


def jacrev(
    func: Function,
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Function:
    """A function that returns the Jacobian, (*output, *input), one output element at a time."""

    def rows(pulled: _Pulled, outputs: list[Tensor]) -> list[list[Tensor]]:
        table = []
        for y in outputs:
            flat = y.reshape(-1)
            picked = [pulled.pull([flat[i]], [_one(flat)]) for i in range(flat.numel())]
            table.append(
                [_stacked([row[k] for row in picked], y, x) for k, x in enumerate(pulled.inputs)]
            )
        return table

    return _jacobian(func, argnums, has_aux, rows)


def jacfwd(
    func: Function,
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Function:
    """As ``jacrev``, one input element at a time: for few inputs and many outputs."""

    def columns(pulled: _Pulled, outputs: list[Tensor]) -> list[list[Tensor]]:
        dummies, through = _transposed(pulled, outputs)
        table: list[list[Tensor]] = [[] for _ in outputs]
        for g, x in zip(through, pulled.inputs, strict=True):
            flat = g.reshape(-1)
            moved = [
                _along([flat[i]], dummies, [_one(flat)], pulled.keep) for i in range(flat.numel())
            ]
            for row, y, k in zip(table, outputs, range(len(outputs)), strict=True):
                row.append(_stacked([column[k] for column in moved], x, y, turned=True))
        return table

    return _jacobian(func, argnums, has_aux, columns)


def _one(x: Tensor) -> Tensor:
    return FUNCTIONS["ones"]((), dtype=x.dtype, device=x.device)


def _stacked(parts: list[Tensor], first: Tensor, rest: Tensor, turned: bool = False) -> Tensor:
    """Derivatives by element of ``first``, as (*first, *rest), or ``turned`` (*rest, *first)."""
    shape = (*first.shape, *rest.shape)
    if not parts:
        shape = (*rest.shape, *first.shape) if turned else shape
        return FUNCTIONS["zeros"](shape, dtype=rest.dtype, device=rest.device)
    whole = FUNCTIONS["stack"](parts).reshape(shape)
    if not turned:
        return whole
    lead = first.dim()
    return whole.permute(*range(lead, whole.dim()), *range(lead)) if whole.dim() else whole


def _jacobian(
    func: Function, argnums: int | tuple[int, ...], has_aux: bool, table_of: Function
) -> Function:
    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        wanted = _numbers(argnums, len(args))
        pulled = _Pulled(lambda *xs: func(*xs, **kwargs), args, wanted)
        output, aux = _split(pulled.result, has_aux)
        leaves, shape = flatten(output)
        table = [pulled.shaped(row) for row in table_of(pulled, leaves)]
        rows = [row[0] if isinstance(argnums, int) else tuple(row) for row in table]
        found = unflatten(shape, rows)
        return (found, pulled.given(aux)) if has_aux else found

    return wrapper


def hessian(func: Function, argnums: int | tuple[int, ...] = 0) -> Function:
    """Second derivatives of ``func``: the Jacobian of its Jacobian."""
    return jacfwd(jacrev(func, argnums), argnums)


# --------------------------------------------------------------------------------------------- vmap


def vmap(
    func: Function,
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Function:
    """A function over batches that calls ``func`` once for every sample and stacks the results.

    It is a loop, right but no faster than one: write batched operations where speed matters.
    in_dims: where arguments (or parts of them) have the batch, None for those shared by all.
    randomness: "error", "different" draws for each sample, or the "same".
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got "
            f"{randomness}"
        )

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        leaves, shape = flatten(args)
        dims = _dims(in_dims, args)
        size = _batch_size(leaves, dims)
        named, named_shape = flatten(kwargs)
        begin = [] if randomness == "different" else snapshot()
        results = []
        for i in range(size):
            if randomness == "same":
                restore(begin)
            pairs = zip(leaves, dims, strict=True)
            sample = [x if d is None else x.select(d, i) for x, d in pairs]
            inner = [x.select(0, i) if isinstance(x, Tensor) else x for x in named]
            results.append(func(*unflatten(shape, sample), **unflatten(named_shape, inner)))
        if randomness == "error" and state.trace is None:
            _check_nothing_drawn(begin)
        return _joined(results, out_dims)

    return wrapper


def _dims(in_dims: Any, args: tuple[Any, ...]) -> list[Any]:
    """One dimension (or None) for every leaf of the arguments."""
    if in_dims is None or isinstance(in_dims, int):
        in_dims = (in_dims,) * len(args)
    if not isinstance(in_dims, (tuple, list)) or len(in_dims) != len(args):
        raise ValueError(
            f"vmap: in_dims={in_dims} must have one entry for each of the {len(args)} arguments"
        )
    return [d for given, x in zip(in_dims, args, strict=True) for d in _spread(given, x)]


def _spread(given: Any, x: Any) -> list[Any]:
    if given is None or isinstance(given, int):
        leaves = flatten(x)[0]
        return [given if isinstance(leaf, Tensor) else None for leaf in leaves]
    parts = x.values() if isinstance(x, dict) else x
    dims = [given[k] for k in x] if isinstance(x, dict) else given
    return [d for one, part in zip(dims, parts, strict=True) for d in _spread(one, part)]


def _batch_size(leaves: Sequence[Any], dims: Sequence[Any]) -> int:
    sizes = {x.shape[d] for x, d in zip(leaves, dims, strict=True) if d is not None}
    if not sizes:
        raise ValueError("vmap: at least one argument must have a batch dimension")
    if len(sizes) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
            f"{sorted(sizes)} for the mapped dimension"
        )
    if 0 in sizes:
        raise NotImplementedError(
            "vmap over no samples: what shape results would have is unknown before a call"
        )
    return sizes.pop()


def _check_nothing_drawn(begin: Any) -> None:
    now = snapshot()
    drawn = any(not bool((a == b).all()) for (_, a), (_, b) in zip(begin, now, strict=False))
    if drawn or len(now) > len(begin):
        raise RuntimeError(
            "vmap: called random operation while in randomness error mode. Please either use the "
            "'same' or 'different' randomness flags on vmap or perform the randomness operation "
            "outside of vmap"
        )


def _joined(results: list[Any], out_dims: Any) -> Any:
    described = flatten(results[0])[1]
    columns = zip(*(flatten(r)[0] for r in results), strict=True)
    dims = _spread(out_dims, results[0]) if not isinstance(out_dims, int) else None
    stacked = []
    for k, column in enumerate(columns):
        if not isinstance(column[0], Tensor):
            raise ValueError(
                f"vmap: the function must return tensors only, not {type(column[0]).__name__}"
            )
        d = out_dims if dims is None else dims[k]
        stacked.append(column[0] if d is None else FUNCTIONS["stack"](column, d))
    return unflatten(described, stacked)


# ------------------------------------------------------------------------------------------ modules


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call ``module`` with other parameters and buffers, by name, in place of its own.

    tie_weights: a tensor known under two names is replaced under both, if one is given.
    strict: every parameter and buffer must be given.
    """
    given = parameter_and_buffer_dicts
    merged: dict[str, Any] = {}
    for part in (given,) if isinstance(given, Mapping) else given:
        if merged.keys() & part.keys():
            raise ValueError(
                f"{sorted(merged.keys() & part.keys())} appear in multiple dictionaries"
            )
        merged |= part
    places = _places(module)
    unknown = [name for name in merged if name not in places]
    missing = [name for name in places if strict and name not in merged]
    if unknown or missing:
        raise KeyError(f"functional_call: unknown names {unknown}, missing names {missing}")
    if tie_weights:
        merged = _tied(places, merged)
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    before = {name: places[name][0][places[name][1]] for name in merged}
    try:
        for name, value in merged.items():
            table, key = places[name]
            table[key] = value
        return module(*args, **(kwargs or {}))
    finally:
        for name, value in before.items():
            table, key = places[name]
            table[key] = value


def _places(module: Any) -> dict[str, tuple[dict[str, Any], str]]:
    """Where each parameter and buffer lies: (table, key) by its full name."""
    found = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for table in (part._parameters, part._buffers):
            for key, value in table.items():
                if value is not None:
                    found[f"{prefix}.{key}" if prefix else key] = (table, key)
    return found


def _tied(places: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    owner = {id(places[name][0][places[name][1]]): value for name, value in given.items()}
    both = {
        name: owner[id(table[key])]
        for name, (table, key) in places.items()
        if id(table[key]) in owner
    }
    return both | given


def stack_module_state(models: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and buffers of equal models, stacked by name: an ensemble for ``vmap``."""
    models = list(models)
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({type(m) for m in models}) > 1 or len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to be of one class and in one training mode"
        )
    tables = []
    for names in ("named_parameters", "named_buffers"):
        states = [dict(getattr(m, names)()) for m in models]
        table = {}
        for name in states[0]:
            values = [s[name] for s in states]
            stacked = FUNCTIONS["stack"]([v.detach() for v in values])
            table[name] = stacked.requires_grad_() if values[0].requires_grad else stacked
        tables.append(table)
    return tables[0], tables[1]


def replace_all_batch_norm_modules_(root: Any) -> Any:
    """Make batch norms of ``root`` use the batch's statistics only, in place."""
    for module in root.modules():
        if getattr(module, "running_mean", None) is not None and hasattr(module, "momentum"):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root


def functionalize(func: Function, *, remove: str = "mutations") -> Function:
    """``func`` itself: writes in place and views are made functional while tracing."""
    return func


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """``tensor`` itself: transformations wrap nothing."""
    return tensor
