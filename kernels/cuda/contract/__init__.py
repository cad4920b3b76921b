"""Contractions on the grid: register-tiled kernels that read operands through their views.

    lower_contraction(region)       # GridCalls of a product or convolution

`maps` turns views into tables of offsets, `tiles` chooses a tile and the parts of k, `template` is
the kernel, `parts` adds up what was cut. Neither copies an operand: the columns of a convolution
exist in shared memory only, a tile at a time.
"""

from .plan import lower_contraction

__all__ = ["lower_contraction"]
