"""Programs with one NaN planted in each, on the line marked ``# bad``.

``PLANTED[name]()`` sets a program up and gives what to call; its ``Expected`` says how an error
about it starts and which operation made the NaN.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import graphgrad as gg
from graphgrad import nn, optim
from graphgrad.nn import functional as F


@dataclass(frozen=True)
class Expected:
    """What the error about a planted NaN has to say."""

    make: Callable[[], Callable[[], Any]]
    headline: str
    operation: str
    also: tuple[str, ...]

    @property
    def line(self) -> str:
        """The marked line, as an error quotes its place."""
        rows, first = inspect.getsourcelines(self.make)
        at = first + next(i for i, row in enumerate(rows) if row.rstrip().endswith("# bad"))
        return f'"{__file__}", line {at}, in '


PLANTED: dict[str, Expected] = {}


def planted(headline: str, operation: str, *also: str) -> Callable[[Any], Any]:
    """Add a program to the table; ``also`` are more words that the error must have."""

    def add(make: Any) -> Any:
        PLANTED[make.__name__] = Expected(make, headline, operation, also)
        return make

    return add


def forward(name: str) -> str:
    return f"anomaly in forward: {name} returned nan values."


def backward(name: str, output: int | None = 0) -> str:
    which = "" if output is None else f" in its {output}th output."
    return f"Function '{name}' returned nan values{which}"


def leaf(*values: float) -> gg.Tensor:
    return gg.tensor(values, requires_grad=True)


# ------------------------------------------------------------------------------------------ forward


@planted(
    forward("log"), "log(float32[3]) -> float32[3]", "1 of 3 values, the first at [0]: log(-2)"
)
def log_of_negative():
    x = gg.tensor([-1.0, 2.0, 0.5])

    def step():
        y = x * 2
        z = y.log()  # bad
        return z.sum()

    return step


@planted(forward("div"), "div(float32[2], float32[2])", "the first at [1]: div(0, 0)")
def zero_by_zero():
    x, n = gg.tensor([3.0, 0.0]), gg.tensor([2.0, 0.0])
    return lambda: (x / n) + 1  # bad


@planted(forward("sub"), "sub(float32[2], float32[2])", "likely cause: an infinity made by exp")
def infinity_minus_infinity():
    x = gg.tensor([1.0, 900.0])

    def step():
        e = x.exp()
        return e - e * 2  # bad

    return step


@planted(forward("pow"), "pow(float32[2], float32[2])", "pow(-8, 0.333333)")
def root_of_negative():
    x, y = gg.tensor([8.0, -8.0]), gg.tensor([1 / 3, 1 / 3])
    return lambda: x**y  # bad


@planted(forward("Softmax"), "sub(float32[2, 4], float32[2, 1])", "inside Softmax", "× -inf")
def softmax_of_nothing():
    scores, mask = gg.zeros(2, 4), gg.tensor([[True] * 4, [False] * 4])

    def step():
        masked = scores.masked_fill(mask, -float("inf"))
        return F.softmax(masked, 1)  # bad

    return step


@planted(forward("Var"), "mul(float32[], float32[])", "mul(0, nan)")
def deviation_of_one():
    x = gg.tensor([2.5])
    return lambda: x.std()  # bad


@planted(forward("Mean"), "mul(float32[], float32[])", "mul(0, nan)")
def mean_of_nothing():
    x = gg.tensor([1.0, 2.0])
    return lambda: x[:0].mean()  # bad


@planted(forward("NativeBatchNorm"), "mul(", "likely cause: an infinity made by rsqrt")
def batch_norm_without_variance():
    layer = nn.BatchNorm1d(2, eps=0.0)
    x = gg.tensor([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    return lambda: layer(x)  # bad


@planted(forward("dot_general"), "dot_general(float32[2, 2], float32[2, 2])", "made by exp")
def product_of_infinity():
    x, eye = gg.tensor([[100.0, 0.0], [0.0, 0.0]]), gg.eye(2)

    def step():
        big = x.exp()
        return big @ eye  # bad

    return step


@planted(forward("mul"), "mul(float32[2], float32[2])", "made by log, log(0),")
def zero_times_log_of_zero():
    p = gg.tensor([0.0, 1.0])

    def step():
        logs = p.log()
        return -(p * logs).sum()  # bad

    return step


@planted(forward("log"), "log(float32[]) -> float32[], in step 2 of scan", "log(-0.5)")
def inside_a_scan():
    def body(total, x):
        total = total - x
        return total, total.log()  # bad

    start, xs = gg.tensor(2.5), gg.ones(5)
    return lambda: gg.scan(body, start, xs)[1]


@planted(forward("sqrt"), "in step 3 of while_loop", "sqrt(-1)")
def inside_a_while_loop():
    def body(n, x, y):
        return n - 1, x - 1, y + x.sqrt()  # bad

    n, x, y = gg.tensor(6), gg.tensor(2.0), gg.tensor(0.0)
    return lambda: gg.while_loop(lambda n, x, y: n > 0, body, (n, x, y))[2]


@planted(forward("acos"), "in the false branch of cond", "acos(-4)")
def inside_a_branch():
    def otherwise(x):
        return (x * 2).acos()  # bad

    x = gg.tensor([-2.0, 0.25])
    return lambda: gg.cond(x.sum() > 0, lambda x: x * 2, otherwise, (x,))


@planted(forward("log"), "log(float32[5000]) -> float32[5000]", "of 5000 values")
def of_random_numbers():
    def step():
        noise = gg.randn(5000)
        return noise.log().sum()  # bad

    return step


@planted(forward("log"), "log(float32[300, 200])", "1 of 60000 values, the first at [7, 11]")
def in_a_fused_chain():
    x = gg.ones(300, 200)
    x[7, 11] = -3.0

    def step():
        y = x.tanh() * 2
        z = (y + 1).log()  # bad
        return (z * 3).sin().exp().sum()

    return step


@planted(forward("mul"), "mul(float32[3], float32[])", " already holds nan")
def in_the_data():
    x = gg.tensor([1.0, float("nan"), 2.0])

    def step():
        y = x.reshape(3, 1)[:, 0]
        return (y * 2).sum()  # bad

    return step


@planted(forward("log"), "log(float32[2])", "log(-1)")
def in_a_function_of_ones_own():
    class LogOf(gg.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return (x - 1).log()  # bad

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(0.0, 2.0)
    return lambda: LogOf.apply(x).sum()


@planted(forward("sub"), "sub(float32[2, 3], float32[2, 3])", "made by exp")
def in_a_hook():
    layer = nn.Linear(4, 3)

    def hook(module, args, out):
        out = (out * 0 + 99).exp()
        return out - out  # bad

    layer.register_forward_hook(hook)
    x = gg.ones(2, 4)
    return lambda: layer(x)


@planted(forward("div"), "div(float32[3], float32[3])", "div(0, 0)")
def in_an_update():
    x = leaf(1.0, 2.0, 3.0)
    optimizer = optim.Adam([x], lr=0.1, eps=0.0)

    def step():
        optimizer.zero_grad()
        (x * 0).sum().backward()
        optimizer.step()  # bad

    return step


# ----------------------------------------------------------------------------------------- backward


@planted(backward("SqrtBackward0"), "div(float32[2], float32[2])", "div(0, 0)")
def root_of_zero():
    x = leaf(0.0, 1.0)

    def step():
        y = x.sqrt()  # bad
        return (y * 0).sum().backward()

    return step


@planted(backward("SqrtBackward0"), "div(float32[2], float32[2])", "div(0, 0)")
def behind_a_where():
    x = leaf(0.0, 4.0)

    def step():
        y = x.sqrt()  # bad
        return gg.where(x > 0, y, gg.zeros(2)).sum().backward()

    return step


@planted(backward("MulBackward0"), "mul(float32[2], float32[2])", "made by div, div(1, 0),")
def norm_of_zero():
    x = leaf(0.0, 0.0)

    def step():
        squares = x * x  # bad
        return squares.sum().sqrt().backward()

    return step


@planted(backward("DivBackward0", 1), "mul(float32[2], float32[2])", "made by div, div(2, 0),")
def quotient_by_zero():
    x, n = gg.tensor([2.0, 1.0]), leaf(0.0, 1.0)

    def step():
        y = x / n  # bad
        gg.where(n > 0, y, 0.0).sum().backward()

    return step


@planted(backward("BadGradientBackward", None), "mul(", "z = BadGradient.apply", "div(1, 0)")
def in_a_gradient_of_ones_own():
    class BadGradient(gg.autograd.Function):
        @staticmethod
        def forward(ctx, x, power, y):
            ctx.save_for_backward(y)
            return x**power * y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            return None, None, g / (y - y) * 0  # bad

    x, y = gg.tensor([1.0, 2.0]), leaf(3.0, 4.0)

    def step():
        z = BadGradient.apply(x, 2, y)
        z.sum().backward()

    return step


@planted(backward("PowBackward0"), "mul(float32[2], float32[2])", "inf")
def in_a_second_derivative():
    x = leaf(0.0, 1.0)

    def step():
        y = (x**1.5).sum()  # bad
        (g,) = gg.autograd.grad(y, x, create_graph=True)
        (g * 0).sum().backward()

    return step


@planted("anomaly in backward: the sum of two gradients has nan values.", "add(", "add(-inf, inf)")
def of_opposite_infinities():
    x = leaf(0.0, 1.0)

    def step():
        y = x.sqrt()  # bad
        z = x.sqrt()
        (y - z).sum().backward()

    return step


@planted(backward("LogBackward0"), "in step 1 of scan", "div(0, 0)")
def in_the_gradient_of_a_scan():
    w = leaf(0.0, 1.0)

    def body(total, x):
        y = gg.where(x > 0, w, 1.0).log()  # bad
        return total + gg.where(w > 0, y, 0.0).sum(), total

    start, xs = gg.tensor(0.0), gg.tensor([-1.0, 1.0, -1.0])

    def step():
        total, _ = gg.scan(body, start, xs)
        total.backward()

    return step


@planted(
    "anomaly in backward: div returned nan values.", "div(float32[2], float32[2])", "div(0, 0)"
)
def in_a_gradient_hook():
    x = leaf(1.0, 2.0)

    def hook(g):
        return (g - g) / (g - g)  # bad

    def step():
        y = x * 2
        y.register_hook(hook)
        y.sum().backward()

    return step
