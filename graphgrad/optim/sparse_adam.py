"""SparseAdam: Adam over the rows that sparse gradients name, ``Embedding(sparse=True)``'s."""

from __future__ import annotations

import math
from typing import Any

from graphgrad.optim import sparse
from graphgrad.optim.optimizer import Group, Optimizer, check, validated
from graphgrad.tensor import Tensor
from graphgrad.tensor.sparse import SparseTensor


class SparseAdam(Optimizer):
    """Adam's step in the rows of a gradient; moments of other rows stay as they are."""

    def __init__(
        self,
        params: Any,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        maximize: bool = False,
    ) -> None:
        check(float(lr) > 0.0, f"Invalid learning rate: {lr}")
        check(eps > 0.0, f"Invalid epsilon value: {eps}")
        options = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, validated(options))

    def _check_parameters(self, params: Any) -> None:
        super()._check_parameters(params)
        wrong = [i for i, p in enumerate(params) if isinstance(p, SparseTensor)]
        check(
            not wrong,
            f"Sparse params at indices {wrong}: SparseAdam requires dense parameter tensors",
        )

    def names(self, group: Group) -> tuple[str, ...]:
        return ("step", "exp_avg", "exp_avg_sq")

    def start(self, group: Group, parameter: Tensor, name: str) -> Any:
        return 0 if name == "step" else super().start(group, parameter, name)

    def _step_group(self, group: Group) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        if sparse.split(parameters)[0]:
            raise RuntimeError(
                "SparseAdam does not support dense gradients, please consider Adam instead"
            )
        for p in parameters:
            kept = self.state[p]
            if not kept:
                kept.update({name: self.start(group, p, name) for name in self.names(group)})
            kept["step"] += 1
            self._update(group, p, kept)

    def _update(self, group: Group, p: Tensor, kept: dict[str, Any]) -> None:
        where, g = sparse.rows(p.grad)  # type: ignore[arg-type]
        g = -g if group["maximize"] else g
        beta1, beta2 = group["betas"]
        sparse.change(kept["exp_avg"], where, lambda m: m + (g - m) * (1 - beta1))
        sparse.change(kept["exp_avg_sq"], where, lambda v: v + (g * g - v) * (1 - beta2))
        mean, square = (kept[name][where] for name in ("exp_avg", "exp_avg_sq"))
        root = math.sqrt(1 - beta2 ** kept["step"])
        rate = float(group["lr"]) * root / (1 - beta1 ** kept["step"])
        sparse.change(p, where, lambda x: x - rate * mean / (square.sqrt() + group["eps"]))
