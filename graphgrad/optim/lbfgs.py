"""L-BFGS (Liu & Nocedal 1989): ``LBFGS(params).step(closure)``, for smooth deterministic losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad.errors import TraceError, message
from graphgrad.optim.line_search import Point, Search
from graphgrad.optim.optimizer import Optimizer, check, validated
from graphgrad.optim.update import parts
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import enable_grad, no_grad, state


class LBFGS(Optimizer):
    """Newton's direction from the last ``history_size`` changes of the gradient.

    A step evaluates ``closure`` (zero_grad, loss, backward, return loss) up to ``max_eval`` times.
    ``line_search_fn``: None for steps of length lr, or "strong_wolfe".
    """

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        options = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, validated(options))
        check(
            len(self.param_groups) == 1,
            "LBFGS doesn't support per-parameter options (parameter groups)",
        )
        self._params: list[Tensor] = self.param_groups[0]["params"]

    @no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Minimise for up to ``max_iter`` iterations; the loss at the beginning."""
        if state.trace is not None:
            raise TraceError(
                message(
                    "LBFGS decides by the value of the loss, which is not known while tracing",
                    hint="compile the function that its closure calls, and take the step outside",
                )
            )
        self._opt_called = True
        self._run_hooks("step_pre", closure)
        loss = _Minimisation(self, enable_grad()(closure)).run()
        self._run_hooks("step_post", closure)
        return loss


class _Minimisation:
    """One call of ``step``; what it remembers for the next one is in ``kept``."""

    def __init__(self, optimizer: LBFGS, closure: Callable[[], Any]) -> None:
        self.group = optimizer.param_groups[0]
        self.params, self.closure = optimizer._params, closure
        self.kept = optimizer.state[self.params[0]]
        self.kept.setdefault("func_evals", 0)
        self.kept.setdefault("n_iter", 0)
        self.calls = 0

    def run(self) -> Any:
        """Iterate until a tolerance, or a limit of iterations or evaluations, is reached."""
        group, kept = self.group, self.kept
        first = self.closure()
        loss, gradient = float(first), self._gradient()
        self._count(1)
        if self._is_flat(gradient):
            return first
        for iteration in range(1, group["max_iter"] + 1):
            direction = self._direction(gradient)
            step = float(group["lr"])
            if kept["n_iter"] == 1:
                step *= min(1.0, 1.0 / gradient.abs().sum().item())
            kept["d"], kept["t"] = direction, step
            kept["prev_flat_grad"], kept["prev_loss"] = gradient, loss
            slope = gradient.dot(direction).item()
            if slope > -group["tolerance_change"]:
                break
            last = iteration == group["max_iter"]
            start = Point(0.0, loss, gradient, slope)
            found = self._move(start, direction, step, last)
            kept["t"], loss, gradient = found.t, found.value, found.gradient
            if last or self.calls >= group["max_eval"] or self._is_flat(gradient):
                break
            moved = direction.abs().max().item() * abs(found.t)
            if min(moved, abs(loss - kept["prev_loss"])) <= group["tolerance_change"]:
                break
        return first

    def _count(self, calls: int) -> None:
        self.calls += calls
        self.kept["func_evals"] += calls

    def _is_flat(self, gradient: Tensor) -> bool:
        return gradient.abs().max().item() <= self.group["tolerance_grad"]

    # ------------------------------------------------------------------------------- direction

    def _direction(self, gradient: Tensor) -> Tensor:
        kept = self.kept
        kept["n_iter"] += 1
        if kept["n_iter"] == 1:
            kept.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return gradient.neg()
        change, moved = gradient - kept["prev_flat_grad"], kept["d"] * kept["t"]
        curvature = change.dot(moved).item()
        if curvature > 1e-10:
            pairs = (("old_dirs", change), ("old_stps", moved), ("ro", 1.0 / curvature))
            for name, value in pairs:
                kept[name] = [*kept[name], value][-self.group["history_size"] :]
            kept["H_diag"] = curvature / change.dot(change).item()
        return self._times_inverse_hessian(gradient.neg())

    def _times_inverse_hessian(self, q: Tensor) -> Tensor:
        """The two-loop recursion: newest change first, then oldest first."""
        kept = self.kept
        history = list(zip(kept["old_dirs"], kept["old_stps"], kept["ro"], strict=True))
        weights = []
        for change, moved, rho in reversed(history):
            weights.append(moved.dot(q).item() * rho)
            q = q - change * weights[-1]
        q = q * kept["H_diag"]
        for (change, moved, rho), weight in zip(history, reversed(weights), strict=True):
            q = q + moved * (weight - change.dot(q).item() * rho)
        return q

    # ------------------------------------------------------------------------------------ step

    def _move(self, start: Point, direction: Tensor, step: float, last: bool) -> Point:
        """Go along ``direction``; without a search, the very last point is not evaluated."""
        before = [p.clone() for p in self.params]

        def evaluate(t: float) -> Point:
            self._place(before, direction, t)
            value, gradient = float(self.closure()), self._gradient()
            return Point(t, value, gradient, gradient.dot(direction).item())

        if self.group["line_search_fn"] is None:
            if last:
                self._place(before, direction, step)
                return start._replace(t=step)
            self._count(1)
            return evaluate(step)
        if self.group["line_search_fn"] != "strong_wolfe":
            raise RuntimeError("only 'strong_wolfe' is supported")
        found, calls = Search(evaluate, start, direction.abs().max().item()).run(step)
        self._count(calls)
        self._place(before, direction, found.t)
        return found

    def _place(self, before: list[Tensor], direction: Tensor, t: float) -> None:
        offset = 0
        for p, origin in zip(self.params, before, strict=True):
            place = parts(p)
            part = direction[offset : offset + place.numel()].view_as(place)
            place.copy_(parts(origin) + part * t)
            offset += place.numel()

    def _gradient(self) -> Tensor:
        """All gradients in one row; zeros for parameters that have none."""
        rows = [
            parts(gg.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in self.params
        ]
        return gg.cat(rows)
