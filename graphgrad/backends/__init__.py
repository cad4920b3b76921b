"""Switches of PyTorch's backends that scripts set and ask; here they steer nothing.

torch.backends.cudnn.benchmark = True
torch.backends.mps.is_available()          # False
"""

from graphgrad.backends import cpu, cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cpu", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]
