"""``graphgrad bench``: how long the same programs take here and in PyTorch, on the same machine.

    table = run(only="lenet", threads=1)     # measures; contestants take turns within one process
    print(table)                             # Markdown: medians, our time ÷ PyTorch's

A workload (``workloads.py``) is one function over a torch-like namespace, so every contestant runs
the same lines. Results are compared before anything is timed.
"""

from graphgrad.bench.report import Row, Table
from graphgrad.bench.runner import run

__all__ = ["Row", "Table", "run"]
