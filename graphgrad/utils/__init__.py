"""What surrounds training: ``utils.data`` loads data, ``utils.checkpoint`` saves memory."""

from graphgrad.nearest import names_of
from graphgrad.utils import checkpoint, data

__all__ = ["checkpoint", "data"]

__getattr__ = names_of("graphgrad.utils", globals())
