"""Automatic mixed precision, by PyTorch's names and lists, on the CPU and on CUDA.

with gg.autocast("cuda"):
    loss = loss_of(model(x), y)
scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()

Written inside a compiled function, conversions, scaling and the choice to skip a step are part of
its program.
"""

from graphgrad.amp.autocast import autocast, custom_bwd, custom_fwd, is_autocast_available
from graphgrad.amp.scaler import GradScaler

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
