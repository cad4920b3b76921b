"""How much memory of a device is in use, and was at most. Bytes.

Memory that nobody uses is kept for the next who asks (*reserved*), until ``empty_cache``. What a
compiled function computes in is lent to it by its stream, and is counted as allocated.
"""

from __future__ import annotations

from typing import Any

from graphgrad.cuda.devices import index_of, is_available, is_initialized, the_driver


def _pool(device: Any) -> Any:
    """The allocator of a device; None where nothing was ever put on one."""
    if not is_initialized() and not is_available():
        return None
    return the_driver().statistics(index_of(device))


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors and programs hold now."""
    pool = _pool(device)
    return pool.allocated if pool else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes held at once since the start, or since ``reset_peak_memory_stats``."""
    pool = _pool(device)
    return pool.peak if pool else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the device: those held, and those kept for the next who asks."""
    pool = _pool(device)
    return pool.reserved if pool else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes taken at once."""
    pool = _pool(device)
    return pool.peak_reserved if pool else 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """Look for the peaks anew from here on."""
    pool = _pool(device)
    if pool:
        pool.reset_peak()


reset_max_memory_allocated = reset_peak_memory_stats


def memory_stats(device: Any = None) -> dict[str, int]:
    """The figures above under PyTorch's keys: ``allocated_bytes.all.current`` and its like."""
    return {
        "allocated_bytes.all.current": memory_allocated(device),
        "allocated_bytes.all.peak": max_memory_allocated(device),
        "reserved_bytes.all.current": memory_reserved(device),
        "reserved_bytes.all.peak": max_memory_reserved(device),
    }


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """The figures above, to be read."""
    return "\n".join(f"{key:<30} {value:>18,}" for key, value in memory_stats(device).items())


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """(free, total) bytes of a device, whoever uses it."""
    return the_driver().memory_info(index_of(device))


def empty_cache() -> None:
    """Give back to the device what is kept and not in use. Nothing to do without one."""
    if is_initialized():
        from graphgrad.kernels.cuda.runner import arenas

        arenas.clear()
        the_driver().empty_cache()
