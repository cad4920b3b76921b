"""``graphgrad bench``: how long the same programs take here, in PyTorch and in JAX.

    table = run(only=["lenet"], threads=1)   # measures; contestants take turns within one process
    print(table)                             # Markdown: medians, our time ÷ the best peer's

A workload (``workloads.py``, ``others.py``) is one function over a torch-like namespace, so every
contestant runs the same lines; JAX has its own (``jax_workloads.py``), from the same parameters.
Results are compared before anything is timed.
"""

from graphgrad.bench.report import Row, Table
from graphgrad.bench.runner import run

__all__ = ["Row", "Table", "run"]
