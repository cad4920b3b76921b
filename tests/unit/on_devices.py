"""Comparing tensors on a device with those of the CPU."""

import numpy as np


def same(there, here, exact=True):
    """A tensor on a device holds what one on the CPU does."""
    assert there.device.type == "cuda" and here.device.type == "cpu"
    assert there.dtype is here.dtype and there.shape == here.shape
    there, here = there.detach().cpu().numpy(), here.detach().numpy()
    if exact:
        np.testing.assert_array_equal(there, here)
    else:
        np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-6)
