"""Which GPUs there are, which one is current, and what they are."""

from __future__ import annotations

from typing import Any

from graphgrad.device import current_index, set_current_index
from graphgrad.device import device as Device


def the_driver() -> Any:
    """The Driver; RuntimeError says what is missing. Loads CUDA's package at the first call."""
    from graphgrad.kernels.cuda.driver import driver

    return driver()


def index_of(place: Any = None) -> int:
    """The number of a device given as PyTorch lets one: None, 1, "cuda:1", a device.

    Raises ValueError for a device that is none of CUDA's, and RuntimeError for one that is not
    there.
    """
    if place is None:
        return current_index()
    if isinstance(place, bool) or not isinstance(place, int):
        place = Device(place)
        if place.type != "cuda":
            raise ValueError(f"Expected a cuda device, but got: {place}")
        place = current_index() if place.index is None else place.index
    count = the_driver().count()
    if not 0 <= place < count:
        raise RuntimeError(f"CUDA error: invalid device ordinal {place}; there are {count}")
    return place


def is_available() -> bool:
    """Whether tensors can live on a GPU (or on the emulator, where that is asked for)."""
    from graphgrad.kernels.cuda.driver import available

    return available()


def device_count() -> int:
    """How many GPUs can be used; 0 without a driver."""
    return the_driver().count() if is_available() else 0


def is_initialized() -> bool:
    """Whether CUDA is in use by this process."""
    import sys

    module = sys.modules.get("graphgrad.kernels.cuda.driver")
    return module is not None and module.is_open()


def init() -> None:
    """Begin to use CUDA now, and not at the first tensor. RuntimeError says what is missing."""
    the_driver()


def current_device() -> int:
    """The number of the device that ``"cuda"`` means in this thread."""
    the_driver()
    return current_index()


def set_device(device: Any) -> None:
    """Make another device current in this thread; a negative number changes nothing."""
    if isinstance(device, int) and device < 0:
        return
    set_current_index(index_of(device))


class device:
    """``with cuda.device(1):`` — that device is current inside the block; None changes nothing."""

    def __init__(self, device: Any) -> None:
        unchanged = device is None or (isinstance(device, int) and device < 0)
        self.idx = -1 if unchanged else index_of(device)
        self.prev_idx = -1

    def __enter__(self) -> None:
        self.prev_idx = current_index()
        set_device(self.idx)

    def __exit__(self, *_: Any) -> None:
        set_current_index(self.prev_idx)


class device_of(device):
    """``with cuda.device_of(tensor):`` — the tensor's device is current, if it is on a GPU."""

    def __init__(self, obj: Any) -> None:
        place = obj.device
        super().__init__(place if place.type == "cuda" else None)


def get_device_properties(device: Any = None) -> Any:
    """What a device is: ``name major minor total_memory multi_processor_count warp_size …``."""
    return the_driver().properties(index_of(device))


def get_device_name(device: Any = None) -> str:
    """The device's name, as its maker gave it."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """(major, minor) of the instruction set: (9, 0) on an H100."""
    has = get_device_properties(device)
    return has.major, has.minor


def get_arch_list() -> list[str]:
    """The architectures of the GPUs that are there: kernels are compiled for these."""
    if not is_available():
        return []
    capabilities = {get_device_capability(i) for i in range(device_count())}
    return [f"sm_{major}{minor}" for major, minor in sorted(capabilities)]


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Whether one device reads another's memory directly: copies go through the host here."""
    index_of(device), index_of(peer_device)
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 is computed on the current device: stored so, computed in float32."""
    if not is_available():
        return False
    return including_emulation or get_device_capability()[0] >= 8


def synchronize(device: Any = None) -> None:
    """Wait until everything on a device is done."""
    the_driver().synchronize(index_of(device))
