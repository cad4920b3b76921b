"""Data sets, samplers, collating and loaders: as PyTorch's where nothing is drawn at random."""

import collections
import gzip
import os
import struct
import time

import numpy as np
import pytest

import graphgrad as gg
from graphgrad.utils import data
from graphgrad.utils.data import DataLoader

Point = collections.namedtuple("Point", "x y")


class Squares(data.Dataset):
    def __init__(self, n=10):
        self.n = n

    def __getitem__(self, i):
        return np.float32(i), i * i

    def __len__(self):
        return self.n


class Count(data.IterableDataset):
    """0…n-1, shared out among the workers."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = data.get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.n, step))

    def __len__(self):
        return self.n


class Failing(Squares):
    def __getitem__(self, i):
        if i == 5:
            raise KeyError("no five")
        return i


class Dying(Squares):
    def __getitem__(self, i):
        if i == 3:
            os._exit(7)
        return i


class Slow(Squares):
    def __getitem__(self, i):
        time.sleep(30)


class Who(Squares):
    def __getitem__(self, i):
        info = data.get_worker_info()
        drawn = gg.rand(1).item(), np.random.rand()
        return (info.id, info.num_workers, info.seed, *drawn)


def flat(batches):
    return [x for batch in batches for x in batch.tolist()]


# --------------------------------------------------------------------------------------- data sets


def test_data_sets_combine():
    a, b = Squares(3), Squares(2)
    both = a + b
    assert len(both) == 5 and both[4] == (1.0, 1) and both[-1] == (1.0, 1)
    with pytest.raises(ValueError, match="should not exceed dataset length"):
        both[-6]
    pairs = data.TensorDataset(gg.arange(3), gg.arange(6).reshape(3, 2))
    assert len(pairs) == 3 and pairs[1][1].tolist() == [2, 3]
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(gg.ones(2), gg.ones(3))
    chained = Count(2) + Count(3)
    assert list(chained) == [0, 1, 0, 1, 2] and len(chained) == 5
    stacked = data.StackDataset(image=a, label=a)
    assert stacked[2] == {"image": (2.0, 4), "label": (2.0, 4)}
    subset = data.Subset(a, [2, 0])
    assert len(subset) == 2 and subset[0] == (2.0, 4)
    assert [x.tolist() for x in next(iter(DataLoader(subset, 2)))] == [[2.0, 0.0], [4, 0]]


def test_random_split_takes_every_sample_once():
    source = gg.Generator().manual_seed(1)
    parts = data.random_split(range(10), [0.3, 0.3, 0.4], generator=source)
    assert [len(p) for p in parts] == [3, 3, 4]
    assert sorted(i for p in parts for i in p) == list(range(10))
    again = data.random_split(range(10), [3, 3, 4], generator=gg.Generator().manual_seed(1))
    assert [list(p) for p in parts] == [list(p) for p in again]
    assert [len(p) for p in data.random_split(range(10), [1 / 3, 1 / 3, 1 / 3])] == [4, 3, 3]
    with pytest.raises(ValueError, match="does not equal the length"):
        data.random_split(range(10), [3, 3])


# ---------------------------------------------------------------------------------------- samplers


def test_samplers():
    assert list(data.SequentialSampler(range(3))) == [0, 1, 2]
    order = list(data.RandomSampler(range(20)))
    assert sorted(order) == list(range(20)) and order != list(range(20))
    drawn = list(data.RandomSampler(range(3), replacement=True, num_samples=50))
    assert len(drawn) == 50 and set(drawn) == {0, 1, 2}
    assert len(list(data.RandomSampler(range(3), num_samples=8))) == 8
    assert sorted(data.SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    weighted = list(data.WeightedRandomSampler([0.0, 1.0, 3.0], 400))
    assert set(weighted) == {1, 2} and 240 < weighted.count(2) < 360
    assert sorted(data.WeightedRandomSampler([1.0, 1, 1], 3, replacement=False)) == [0, 1, 2]
    batches = data.BatchSampler(range(5), 2, drop_last=False)
    assert list(batches) == [[0, 1], [2, 3], [4]] and len(batches) == 3
    dropped = data.BatchSampler(range(5), 2, drop_last=True)
    assert list(dropped) == [[0, 1], [2, 3]] and len(dropped) == 2
    shares = [list(data.DistributedSampler(range(5), 2, r, shuffle=False)) for r in (0, 1)]
    assert shares == [[0, 2, 4], [1, 3, 0]]


@pytest.mark.parametrize(
    ("mistake", "kind", "text"),
    [
        (
            lambda: data.RandomSampler([]),
            ValueError,
            "positive integer value, but got num_samples=0",
        ),
        (lambda: data.RandomSampler([1], 3), TypeError, "replacement should be a boolean"),
        (lambda: data.BatchSampler([1], 0, True), ValueError, "batch_size should be a positive"),
        (lambda: data.WeightedRandomSampler([[1.0]], 1), ValueError, "weights should be a 1d"),
        (lambda: DataLoader([1], shuffle=True, sampler=[0]), ValueError, "mutually exclusive"),
        (lambda: DataLoader([1], 2, batch_sampler=[[0]]), ValueError, "batch_sampler option is"),
        (lambda: DataLoader([1], num_workers=-1), ValueError, "should be non-negative"),
        (lambda: DataLoader([1], prefetch_factor=2), ValueError, "prefetch_factor option could"),
        (lambda: DataLoader([1], persistent_workers=True), ValueError, "needs num_workers > 0"),
        (lambda: DataLoader([1], None, drop_last=True), ValueError, "disables auto-batching"),
        (lambda: DataLoader(Count(3), shuffle=True), ValueError, "unspecified shuffle option"),
    ],
)
def test_mistakes_are_named(mistake, kind, text):
    with pytest.raises(kind, match=text):
        mistake()


# -------------------------------------------------------------------------------------- collating


BATCHES = [
    [1, 2],
    [1.5, 2.5],
    [True, False],
    ["a", "b"],
    [np.float32(1), np.float32(2)],
    [np.float64(1), np.float64(2)],
    [np.ones((2, 3), np.float32)] * 2,
    [{"a": 1, "b": [1.0, "x"]}, {"a": 2, "b": [2.0, "y"]}],
    [(1, 2.0), (3, 4.0)],
    [[1, (2, 3)], [4, (5, 6)]],
    [Point(1, np.zeros(2)), Point(2, np.ones(2))],
]


def told(library, value):
    """A value with tensors as (dtype, numbers)."""
    if isinstance(value, library.Tensor):
        return str(value.dtype).rpartition(".")[2], value.numpy().tolist()
    if isinstance(value, dict):
        return {k: told(library, v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [told(library, v) for v in value]
    return value


@pytest.mark.torch
@pytest.mark.parametrize("batch", BATCHES)
def test_collating_is_torchs(batch):
    torch = pytest.importorskip("torch")
    theirs = torch.utils.data
    assert told(gg, data.default_collate(batch)) == told(torch, theirs.default_collate(batch))
    assert told(gg, data.default_convert(batch)) == told(torch, theirs.default_convert(batch))


def test_what_cannot_be_collated_is_named():
    with pytest.raises(TypeError, match=r"found <class 'object'>"):
        data.default_collate([object()])
    with pytest.raises(RuntimeError, match="should be of equal size"):
        data.default_collate([[1], [1, 2]])


# ----------------------------------------------------------------------------------------- loaders


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("pin", [False, True])
def test_batches_come_in_order(workers, pin):
    loader = DataLoader(Squares(), batch_size=4, num_workers=workers, pin_memory=pin)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [b[1].tolist() for b in batches] == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    assert batches[0][0].dtype is gg.float32 and batches[0][1].dtype is gg.int64
    assert len(list(DataLoader(Squares(), 4, num_workers=workers, drop_last=True))) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_a_seed_gives_the_order_and_every_epoch_another(workers):
    def epochs():
        source = gg.Generator().manual_seed(3)
        loader = DataLoader(range(12), 5, shuffle=True, generator=source, num_workers=workers)
        return [flat(loader) for _ in range(2)]

    first, second = epochs()
    assert epochs() == [first, second] and first != second
    assert sorted(first) == sorted(second) == list(range(12))


def test_the_default_generator_orders_too():
    orders = []
    for _ in range(2):
        gg.manual_seed(5)
        orders.append(flat(DataLoader(range(12), shuffle=True)))
    assert orders[0] == orders[1] != list(range(12))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_iterable_data_sets_are_shared_out(workers):
    loader = DataLoader(Count(11), batch_size=2, num_workers=workers)
    assert sorted(flat(loader)) == list(range(11)) and len(loader) == 6
    assert flat(DataLoader(Count(5), batch_size=2, drop_last=True)) == [0, 1, 2, 3]
    assert list(DataLoader(Count(3), batch_size=None)) == [0, 1, 2]


def test_without_batches_samples_are_only_converted():
    samples = list(DataLoader(Squares(2), batch_size=None))
    assert samples[1][0].tolist() == 1.0 and samples[1][1] == 1


def test_workers_have_seeds_of_their_own_and_live_on_if_asked():
    loader = DataLoader(Who(6), batch_size=None, num_workers=2, persistent_workers=True)
    first, second = list(loader), list(loader)
    assert [row[0] for row in first] == [0, 1, 0, 1, 0, 1] and first[0][1] == 2
    assert first[1][2] == first[0][2] + 1
    drawn = [row[3] for row in [*first, *second]] + [row[4] for row in [*first, *second]]
    assert len(set(drawn)) == 24
    pids = {p.pid for p in loader._workers.processes}
    for _ in loader:
        break
    assert [row[0] for row in loader] == [0, 1, 0, 1, 0, 1]
    assert {p.pid for p in loader._workers.processes} == pids


def test_errors_of_workers_arrive():
    with pytest.raises(KeyError, match="no five"):
        list(DataLoader(Failing(), num_workers=0))
    with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker process 1"):
        list(DataLoader(Failing(), num_workers=2))
    with pytest.raises(RuntimeError, match=r"exited unexpectedly with exit code 7"):
        list(DataLoader(Dying(), num_workers=2))
    with pytest.raises(RuntimeError, match="timed out after 0\\.2 seconds"):
        list(DataLoader(Slow(), num_workers=1, timeout=0.2))
    with pytest.raises(KeyError, match="no five"):
        list(DataLoader(Failing(), pin_memory=True))


def say_no(number):
    raise ValueError(f"worker {number} does not like it")


def test_worker_init_fn_runs_in_each_worker():
    with pytest.raises(ValueError, match="worker 0 does not like it"):
        list(DataLoader(Squares(), num_workers=1, worker_init_fn=say_no))


def test_a_loader_left_early_ends_its_workers():
    iterator = iter(DataLoader(Squares(100), num_workers=2))
    next(iterator)
    processes = iterator.gi_frame.f_locals["workers"].processes
    iterator.close()
    assert not any(p.is_alive() for p in processes)


def test_batches_as_they_come():
    loader = DataLoader(Squares(20), 2, num_workers=2, in_order=False)
    assert sorted(flat(b[1] for b in loader)) == [i * i for i in range(20)]


# ---------------------------------------------------------------------------------------- IDX files


def idx(array):
    codes = {"uint8": 8, "int16": 11, "float32": 13}
    head = bytes([0, 0, codes[array.dtype.name], array.ndim])
    return (
        head
        + struct.pack(f">{array.ndim}I", *array.shape)
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_idx_files_are_read(tmp_path, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    (tmp_path / "a").write_bytes(idx(array))
    (tmp_path / "b.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("a", "b.gz"):
        found = data.read_idx(tmp_path / name)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)
    (tmp_path / "c").write_bytes(idx(array)[:-1])
    with pytest.raises(ValueError, match="cut short"):
        data.read_idx(tmp_path / "c")
    (tmp_path / "d").write_bytes(b"GIF89a")
    with pytest.raises(ValueError, match="not an IDX file"):
        data.read_idx(tmp_path / "d")


def test_mnist_from_its_files(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images = np.arange(2 * 28 * 28).reshape(2, 28, 28).astype(np.uint8)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(images))
    labels = np.array([7, 3], np.uint8)
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    digits = data.MNIST(tmp_path, transform=lambda x: x * 2)
    x, y = digits[1]
    assert tuple(x.shape) == (1, 28, 28) and y == 3 and len(digits) == 2
    np.testing.assert_allclose(x.numpy()[0], images[1] / 255 * 2, rtol=1e-6)
    with pytest.raises(FileNotFoundError, match="t10k-images-idx3-ubyte"):
        data.MNIST(tmp_path, train=False)
