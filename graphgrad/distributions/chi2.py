"""The chi-squared distribution."""

from __future__ import annotations

from typing import Any

from graphgrad.distributions import constraints
from graphgrad.distributions.gamma import Gamma
from graphgrad.distributions.utils import broadcast_all


class Chi2(Gamma):
    """The sum of ``df`` squared standard normal numbers."""

    arg_constraints = {"df": constraints.positive}
    _derived = {"concentration": 0, "rate": 0}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (self.df,) = broadcast_all(df)
        super().__init__(0.5 * self.df, 0.5, validate_args=validate_args)
