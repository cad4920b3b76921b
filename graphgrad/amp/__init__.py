"""Automatic mixed precision, by PyTorch's names, on a device that computes in full precision.

``autocast`` changes no type: there is no bfloat16 here, and float16 is not faster on a CPU, so
every operation is done in the type its operands have. ``GradScaler`` works as PyTorch's does.
"""

from graphgrad.amp.autocast import autocast, custom_bwd, custom_fwd, is_autocast_available
from graphgrad.amp.scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
