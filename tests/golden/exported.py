"""activated, exported from exportable.py:9 by graphgrad 0.1.0.

    import exported

    result = exported.activated(x)
    exported.save("exported.npz")    # exported.state, as it is now

NumPy and numba are all it needs. Types and shapes are those of the trace; others
raise a ValueError. One call at a time: calls share their memory.
``state`` holds the arrays that outlive a call, by name: assign into them. They
are read from exported.npz beside this file; keep the two together.

From top to bottom: arrays, memory, kernels, calls. A kernel is a loop that numba
compiles; set NUMBA_DISABLE_JIT=1 and a debugger steps through it.
"""

import functools
import pathlib
import types

import numpy as np
from numba import njit

# ------------------------------------------------------------------------------------------- arrays

FILE = pathlib.Path(__file__).with_suffix(".npz")
with np.load(FILE) as file:
    arrays = dict(file)
state = types.MappingProxyType({name: arrays.pop(name) for name in [*arrays]})


# ---------------------------------------------------------------------------------------- functions


def given(name, x, dtype, shape, written=False):
    """An argument as an array; its type and shape are part of the code below."""
    array = np.asarray(x)
    if array.dtype != dtype or array.shape != shape:
        raise ValueError(
            f"{name} must be {np.dtype(dtype).name}{list(shape)}, not {array.dtype}"
            f"{list(array.shape)}: this file computes one shape; export again for another"
        )
    if written and not (array is x and x.flags.c_contiguous and x.flags.writeable):
        raise ValueError(f"{name} is written in place: it must be a contiguous, writeable array")
    return np.asarray(array, order="C")


def save(path=FILE):
    """Write the state to a file, in one step; by default over the one it came from."""
    part = pathlib.Path(f"{path}.part")
    with part.open("wb") as file:
        np.savez(file, **arrays, **state)
    part.replace(path)


def load(path=FILE):
    """Read the state from a file that ``save`` wrote."""
    with np.load(path) as file:
        for name, array in state.items():
            array[...] = file[name]


# ------------------------------------------------------------------------------------------ kernels

FASTMATH = {"contract", "reassoc", "nsz", "arcp", "afn"}  # NaN and infinity are values


def kernel(function):
    """A compiled loop over memory: arrays of any shape are handed to it flat."""
    compiled = njit(cache=True, error_model="numpy", fastmath=FASTMATH)(function)

    @functools.wraps(function)
    def call(*operands):
        compiled(*(x.reshape(-1) if isinstance(x, np.ndarray) else x for x in operands))

    return call


@kernel
def add_le_where_loop(x0, x1, x2):
    """An iteration is a row.

    %2: float32[4, 8] = add(x0, x1)  # exportable.py:11
    %4: bool[4, 8] = le(%2, 0)  # exportable.py:11 in (Relu)
    x2 = %6: float32[4, 8] = where(%4, 0.0, %2)  # exportable.py:11 in (Relu)
    """
    scalar_0 = np.float32(0.0)
    scalar_1 = np.float32(0.0)
    for row in range(4):
        at0 = row * 8
        x0_0 = x0[at0:]
        x2_0 = x2[at0:]
        for j0 in range(8):
            load_0 = x0_0[j0]
            load_1 = x1[j0]
            add_0 = load_0 + load_1
            le_0 = add_0 <= scalar_0
            where_0 = scalar_1 if le_0 else add_0
            x2_0[j0] = where_0


# ---------------------------------------------------------------------------------------- the calls


def activated(x):
    """One call of activated: see the top of this file."""
    x = given("x", x, np.float32, (4, 8))
    bias = state["bias"]
    result = np.empty((4, 8), np.float32)
    result_2 = np.empty((4, 4), np.float32)

    # exportable.py:11: hidden = F.relu(x + bias)
    add_le_where_loop(x, bias, result)

    # exportable.py:12: return {"hidden": hidden, "gram": hidden @ x.t()}
    permute = x.transpose((1, 0))
    np.matmul(result, permute, out=result_2)
    return {"hidden": result, "gram": result_2}
