"""``GradScaler``: losses times a factor, so that small float16 gradients do not vanish.

scaler.scale(loss).backward()
scaler.step(optimizer)          # skipped if a gradient is infinite or NaN
scaler.update()
"""

from __future__ import annotations

import warnings
from typing import Any

import graphgrad as gg
from graphgrad.tensor import Tensor


class GradScaler:
    """Doubles the factor after ``growth_interval`` good steps, halves it after a bad one."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device != "cpu":
            warnings.warn(
                f"GradScaler is enabled, but {device} is not available. Disabling.", stacklevel=2
            )
        self._enabled = enabled and device == "cpu"
        if self._enabled and not (growth_factor > 1.0 > backoff_factor):
            raise ValueError("The growth factor must be > 1.0, and the backoff factor < 1.0")
        self._scale, self._growth_factor = init_scale, growth_factor
        self._backoff_factor, self._growth_interval = backoff_factor, growth_interval
        self._growth_tracker = 0
        # Optimizers whose gradients were divided since the last update: whether any was bad.
        self._bad: dict[int, bool] = {}

    def scale(self, outputs: Any) -> Any:
        """A loss (or several) times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(x) for x in outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer by the factor, before clipping them for example."""
        if not self._enabled:
            return
        if id(optimizer) in self._bad:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        grads = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
        if not grads:
            raise AssertionError("No gradients were found to unscale.")
        with gg.no_grad():
            for g in grads:
                g.mul_(1.0 / self._scale)
        self._bad[id(optimizer)] = not all(bool(gg.isfinite(g).all()) for g in grads)

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with the gradients divided, unless one is infinite or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) not in self._bad:
            self.unscale_(optimizer)
        return None if self._bad[id(optimizer)] else optimizer.step()

    def update(self, new_scale: Any = None) -> None:
        """Choose the factor of the next iteration."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._bad:
            raise AssertionError("No inf checks were recorded prior to update.")
        elif any(self._bad.values()):
            self._scale, self._growth_tracker = self._scale * self._backoff_factor, 0
        else:
            self._growth_tracker += 1
            if self._growth_tracker == self._growth_interval:
                self._scale, self._growth_tracker = self._scale * self._growth_factor, 0
        self._bad.clear()

    def get_scale(self) -> float:
        """The factor; 1 when disabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The factor and how it moves; empty when disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        for name, value in state_dict.items():
            setattr(self, "_scale" if name == "scale" else f"_{name.lstrip('_')}", value)
