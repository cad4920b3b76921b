"""Every setting, typed; ``with config.scope(tier="interpret"):`` changes some for a while.

tier       how programs run: "interpret" | "compiled" | "auto" | "verify"
threads    worker threads of parallel kernels (0: one per available core)
cache_dir  where generated kernels live (GRAPHGRAD_CACHE_DIR, else the user's cache folder)
check      re-run the type rules after every pass (on in tests)
promote_after   under "auto", how often a backward graph or one-op program is interpreted first
kernel_threshold   elements from which an eager op over an array runs as a kernel
winograd   convolutions with fewer multiplications where that is faster (GRAPHGRAD_WINOGRAD=0: none)
cuda       "auto": the GPUs there are; "emulate": devices made of host memory (GRAPHGRAD_CUDA)
cuda_devices    how many devices the emulator has
cuda_blas  products on GPUs: "own" kernels, "cublaslt" wherever it can, "auto": that if installed
cuda_dnn   convolutions on GPUs: "own" kernels, "cudnn" wherever it can, "auto": that if installed
cuda_tf32  whether float32 products of cublasLt and cuDNN may round their operands to 10 bits
cuda_archs   what exported files hold machine code for: "sm_80,sm_90" ("": the GPU's own)
cuda_tensor_cores   whether 16-bit products of our own use them (sm_80 and later)
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

TIERS = ("interpret", "compiled", "auto", "verify")
CUDA = ("auto", "emulate")
CUDA_BLAS = ("auto", "own", "cublaslt")
CUDA_DNN = ("auto", "own", "cudnn")


def _default_cache_dir() -> pathlib.Path:
    if "GRAPHGRAD_CACHE_DIR" in os.environ:
        return pathlib.Path(os.environ["GRAPHGRAD_CACHE_DIR"])
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "graphgrad"


@dataclass
class Config:
    """The process's settings; assign attributes, or use ``scope`` to restore them afterwards."""

    tier: str = field(default_factory=lambda: os.environ.get("GRAPHGRAD_TIER", "auto"))
    threads: int = field(default_factory=lambda: int(os.environ.get("GRAPHGRAD_THREADS", "0")))
    cache_dir: pathlib.Path = field(default_factory=_default_cache_dir)
    check: bool = field(default_factory=lambda: os.environ.get("GRAPHGRAD_CHECK", "") == "1")
    promote_after: int = 3
    kernel_threshold: int = 32768
    winograd: bool = field(default_factory=lambda: os.environ.get("GRAPHGRAD_WINOGRAD", "1") != "0")
    cuda: str = field(default_factory=lambda: os.environ.get("GRAPHGRAD_CUDA", "auto"))
    cuda_devices: int = 1
    cuda_archs: str = ""
    cuda_blas: str = "auto"
    cuda_dnn: str = "auto"
    cuda_tf32: bool = False
    cuda_tensor_cores: bool = True

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _NAMES:
            raise AttributeError(f"no setting {name!r}; the settings are {', '.join(_NAMES)}")
        if name == "tier" and value not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {value!r}")
        if name == "cuda" and value not in CUDA:
            raise ValueError(f"cuda must be one of {', '.join(CUDA)}, not {value!r}")
        if name == "cuda_blas" and value not in CUDA_BLAS:
            raise ValueError(f"cuda_blas must be one of {', '.join(CUDA_BLAS)}, not {value!r}")
        if name == "cuda_dnn" and value not in CUDA_DNN:
            raise ValueError(f"cuda_dnn must be one of {', '.join(CUDA_DNN)}, not {value!r}")
        object.__setattr__(self, name, value)

    def of_kernels(self, device_type: str) -> tuple[Any, ...]:
        """The settings that decide what a program on a kind of device is made of."""
        if device_type == "cpu":
            return (self.winograd,)
        libraries = self.cuda_blas, self.cuda_dnn, self.cuda_tf32
        return self.cuda, *libraries, self.cuda_tensor_cores

    @contextlib.contextmanager
    def scope(self, **settings: Any) -> Iterator[Config]:
        """Change some settings inside a ``with`` block and restore them after it."""
        before = {name: getattr(self, name) for name in settings}
        try:
            for name, value in settings.items():
                setattr(self, name, value)
            yield self
        finally:
            for name, value in before.items():
                setattr(self, name, value)


_NAMES: tuple[str, ...] = tuple(Config.__dataclass_fields__)

config = Config()
