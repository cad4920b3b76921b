"""Where a compiled function runs, and what it takes there."""

from __future__ import annotations

import pytest
from on_devices import same

import graphgrad as gg


class Holder:
    """Hides a tensor from whoever looks for those that a function reads."""


def test_a_compiled_function_runs_where_its_tensors_are(cuda):
    held = Holder()
    held.x = gg.ones(2, device=cuda)
    assert gg.compile(lambda: held.x * 2)().is_cuda
    for make in (gg.zeros, gg.rand, gg.arange):
        assert gg.compile(lambda make=make: make(3, device=cuda) + 1)().is_cuda
    counted = gg.compile(lambda: gg.arange(3.0) * 2)
    for place in (cuda, "cpu", cuda):
        with gg.device(place):
            assert {counted().device.type for _ in range(4)} == {place}


@pytest.mark.parametrize("move", [lambda x: x.cuda(), lambda x: x.to("cuda", gg.float32)])
def test_batches_are_moved_inside_a_compiled_step(cuda, move):
    model, results = gg.nn.Linear(3, 2).to(cuda), []
    batches = gg.randn(5, 4, 3)
    step = gg.compile(lambda x: model(move(x)).sum() + x[0, 0].to(cuda))
    for x in batches:
        results.append(step(x))
        same(results[-1], (model(x.to(cuda)).sum() + x[0, 0].to(cuda)).cpu(), exact=False)
    same(step(batches[0].numpy()), results[0].cpu())
    results[-1].backward()
    assert model.weight.grad.is_cuda and len(step.entries) == 2


def test_what_cannot_be_moved_inside_says_so(cuda):
    copied = gg.compile(lambda x: (x.cuda(), x.add_(1)))
    model, held = gg.nn.Linear(2, 2), Holder()
    held.x = gg.ones(2, device=cuda)
    for call in (
        lambda: copied(gg.ones(2)),
        lambda: gg.compile(lambda x: x.cuda() * 2)(gg.ones(2, requires_grad=True)),
        lambda: gg.compile(lambda x: model(x).cuda())(gg.ones(2)),
        lambda: gg.compile(lambda x: x + held.x)(gg.ones(2)),
    ):
        with pytest.raises(RuntimeError, match=r"(?s)cuda:0 and cpu.*is on cpu.*before the call"):
            call()


def test_a_gradient_of_a_compiled_function_is_computed_there(cuda):
    there, here = (gg.ones(3).to(p).requires_grad_() for p in (cuda, "cpu"))
    f = gg.compile(lambda x: (x * x).sin())
    for x in (there, here):
        handle = x.register_hook(lambda g: g * 2)
        f(x).backward(gg.ones(3, device=x.device))
        handle.remove()
    same(there.grad, here.grad, exact=False)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: gg.nn.functional.conv_transpose1d(x, w),
        lambda x, w: gg.linalg.qr(x @ x.mT).Q * w.sum(),
    ],
)
def test_a_view_of_a_product_is_no_part_of_what_follows_it(cuda, function):
    """Its epilogue, in the kernels of the device, computes elements where the product has them."""
    data = [gg.randn(2, 3, 5), gg.randn(3, 3, 3)]
    with gg.config.scope(tier="compiled"):
        grads = []
        for place in (cuda, "cpu"):
            x, w = (t.to(place).requires_grad_() for t in data)
            function(x, w).sum().backward()
            grads.append((x.grad, w.grad))
        for there, here in zip(*grads, strict=True):
            gg.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-4)


def test_results_that_are_wanted_on_the_cpu_come_there(cuda):
    model = gg.nn.Linear(3, 2).to(cuda)
    step = gg.compile(lambda x: (model(x), model(x).detach().cpu(), model(x).sum().to("cpu")))
    x = gg.randn(4, 3, device=cuda)
    for _ in range(4):
        y, seen, total = step(x)
        assert y.is_cuda and seen.is_cpu and total.is_cpu and not seen.requires_grad
        same(y, seen)
    total.backward()
    assert model.weight.grad.is_cuda
    gg.testing.assert_close(model.weight.grad.cpu(), x.cpu().sum(0).expand(2, 3))
