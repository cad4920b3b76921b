"""Every primitive has a row in every table, and no table has a row too many."""

from __future__ import annotations

import pytest

from graphgrad import autodiff, interpret, vjp
from graphgrad.ops import PRIMITIVES

# The reverse walk gathers the cotangents of several results itself; a NumPy call has no gradient of
# its own (functions that use one bring their own).
WITHOUT_RULE = {"result", "custom_call"}


def test_the_tables_have_no_unknown_rows() -> None:
    for table in (interpret.RULES, vjp.RULES, autodiff.JOINT, vjp.NOT_DIFFERENTIABLE):
        assert set(table) <= set(PRIMITIVES)


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - {"input"}))
def test_every_primitive_can_be_interpreted(name: str) -> None:
    assert name in interpret.RULES


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - WITHOUT_RULE))
def test_every_primitive_has_a_gradient_or_is_listed_without(name: str) -> None:
    has_rule = name in autodiff.JOINT or any(vjp.has_rule(name, i) for i in range(3))
    assert has_rule != (name in vjp.NOT_DIFFERENTIABLE)
