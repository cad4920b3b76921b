"""Tensors of two devices in one operation: the error names both, and what PyTorch lets pass passes.

The table calls each with one tensor on the CPU and one on a device.
"""

from __future__ import annotations

import pytest

import graphgrad as gg
import graphgrad.nn.functional as F
from graphgrad import nn

DISTRIBUTION = gg.distributions.Normal
MASK, PLACES = gg.tensor([True, False, True]), gg.tensor([0, 2])


def ones(*shape, place="cpu"):
    return gg.ones(*shape).to(place)


def there(*shape):
    return ones(*shape, place="cuda")


REFUSED = {
    "x.add_(y)": lambda: ones(3).add_(there(3)),
    "y.add_(x)": lambda: there(3).add_(ones(3)),
    "y.addcmul_": lambda: there(3).addcmul_(ones(3), there(3)),
    "add(out=y)": lambda: gg.add(ones(3), ones(3), out=there(3)),
    "mm(out=x)": lambda: gg.mm(there(3, 3), there(3, 3), out=ones(3, 3)),
    "y.index_add_(places)": lambda: there(3).index_add_(0, PLACES, there(2)),
    "y.index_copy_(values)": lambda: there(3).index_copy_(0, PLACES.cuda(), ones(2)),
    "y.scatter_": lambda: there(3).scatter_(0, PLACES, 1.0),
    "y.masked_fill_": lambda: there(3).masked_fill_(MASK, 1.0),
    "y.masked_scatter_": lambda: there(3).masked_scatter_(MASK.cuda(), ones(3)),
    "y[places] = x": lambda: there(3).__setitem__(PLACES.cuda(), ones(2)),
    "y[mask] = x": lambda: there(3).__setitem__(MASK.cuda(), ones(2)),
    "take": lambda: there(3).take(PLACES),
    "put_": lambda: there(3).put_(PLACES, there(2)),
    "put": lambda: gg.put(there(3), PLACES, there(2)),
    "gather": lambda: there(3).gather(0, PLACES),
    "where": lambda: gg.where(MASK, there(3), there(3)),
    "clamp": lambda: there(3).clamp(min=ones(3)),
    "cat": lambda: gg.cat([there(2), ones(2)]),
    "stack": lambda: gg.stack([there(2), ones(2)]),
    "matmul": lambda: ones(2, 2) @ there(2, 2),
    "rmatmul": lambda: ones(2, 2).__rmatmul__(there(2, 2)),
    "einsum": lambda: gg.einsum("i,i", there(2), ones(2)),
    "cdist": lambda: gg.cdist(there(2, 2), ones(2, 2)),
    "solve": lambda: gg.linalg.solve(gg.eye(3).cuda(), ones(3)),
    "normal": lambda: gg.normal(there(3), ones(3)),
    "bincount": lambda: gg.bincount(PLACES.cuda(), weights=ones(2)),
    "gcd": lambda: gg.gcd(PLACES.cuda(), PLACES),
    "isin": lambda: gg.isin(there(3), ones(2)),
    "bucketize": lambda: gg.bucketize(there(3), ones(2)),
    "equal": lambda: gg.equal(there(2), ones(2)),
    "scan": lambda: gg.scan(lambda a, x: (a + x, a), there(2), ones(3, 2)),
    "cond": lambda: gg.cond(gg.tensor(True), gg.add, gg.sub, (there(2), ones(2))),
    "Linear": lambda: nn.Linear(3, 2).cuda()(ones(1, 3)),
    "Linear, other": lambda: nn.Linear(3, 2)(there(1, 3)),
    "Conv2d": lambda: nn.Conv2d(1, 2, 3).cuda()(ones(1, 1, 5, 5)),
    "BatchNorm": lambda: nn.BatchNorm1d(3).cuda()(ones(2, 3)),
    "LSTM": lambda: nn.LSTM(3, 2).cuda()(there(4, 1, 3), (ones(1, 1, 2), ones(1, 1, 2))),
    "Embedding": lambda: nn.Embedding(5, 3).cuda()(PLACES),
    "attention": lambda: F.scaled_dot_product_attention(*[there(1, 2, 3)] * 3, ones(2, 2)),
    "cross_entropy": lambda: F.cross_entropy(there(2, 3), PLACES),
    "cross_entropy(weight)": lambda: F.cross_entropy(there(2, 3), PLACES.cuda(), ones(3)),
    "mse_loss": lambda: F.mse_loss(there(2), ones(2)),
    "backward": lambda: (there(3).requires_grad_() * 2).backward(ones(3)),
    "y.grad = x": lambda: setattr(there(3), "grad", ones(3)),
    "log_prob": lambda: DISTRIBUTION(there(3), there(3)).log_prob(ones(3)),
    "generator": lambda: gg.randn(3, device="cuda", generator=gg.Generator()),
    "packed lengths": lambda: nn.utils.rnn.PackedSequence(ones(2), PLACES.cuda()),
    "assert_close": lambda: gg.testing.assert_close(there(2), ones(2)),
    "0-d there": lambda: ones(3) + there(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_names_both_devices(cuda, name):
    with pytest.raises((RuntimeError, ValueError, AssertionError)) as caught:
        REFUSED[name]()
    assert "cuda:0" in str(caught.value) and "cpu" in str(caught.value).lower()


def test_two_devices_of_one_kind_are_two(cuda):
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1"):
        ones(3, place="cuda:0") + ones(3, place="cuda:1")


ALLOWED = {
    "y + number": lambda: there(3) + gg.tensor(2.0),
    "number * y": lambda: gg.tensor(2.0) * there(3),
    "where": lambda: gg.where(there(3) > 0, gg.tensor(1.0), there(3)),
    "clamp": lambda: there(3).clamp(min=gg.tensor(0.0)),
    "y[places]": lambda: there(3)[PLACES],
    "y[mask]": lambda: there(3)[MASK],
    "y.copy_(x)": lambda: there(3).copy_(ones(3)),
    "ctc_loss's lengths": lambda: F.ctc_loss(
        there(4, 1, 3).log_softmax(2), gg.tensor([[1, 2]]).cuda(), gg.tensor([4]), gg.tensor([2])
    ),
    "second order": lambda: gg.autograd.functional.hessian(
        lambda x: (F.adaptive_avg_pool1d(x, 2) ** 3).sum(), there(1, 1, 5)
    ),
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_fits_everywhere_passes(cuda, name):
    assert ALLOWED[name]().is_cuda


def test_parts_and_state_dicts_are_copied_over(cuda):
    y = there(3)
    y[:2] = gg.tensor([5.0, 6.0])
    assert y.tolist() == [5.0, 6.0, 1.0]
    model, other = nn.Linear(2, 2).cuda(), nn.Linear(2, 2)
    model.load_state_dict(other.state_dict())
    assert model.weight.is_cuda and model.weight.tolist() == other.weight.tolist()


def test_packed_sequences_move_with_their_order(cuda):
    x = gg.arange(12.0).reshape(3, 2, 2)
    packed = nn.utils.rnn.pack_padded_sequence(x, gg.tensor([2, 3]), enforce_sorted=False)
    moved = packed.cuda()
    assert moved.is_cuda and moved.sorted_indices.is_cuda and moved.batch_sizes.is_cpu
    layer = nn.GRU(2, 3)
    out, state = layer(packed)
    expected, lengths = nn.utils.rnn.pad_packed_sequence(out)
    out, state_there = layer.cuda()(moved)
    found, lengths_there = nn.utils.rnn.pad_packed_sequence(out)
    gg.testing.assert_close(found.cpu(), expected)
    gg.testing.assert_close(state_there.cpu(), state)
    assert lengths_there.is_cpu and lengths_there.tolist() == lengths.tolist() == [2, 3]
    with pytest.raises(RuntimeError, match="1D CPU int64 tensor"):
        nn.utils.rnn.pack_padded_sequence(x.cuda(), gg.tensor([3, 2]).cuda())
