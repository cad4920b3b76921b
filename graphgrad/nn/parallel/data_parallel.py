"""A model on one device, under the name that scripts use for several.

model = nn.DataParallel(model)          # the state's names begin with "module."
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphgrad.nn.modules.module import Module


def _check(device_ids: Sequence[Any] | None) -> None:
    if device_ids is not None and len(device_ids) > 1:
        raise NotImplementedError(
            f"DataParallel over {len(device_ids)} devices: graphgrad runs a model on one device. "
            "Give one device, and use all its cores by graphgrad.set_num_threads; to use several "
            "machines or GPUs, run one process for each on its own part of the data"
        )


class DataParallel(Module):
    """``module`` itself, run on its one device; NotImplementedError for more than one."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        _check(device_ids)
        self.module, self.dim, self.output_device = module, dim, output_device
        self.device_ids = [] if device_ids is None else list(device_ids)

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """``module(*inputs, **module_kwargs)`` on one device."""
    _check(device_ids)
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    return module(*arguments, **(module_kwargs or {}))
