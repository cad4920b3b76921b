"""What surrounds training: ``utils.data`` loads data, ``utils.checkpoint`` saves memory."""

from graphgrad.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
