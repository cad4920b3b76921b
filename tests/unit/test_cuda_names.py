"""``graphgrad.cuda``: what scripts ask, without a GPU and on the emulator."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.config import config
from graphgrad.device import device, located

TRAINING = """
import sys
import graphgrad as gg
from graphgrad import nn
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
optimizer = gg.optim.Adam(model.parameters())
@gg.compile
def step(x):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss
step(gg.ones(2, 4)), step(gg.ones(2, 4))
def loaded(*names):
    return [m for m in sys.modules if m.startswith(names)]
print(loaded("graphgrad.kernels.cuda"), loaded("cuda", "numba_cuda", "nvmath", "cupy"))
if not gg.cuda.is_available():
    gg.cuda.manual_seed(0), gg.cuda.memory_allocated(), gg.cuda.empty_cache()
    print(loaded("cuda", "numba_cuda", "nvmath", "cupy"))
"""


def test_training_on_the_cpu_touches_no_cuda_module() -> None:
    run = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True)
    assert run.stdout.split("\n")[:1] == ["[] []"], run.stderr
    assert set(run.stdout.split("\n")[1:]) <= {"[]", ""}


@pytest.fixture
def emulator():
    with config.scope(cuda="emulate", cuda_devices=2):
        yield
        gg.cuda.set_device(0)


def without_a_gpu() -> bool:
    with config.scope(cuda="auto"):
        return not gg.cuda.is_available()


@pytest.mark.skipif(not without_a_gpu(), reason="there is a GPU")
class TestWithout:
    def test_asking_never_raises(self) -> None:
        assert not gg.cuda.is_available() and gg.cuda.device_count() == 0
        assert not gg.cuda.is_initialized() and not gg.cuda.is_bf16_supported()
        assert gg.cuda.memory_allocated() == gg.cuda.max_memory_reserved() == 0
        assert gg.cuda.get_arch_list() == [] and gg.accelerator.current_accelerator() is None
        gg.cuda.manual_seed(1), gg.cuda.manual_seed_all(1), gg.cuda.empty_cache()

    @pytest.mark.parametrize(
        "name",
        ["synchronize", "current_device", "get_device_name", "mem_get_info", "Stream", "init"],
    )
    def test_what_needs_one_says_what_is_missing(self, name: str) -> None:
        with pytest.raises(RuntimeError, match=r"no CUDA: .*(package|driver|device).*emulate"):
            getattr(gg.cuda, name)()


@pytest.mark.usefixtures("emulator")
class TestEmulated:
    def test_the_current_device_is_a_threads_own(self) -> None:
        assert gg.cuda.device_count() == 2 and gg.cuda.current_device() == 0
        with gg.cuda.device(1):
            assert gg.cuda.current_device() == 1 and located("cuda") == device("cuda", 1)
            seen: list[int] = []
            thread = threading.Thread(target=lambda: seen.append(gg.cuda.current_device()))
            thread.start(), thread.join()
            assert seen == [0]
        assert gg.cuda.current_device() == 0
        gg.cuda.set_device("cuda:1")
        assert located("cuda") == device("cuda", 1)

    @pytest.mark.parametrize("wrong", [2, "cuda:7", device("cuda", 2)])
    def test_a_device_that_is_not_there(self, wrong: object) -> None:
        with pytest.raises(RuntimeError, match="invalid device ordinal"):
            gg.cuda.synchronize(wrong)

    def test_a_device_of_another_make(self) -> None:
        with pytest.raises(ValueError, match="Expected a cuda device, but got: cpu"):
            gg.cuda.get_device_name("cpu")

    def test_properties(self) -> None:
        has = gg.cuda.get_device_properties(0)
        assert gg.cuda.get_device_name() == has.name and "emulator" in has.name
        assert gg.cuda.get_device_capability() == (has.major, has.minor)
        assert gg.cuda.mem_get_info()[1] == has.total_memory

    def test_memory_is_counted_by_device(self) -> None:
        from graphgrad.kernels.cuda.memory import empty

        before = gg.cuda.memory_allocated(1)
        x = empty((256, 1024), np.dtype("float32"), device("cuda", 1))
        assert gg.cuda.memory_allocated(1) - before == x.nbytes == 1 << 20
        assert gg.cuda.memory_allocated(0) == gg.cuda.memory_allocated()
        del x
        assert gg.cuda.memory_allocated(1) == before
        assert gg.cuda.max_memory_allocated(1) >= before + (1 << 20)
        gg.cuda.reset_peak_memory_stats(1)
        assert gg.cuda.max_memory_allocated(1) == before
        gg.cuda.empty_cache()
        assert gg.cuda.memory_reserved(1) < 1 << 20
        assert "reserved_bytes.all.peak" in gg.cuda.memory_summary()

    def test_streams_and_events(self) -> None:
        stream = gg.cuda.Stream()
        assert gg.cuda.current_stream() == gg.cuda.default_stream() != stream
        with gg.cuda.stream(stream):
            assert gg.cuda.current_stream() == stream
            with gg.cuda.stream(None):
                assert gg.cuda.current_stream() == stream
        assert gg.cuda.current_stream() == gg.cuda.default_stream()
        start, end = gg.cuda.Event(enable_timing=True), gg.cuda.Event(enable_timing=True)
        start.record()
        end.record(stream)
        stream.wait_stream(gg.cuda.current_stream()), stream.wait_event(end)
        end.synchronize(), stream.synchronize(), gg.cuda.synchronize()
        assert end.query() and stream.query() and start.elapsed_time(end) >= 0

    def test_events_that_cannot_be_compared(self) -> None:
        plain, timed = gg.cuda.Event(), gg.cuda.Event(enable_timing=True)
        with pytest.raises(ValueError, match="enable_timing"):
            plain.elapsed_time(timed)
        with pytest.raises(ValueError, match="must be recorded"):
            timed.elapsed_time(gg.cuda.Event(enable_timing=True))

    def test_graphs_of_written_code_say_what_to_do(self) -> None:
        with pytest.raises(NotImplementedError, match=r"graphgrad\.compile"):
            gg.cuda.CUDAGraph()
        f = gg.cuda.make_graphed_callables(lambda x: x * 2, (gg.ones(3),))
        assert gg.equal(f(gg.ones(3)), gg.full((3,), 2.0))


def test_an_unknown_name_has_a_nearest_one() -> None:
    with pytest.raises(AttributeError, match="did you mean 'synchronize'"):
        gg.cuda.synchronise  # noqa: B018
