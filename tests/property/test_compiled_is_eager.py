"""Under ``gg.compile`` a program means what it means as written."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, reject, settings

import graphgrad as gg

from .random_programs import Machine, programs

# What a static graph can hold: no values leave it, no shapes depend on values.
OPERATIONS = (
    "binary scaled unary reduce where join matmul view view copies write assign quiet_write "
    "hook retain backward second_order"
).split()


# Stands among the results for a backward pass that raised.
_FAILED = object()


class Traceable(Machine):
    """Skips what depends on values; errors end the program the same way under both."""

    def execute(self, name, i, j, value):
        super().execute(name, i, j, value)
        # A trace has no strides: views that PyTorch refuses are allowed in it.
        if any(r in "".join(self.reasons) for r in ("while tracing", "history")):
            raise gg.TraceError(self.reasons[-1])

    def gather(self, x, y, i, j, value):
        index = self.torch.tensor([j % 2, 0, j % 3])
        self.push([x[index], x.index_select(-1, index), x[..., index]][i % 3])

    def assign(self, x, y, i, j, value):
        if j % 3 == 0:
            x[0] = value
        elif j % 3 == 1:
            x[..., :1] = y[..., :1]
        else:
            x[self.torch.tensor([0, -1])] = value


def _run(program, compiled):
    seed, steps = program
    machine = Traceable(gg, seed, np.float32)

    def body(*leaves):
        machine.pool = [*leaves]
        for step in steps:
            machine.execute(*step)
        return machine.pool[len(leaves) :]

    results = []
    function = gg.compile(body) if compiled else body
    for call in range(2):
        try:
            outputs = function(*machine.leaves)
        except gg.TraceError:
            reject()  # not traceable
        results += [t.detach().numpy().copy() for t in outputs]
        results += [t.requires_grad for t in outputs]
        total = [t.sum() for t in outputs if t.requires_grad]
        if total:
            try:
                sum(total).backward()
            except RuntimeError:
                results.append(_FAILED)
        results += [None if t.grad is None else t.grad.numpy().copy() for t in machine.leaves]
        results += [t.detach().numpy().copy() for t in machine.leaves]
        # What Python does besides, such as catching errors, happens while tracing only.
        results += machine.log if call == 0 else []
        machine.log = []
        for t in machine.leaves:
            t._backward_hooks = None
    return results


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(OPERATIONS, length=8))
def test_random_programs(program):
    with gg.config.scope(tier="interpret"):
        expected, got = _run(program, False), _run(program, True)
    if any(x is _FAILED for x in expected):
        # A write made backward impossible as written; values in a graph cannot be overwritten.
        return
    for a, b in zip(got, expected, strict=True):
        assert (a is None) == (b is None)
        if isinstance(b, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        else:
            assert a == b
