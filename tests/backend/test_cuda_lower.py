"""Grid kernels, emulated, compute what the interpreter says: the CPU's lowering tests again."""

from __future__ import annotations

import lowering
import pytest
import test_lower
from gridding import emulated_region

# Tests of test_lower that look at the CPU's own kernels.
_CPU_ONLY = """test_long_sums_are_cut_by_size test_tiles_of_columns_are_narrow_if_walked_again
test_in_place_uses_one_slot test_equal_structures_have_equal_sources test_max_pool_is_unrolled
test_an_image_is_padded_in_one_pass test_random_graphs_as_python
test_unsupported_dtypes_are_left_to_the_interpreter
test_every_loop_primitive_is_tried_here""".split()

for _name, _test in vars(test_lower).items():
    if _name.startswith("test_") and _name not in _CPU_ONLY:
        globals()[_name] = _test


@pytest.fixture(autouse=True)
def on_a_grid(monkeypatch):
    monkeypatch.setattr(lowering.MACHINE, "lower", emulated_region)
