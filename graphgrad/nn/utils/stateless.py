"""The older place of ``func.functional_call``: a module run with other tensors as its state."""

from graphgrad.func import functional_call

__all__ = ["functional_call"]
