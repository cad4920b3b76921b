"""What a call costs once it is warm: no new memory, no new graph; results handed out again."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from graphgrad.kernels.cuda.driver import driver
from graphgrad.kernels.cuda.memory import empty
from graphgrad.kernels.cuda.spares import Spares

import graphgrad as gg
from graphgrad import nn
from graphgrad.config import config
from graphgrad.device import device
from graphgrad.tensor.core import wrap
from tests.backend import fake_cuda

CUDA = device("cuda", 0)
SHAPE, KIND = (3, 4), np.dtype("float32")


@pytest.fixture
def gpu():
    with fake_cuda.installed(fake_cuda.fake_driver()) as made:
        yield made


@pytest.fixture
def spares():
    with config.scope(cuda="emulate"):
        yield Spares(lambda shape, dtype: empty(shape, dtype, CUDA))


# ---- arrays that nobody holds --------------------------------------------------------------------


def test_an_idle_array_is_handed_out_again(spares):
    first = spares(SHAPE, KIND)
    number = id(first)
    other = spares(SHAPE, KIND)
    assert other is not first
    del first
    assert id(spares(SHAPE, KIND)) == number


@pytest.mark.parametrize(
    "held",
    [
        lambda x: x,
        lambda x: x.view((4, 3)),
        lambda x: x.view((4, 3)).view((2, 6)),
        lambda x: x.owner,
        lambda x: wrap(x).detach().T,
        lambda x: x.__dlpack__(),
    ],
    ids=["array", "view", "view of a view", "memory", "tensor", "dlpack"],
)
def test_an_array_that_is_held_somehow_is_not(held, spares):
    x = spares(SHAPE, KIND)
    kept, pointer = held(x), x.pointer
    del x
    made = [spares(SHAPE, KIND) for _ in range(5)]
    assert kept is not None and pointer not in [y.pointer for y in made]
    del kept, made


def test_a_loss_that_is_read_after_the_next_call_is_one_of_two(spares):
    last, seen = None, set()
    for _ in range(10):
        last = spares(SHAPE, KIND)
        seen.add(last.pointer)
    assert len(seen) == 2


def test_threads_never_get_the_same_array(spares):
    clashes, taken = [], set()

    def work() -> None:
        for _ in range(2000):
            x = spares(SHAPE, KIND)
            if x.pointer in taken:
                clashes.append(x.pointer)
            taken.add(x.pointer)
            taken.discard(x.pointer)
            del x

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes


def test_what_is_idle_goes_when_memory_is_short(spares):
    pool = driver().statistics(0)
    driver().empty_cache()
    before = pool.reserved
    held, _ = spares((1 << 18,), KIND), spares((1 << 18,), KIND)
    del _
    driver().empty_cache()
    assert before < pool.reserved <= before + held.nbytes + 512


# ---- steps that are warm -------------------------------------------------------------------------


def trained(device: str, steps: int, mark=lambda: None) -> list[float]:
    """Losses of a small network; every step's loss is held while the next one runs."""
    gg.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 16), nn.ReLU(),
        nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 10),
    ).to(device)  # fmt: skip
    optimizer = gg.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

    @gg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = gg.randn(4, 1, 8, 8).to(device), gg.randint(0, 10, (4,)).to(device)
    losses = []
    for i in range(steps):
        if i == 8:
            mark()
        losses.append(step(x, y))
        losses[:-2] = [loss if isinstance(loss, float) else loss.item() for loss in losses[:-2]]
    return [loss if isinstance(loss, float) else loss.item() for loss in losses]


def test_a_warm_step_makes_no_memory_and_no_graph(gpu):
    expected = trained("cpu", 20)
    losses = trained("cuda", 20, fake_cuda.log.clear)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    made = [entry[0] for entry in fake_cuda.log]
    assert made.count("graph") == 2 * 12  # before and after the look at errors
    assert not {"allocate", "capture", "update", "launch", "pin"} & set(made)
