"""What a training script keeps beside its tensors goes to a device and back."""

from __future__ import annotations

import copy
import io

import numpy as np
import pytest
from on_devices import same

import graphgrad as gg
from graphgrad import nn

OPTIMIZERS = "SGD Adam AdamW RMSprop Adagrad Adadelta Adamax NAdam RAdam ASGD Rprop LBFGS".split()
OPTIMIZERS += ["Adafactor", "Muon"]


class Training:
    """A layer and its optimizer, on some device."""

    def __init__(self, place, name):
        self.layer = nn.Linear(3, 2, bias=False).to(place)
        make = getattr(gg.optim, name)
        options = {"momentum": 0.9} if name == "SGD" else {}
        self.optimizer = make(self.layer.parameters(), lr=0.1, **options)

    def step(self):
        weight = self.layer.weight

        def closure():
            self.optimizer.zero_grad()
            x = gg.arange(6.0, device=weight.device).reshape(2, 3) / 5
            loss = (self.layer(x) ** 2).sum()
            loss.backward()
            return loss

        self.optimizer.step(closure)
        return weight

    def load(self, other):
        self.layer.load_state_dict(other.layer.state_dict())
        self.optimizer.load_state_dict(other.optimizer.state_dict())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizers_state_goes_there_and_back(cuda, name):
    first, there, back = (Training(place, name) for place in ("cpu", cuda, "cpu"))
    first.step(), first.step()
    there.load(first)
    back.load(there)
    for _ in range(2):
        expected = first.step()
        same(there.step(), expected, exact=False)
        np.testing.assert_allclose(
            back.step().detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6
        )


def test_a_checkpoint_is_read_where_it_is_wanted(cuda):
    training, file = Training(cuda, "Adam"), io.BytesIO()
    training.step()
    gg.save({"layer": training.layer.state_dict(), "adam": training.optimizer.state_dict()}, file)
    for place, expected in ((None, "cuda:0"), ("cpu", "cpu"), ({"cuda:0": "cuda:1"}, "cuda:1")):
        file.seek(0)
        read = gg.load(file, map_location=place)
        assert str(read["layer"]["weight"].device) == expected
        assert str(read["adam"]["state"][0]["exp_avg"].device) == expected


def test_modules_that_wait_for_their_shapes_wait_there(cuda):
    model = nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d()).to(cuda)
    assert copy.deepcopy(model)(gg.ones(3, 2, device=cuda)).is_cuda
    assert model(gg.ones(3, 2, device=cuda)).is_cuda and model[1].running_mean.is_cuda
    assert nn.LazyLinear(2, device=cuda)(gg.ones(3, 2, device=cuda)).is_cuda


def test_sparse_gradients_move_with_their_table(cuda):
    table = nn.Embedding(5, 2, sparse=True)
    table(gg.tensor([1, 3, 1])).sum().backward()
    dense = table.weight.grad.to_dense()
    moved = table.to(cuda).weight.grad
    assert moved.is_sparse and moved.is_cuda and moved._indices().is_cuda
    same(moved.to_dense(), dense)
    table(gg.tensor([0], device=cuda)).sum().backward()
    gg.optim.SGD(table.parameters(), lr=1.0).step()
    assert table.weight.grad.coalesce().indices().tolist() == [[0, 1, 3]]
    assert gg.eye(2, device=cuda).to_sparse().cpu().is_cpu


def test_fit_brings_batches_to_the_model(cuda):
    data = (gg.randn(8, 3), gg.randint(2, (8,)))
    model = nn.Linear(3, 2).to(cuda)
    history = gg.fit(
        model, data, loss="cross_entropy", optimizer="SGD", validation=data, progress=False
    )
    assert model.weight.is_cuda and history["val_loss"][0] > 0


def test_batches_are_made_on_the_default_device(cuda):
    data = [(np.full(2, i, np.float32), i) for i in range(4)]
    with gg.device(cuda):
        loader = gg.utils.data.DataLoader(data, batch_size=2, shuffle=True)
        assert all(x.is_cuda and y.is_cuda for x, y in loader)
        parts = gg.utils.data.random_split(data, [3, 1])
        assert [len(part) for part in parts] == [3, 1]


def test_old_types_tell_the_device(cuda):
    x = gg.cuda.FloatTensor([1.0, 2.0])
    assert x.is_cuda and x.type() == "torch.cuda.FloatTensor"
    assert isinstance(x, gg.cuda.FloatTensor) and not isinstance(x, gg.FloatTensor)
    assert gg.ones(2).type("torch.cuda.DoubleTensor").type() == "torch.cuda.DoubleTensor"
    assert gg.ones(2, dtype=gg.float64).type_as(x).is_cuda
    assert x.type(gg.int32).is_cuda and x.type("torch.LongTensor").is_cpu
    gg.set_default_tensor_type("torch.cuda.FloatTensor")
    try:
        assert gg.ones(2).is_cuda
    finally:
        gg.set_default_tensor_type(gg.FloatTensor)
    assert gg.ones(2).is_cpu
