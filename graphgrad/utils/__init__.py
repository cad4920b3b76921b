"""What surrounds training: ``graphgrad.utils.data`` loads data, ``checkpoint`` trades memory."""

from graphgrad.utils import data

__all__ = ["data"]
