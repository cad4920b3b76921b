"""``GradScaler``: losses times a factor, so that small float16 gradients do not vanish.

scaler.scale(loss).backward()
scaler.step(optimizer)          # skipped if a gradient is infinite or NaN
scaler.update()

The factor, its count of good steps and whether a gradient was bad are tensors: in a compiled step
they are computed, and the step is skipped, by the program.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import graphgrad as gg
from graphgrad.tensor import Tensor
from graphgrad.tensor.state import no_grad, state


class GradScaler:
    """Doubles the factor after ``growth_interval`` good steps, halves it after a bad one.

    ``device``: where the factor is kept, as the losses and gradients are: "cuda" or "cpu".
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and device != "cpu" and not gg.cuda.is_available():
            warnings.warn(
                f"GradScaler is enabled, but {device} is not available. Disabling.", stacklevel=2
            )
            enabled = False
        if enabled and not (growth_factor > 1.0 > backoff_factor):
            raise ValueError("The growth factor must be > 1.0, and the backoff factor < 1.0")
        self._enabled, self._device = enabled, device
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._scale: Tensor | None = None
        self._growth_tracker: Tensor | None = None
        if enabled:
            self._set(init_scale, 0)
        # Optimizers whose gradients were divided since the last update: 1 where one was bad.
        self._bad: dict[int, Tensor] = {}

    def _set(self, scale: float, tracker: int) -> None:
        self._scale = gg.tensor(float(scale), dtype=gg.float32, device=self._device)
        self._growth_tracker = gg.tensor(tracker, dtype=gg.int32, device=self._device)

    def scale(self, outputs: Any) -> Any:
        """A loss (or several) times the factor."""
        if self._scale is None:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale.to(outputs.device)
        return type(outputs)(self.scale(x) for x in outputs)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer by the factor, before clipping them for example."""
        if self._scale is None:
            return
        if id(optimizer) in self._bad:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        grads = list(_gradients(optimizer))
        if not grads:
            raise AssertionError("No gradients were found to unscale.")
        with no_grad():
            inverse = self._scale.double().reciprocal().float()
            bad = self._scale.new_zeros(())
            for g in grads:
                finite = g.isfinite().all().to(bad.device, gg.float32)
                bad = bad.maximum(1.0 - finite)
                g.mul_(inverse.to(g.device))
        self._bad[id(optimizer)] = bad

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step()`` with the gradients divided, unless one is infinite or NaN."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs or args:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        if id(optimizer) not in self._bad:
            self.unscale_(optimizer)
        bad = self._bad[id(optimizer)]
        if state.trace is None:
            return None if bad.item() else optimizer.step()
        state.skip = bad > 0
        try:
            return optimizer.step()
        finally:
            state.skip = None

    def update(self, new_scale: Any = None) -> None:
        """Choose the factor of the next iteration."""
        if self._scale is None or self._growth_tracker is None:
            return
        if new_scale is not None:
            self._scale.fill_(new_scale)
        elif not self._bad:
            raise AssertionError("No inf checks were recorded prior to update.")
        else:
            with no_grad():
                self._move(self._scale, self._growth_tracker)
        self._bad.clear()

    def _move(self, scale: Tensor, tracker: Tensor) -> None:
        """Back off after a bad step, grow after enough good ones (never to infinity)."""
        bad = gg.stack(list(self._bad.values())).amax() > 0
        count = gg.where(bad, gg.zeros_like(tracker), tracker + 1)
        grown = scale * self._growth_factor
        grows = (count == self._growth_interval) & grown.isfinite()
        after = gg.where(bad, scale * self._backoff_factor, gg.where(grows, grown, scale))
        tracker.copy_(gg.where(count == self._growth_interval, gg.zeros_like(count), count))
        scale.copy_(after)

    def get_scale(self) -> float:
        """The factor; 1 when disabled. Waits for a device."""
        return 1.0 if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the factor is multiplied with after enough good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied with after enough good steps."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied with after a bad step."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the factor is multiplied with after a bad step."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row make the factor grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many good steps in a row make the factor grow."""
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether losses are scaled."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The factor and how it moves; empty when disabled."""
        if self._growth_tracker is None:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker.item(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a ``state_dict``."""
        if self._scale is None or self._growth_tracker is None:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        for name in ("growth_factor", "backoff_factor", "growth_interval"):
            setattr(self, f"_{name}", state_dict[name])
        # In place: a compiled step holds on to both.
        self._scale.fill_(state_dict["scale"])
        self._growth_tracker.fill_(state_dict["_growth_tracker"])


def _gradients(optimizer: Any) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        yield from (p.grad for p in group["params"] if p.grad is not None)
