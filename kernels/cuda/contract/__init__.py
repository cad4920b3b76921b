"""Contractions on the grid: register-tiled kernels that read operands through their views.

    lower_contraction(region)       # GridCalls of a product or convolution, and what follows it
    accepts(region)                 # whether there are any

`maps` turns views into tables of offsets, `tiles` chooses a tile and the parts of k, `template` is
the kernel, `parts` adds up what was cut, `epilogue` is what consumers make of a product, `library`
asks NVIDIA's: `cublaslt` for matrices, `cudnn_plan` for what `convolution` finds. No operand is
copied: the columns of a convolution exist in shared memory only, a tile at a time.
"""

from .plan import accepts, lower_contraction

__all__ = ["accepts", "lower_contraction"]
