"""Every layer, by topic; import them from ``graphgrad.nn``."""

from inspect import isclass
from types import ModuleType

from graphgrad.nn.modules import (
    activation,
    batchnorm,
    container,
    conv,
    distance,
    dropout,
    flatten,
    linear,
    loss,
    module,
    normalization,
    padding,
    pooling,
    rnn,
    sparse,
)

_TOPICS = (module, container, linear, conv, pooling, activation, batchnorm, normalization, dropout)
_TOPICS += (flatten, sparse, padding, distance, rnn, loss)


def _layers(topic: ModuleType) -> dict[str, type]:
    """The public layers a module defines (not those it imports)."""
    return {
        name: value
        for name, value in vars(topic).items()
        if isclass(value)
        and issubclass(value, module.Module)
        and value.__module__ == topic.__name__
        and not name.startswith("_")
        and name != "Configured"
    }


_LAYERS = {name: layer for topic in _TOPICS for name, layer in _layers(topic).items()}
globals().update(_LAYERS)

__all__ = [*_LAYERS]
