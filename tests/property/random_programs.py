"""Random PyTorch programs: views, in-place writes, hooks, no_grad, shared memory, many backwards.

A program is a list of instructions over a growing pool of tensors. ``run(torch, program)`` executes
it under an engine and returns everything that can be observed. An instruction that raises is
observed as the kind of its exception, and the program goes on.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

SHAPES = [(), (3,), (2, 3), (3, 2), (2, 1, 3)]


class Machine:
    """Runs instructions; ``log`` is what a user could have seen."""

    def __init__(self, torch, seed, dtype):
        self.torch = torch
        rng = np.random.default_rng(seed)
        self.arrays = [rng.uniform(-1, 1, s).astype(dtype) for s in SHAPES]
        self.leaves = [torch.tensor(a, requires_grad=i % 2 == 0) for i, a in enumerate(self.arrays)]
        self.shared = torch.from_numpy(self.arrays[2])
        self.pool = [*self.leaves, self.shared]
        self.log = []
        self.kept = []
        self.reasons = []

    def pick(self, i):
        return self.pool[i % len(self.pool)]

    def execute(self, name, i, j, value):
        x = self.pick(i)
        if name in ("write", "assign") and 0 in x.stride():
            return  # PyTorch allows some writes to expanded tensors, with a deprecation warning
        try:
            getattr(self, name)(x, self.pick(j), i, j, value)
        except (RuntimeError, IndexError, ValueError) as error:
            self.log.append(f"{name}: error")
            self.reasons.append(f"{name}: {str(error)[:150]}")

    def push(self, t):
        if t.numel() <= 64:
            self.pool.append(t)

    # ---------------------------------------------------------------------------- arithmetic

    def binary(self, x, y, i, j, value):
        op = ("add", "sub", "mul", "maximum", "div")[(i + j) % 5]
        self.push(getattr(self.torch, op)(x, y + 3 if op == "div" else y))

    def scaled(self, x, y, i, j, value):
        self.push([x * value, value - x, x / 2, x**2, -x][j % 5])

    def unary(self, x, y, i, j, value):
        self.push([x.sin(), x.tanh(), self.torch.relu(x), x.abs(), x.exp().clamp(max=4)][j % 5])

    def reduce(self, x, y, i, j, value):
        if x.dim():
            dim = j % x.dim()
            self.push([x.sum(dim), x.mean(dim, keepdim=True), x.amax(dim), x.sum()][i % 4])

    def where(self, x, y, i, j, value):
        self.push(self.torch.where(x > 0, x, y))

    def join(self, x, y, i, j, value):
        self.push(self.torch.stack([x, x * 2], 0) if j % 2 else self.torch.cat([x, x], -1))

    def matmul(self, x, y, i, j, value):
        self.push(x @ y)

    # --------------------------------------------------------------------------------- views

    def view(self, x, y, i, j, value):
        self.push(
            [
                lambda: x[0],
                lambda: x.view(-1),
                lambda: x.T if x.dim() == 2 else x.unsqueeze(0),
                lambda: x[..., ::2],
                lambda: x.reshape(-1),
                lambda: x.expand(2, *x.shape),
                lambda: x.narrow(-1, 1, 1),
                lambda: x.transpose(0, -1),
                lambda: x[1:],
                lambda: x.squeeze(),
            ][j % 10]()
        )

    def copies(self, x, y, i, j, value):
        self.push([x.clone(), x.detach(), x.data, x.contiguous(), x.detach().clone()][j % 5])

    def gather(self, x, y, i, j, value):
        index = self.torch.tensor([j % 2, 0, j % 3])
        self.push([x[index], x.index_select(-1, index), x[x > 0], x[..., index]][i % 4])

    # ------------------------------------------------------------------------------ in place

    def write(self, x, y, i, j, value):
        [
            lambda: x.add_(value),
            lambda: x.mul_(y),
            lambda: x.copy_(y),
            lambda: x.zero_(),
            lambda: x.sub_(y, alpha=2),
            lambda: x.sin_(),
            lambda: x.clamp_(-1, 1),
            lambda: x.fill_(value),
        ][j % 8]()

    def assign(self, x, y, i, j, value):
        if j % 4 == 0:
            x[0] = value
        elif j % 4 == 1:
            x[..., :1] = y[..., :1]
        elif j % 4 == 2:
            x[x > 0] = value
        else:
            x[self.torch.tensor([0, -1])] = value

    def quiet_write(self, x, y, i, j, value):
        with self.torch.no_grad():
            if j % 2:
                x.mul_(0.5)
            else:
                x -= 0.1 * y

    def numpy_write(self, x, y, i, j, value):
        # Saved values change with it, unseen: which ones is an engine's own business.
        if not any(t.grad_fn is not None for t in self.pool):
            self.arrays[2][j % 2] += np.float32(value)

    # ---------------------------------------------------------------------- gradients, values

    def item(self, x, y, i, j, value):
        self.log.append(x.sum().item())

    def hook(self, x, y, i, j, value):
        self.kept.append(x.register_hook([lambda g: g * 2, lambda g: None][j % 2]))

    def unhook(self, x, y, i, j, value):
        if self.kept:
            self.kept.pop(j % len(self.kept)).remove()

    def retain(self, x, y, i, j, value):
        x.retain_grad()

    def backward(self, x, y, i, j, value):
        x.sum().backward(retain_graph=bool(j % 2))

    def second_order(self, x, y, i, j, value):
        leaf = self.leaves[2 * (j % 3)]
        (g,) = self.torch.autograd.grad(
            x.pow(2).sum(), [leaf], create_graph=True, allow_unused=True
        )
        if g is not None:
            self.push(g)

    def finish(self):
        total = sum(t.sum() for t in self.pool if t.requires_grad)
        failed = False
        try:
            total.backward()
        except RuntimeError:
            # What was accumulated before the error is nobody's business.
            self.log.append("final backward: error")
            failed = True
        values = [t.detach().numpy() for t in self.pool]
        flags = [(t.requires_grad, t.is_leaf, tuple(t.shape)) for t in self.pool]
        grads = [
            None if failed or not t.is_leaf or t.grad is None else t.grad.detach().numpy()
            for t in self.pool
        ]
        return self.log, values, grads, flags


def run(torch, program):
    """Everything observable: log, values, gradients of leaves, (requires_grad, is_leaf, shape)."""
    seed, steps = program
    machine = Machine(torch, seed, np.float32)
    for step in steps:
        machine.execute(*step)
    return machine.finish()


OPERATIONS = [
    *["binary", "scaled", "unary", "reduce", "where", "join", "matmul", "view", "view", "copies"],
    *["gather", "write", "write", "assign", "quiet_write", "numpy_write", "item", "hook", "unhook"],
    *["retain", "backward", "second_order"],
]


def programs(operations=tuple(OPERATIONS), length=14):
    """A hypothesis strategy of programs."""
    number = st.integers(0, 999)
    value = st.sampled_from([0.5, -1.5, 2.0, 0.0])
    step = st.tuples(st.sampled_from(operations), number, number, value)
    return st.tuples(st.integers(0, 5), st.lists(step, min_size=1, max_size=length))
