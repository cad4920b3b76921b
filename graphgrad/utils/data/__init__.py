"""Data sets, samplers and loaders, by PyTorch's names.

train, valid = random_split(TensorDataset(images, labels), [0.9, 0.1])
for x, y in DataLoader(train, batch_size=64, shuffle=True, num_workers=2):
    ...
"""

from graphgrad.nearest import names_of
from graphgrad.utils.data.collate import default_collate, default_convert
from graphgrad.utils.data.dataloader import DataLoader
from graphgrad.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from graphgrad.utils.data.idx import MNIST, read_idx
from graphgrad.utils.data.sampler import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from graphgrad.utils.data.worker import get_worker_info

__all__ = [
    "MNIST",
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
    "read_idx",
]

__getattr__ = names_of("graphgrad.utils.data", globals())
