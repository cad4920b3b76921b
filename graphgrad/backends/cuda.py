"""Switches of CUDA's libraries; see ``graphgrad.cuda`` for what there is."""

from __future__ import annotations

from graphgrad.config import config


class _Matmul:
    """Switches of products on GPUs. ``allow_tf32``: whether cublasLt may round operands."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True

    @property
    def allow_tf32(self) -> bool:
        return config.cuda_tf32

    @allow_tf32.setter
    def allow_tf32(self, value: bool) -> None:
        config.cuda_tf32 = bool(value)


matmul = _Matmul()


def is_built() -> bool:
    """Whether this package can use CUDA tensors: yes, where there is a GPU."""
    return True


def flash_sdp_enabled() -> bool:
    """Attention has one way to run here: no."""
    return False


def enable_flash_sdp(enabled: bool) -> None:
    """Nothing to choose: attention has one way to run here."""


enable_math_sdp = enable_mem_efficient_sdp = enable_cudnn_sdp = enable_flash_sdp
mem_efficient_sdp_enabled = cudnn_sdp_enabled = flash_sdp_enabled


def math_sdp_enabled() -> bool:
    """Attention is composed of ordinary operations: yes."""
    return True
