"""``graphgrad.cuda``: the GPUs there are, their memory, their queues, by PyTorch's names.

    if gg.cuda.is_available():
        model.cuda()
    gg.cuda.max_memory_allocated(), gg.cuda.synchronize()

Asking whether there is a GPU never raises; what needs one says which of package, driver and device
is missing. ``graphgrad.config.cuda = "emulate"`` makes devices of host memory.
"""

from __future__ import annotations

from typing import Any

from graphgrad.cuda import amp
from graphgrad.cuda.devices import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    init,
    is_available,
    is_bf16_supported,
    is_initialized,
    set_device,
    synchronize,
)
from graphgrad.cuda.graphs import (
    CUDAGraph,
    graph,
    is_current_stream_capturing,
    make_graphed_callables,
)
from graphgrad.cuda.memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_max_memory_allocated,
    reset_peak_memory_stats,
)
from graphgrad.cuda.seeds import (
    get_rng_state,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
)
from graphgrad.cuda.streams import (
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    set_stream,
    stream,
)
from graphgrad.nearest import missing

_OTHERS = ("annotations", "Any", "devices", "graphs", "missing", "seeds", "streams")
__all__ = [name for name in dir() if not name.startswith("_") and name not in _OTHERS]


def __getattr__(name: str) -> Any:
    if name == "OutOfMemoryError":
        from graphgrad.kernels.cuda.driver import OutOfMemoryError

        return OutOfMemoryError
    if name.startswith("__"):
        raise AttributeError(name)
    from graphgrad.namespace import CUDA_TYPES

    if name in CUDA_TYPES:
        return CUDA_TYPES[name]
    raise missing(__name__, name, __all__)
