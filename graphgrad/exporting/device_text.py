"""The fixed parts of a file of launches."""

from __future__ import annotations

# What these parts, and lines written beside them, say themselves.
RESERVED = frozenset(
    "Array Device LaunchConfig ObjectCode arch calls check constants copy ctypes device driver "
    "errors f32 f64 graph host_of i32 i64 kernel launch move queue replayed run stream".split()
)

HEAD = '''
FILE = pathlib.Path(__file__).with_suffix(".npz")
with np.load(FILE) as file:
    arrays = dict(file)
device = Device(0)
device.set_current()
stream = device.default_stream
i32, i64, f32, f64 = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_double


def copy(target, source, nbytes):
    """Copy bytes, to and from the device or within it, after the work before."""
    (result,) = driver.cuMemcpyAsync(target, source, nbytes, stream.handle)
    if result != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(f"CUDA error: {result}")


class Array:
    """Numbers in the device's memory, one after the other."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.nbytes = self.dtype.itemsize * int(np.prod(shape))
        self.buffer = device.memory_resource.allocate(max(self.nbytes, 1), stream=stream)
        self.pointer = int(self.buffer.handle)

    @classmethod
    def of(cls, x):
        """A copy of a NumPy array."""
        array = cls(x.shape, x.dtype)
        array.fill(x)
        return array

    def fill(self, x):
        """Take the values of a NumPy array."""
        x = np.ascontiguousarray(x, self.dtype).reshape(self.shape)
        if self.nbytes:
            copy(self.pointer, x.ctypes.data, self.nbytes)
            stream.sync()

    def host(self):
        """A NumPy copy, once the work before is done."""
        x = np.empty(self.shape, self.dtype)
        if self.nbytes:
            copy(x.ctypes.data, self.pointer, self.nbytes)
            stream.sync()
        return x


def kept(name, x):
    """State lives on the device, but for the numbers that the host counts."""
    return x.copy() if name in ON_HOST else Array.of(x)


ON_HOST = HOST_NAMES
state = {
    name.removeprefix("state "): kept(name.removeprefix("state "), x)
    for name, x in arrays.items()
    if name.startswith("state ")
}
constants = [
    Array.of(arrays[f"constant {k}"]) for k in range(sum(n.startswith("constant ") for n in arrays))
]
grads = {}
# One block for all values on the way; those that never live at once share bytes.
arena = Array((BYTES,), np.uint8)
errors = Array.of(np.zeros((CELLS, 2), np.int64))
'''

FUNCTIONS = (
    '''
def kernel(name, entry, block):
    """A kernel of ``block`` threads a block, from the machine code for this device."""
    major, minor = device.compute_capability
    known = [key.removeprefix(f"{name} sm_") for key in arrays if key.startswith(f"{name} sm_")]
    fitting = [x for x in known if int(x[:-1]) == major and int(x[-1]) <= minor]
    if not fitting:
        raise RuntimeError(f"there is code for {known}, not for sm_{major}{minor}: export again")
    code = arrays[f"{name} sm_{max(fitting, key=int)}"].tobytes()
    loaded = ObjectCode.from_cubin(code, name=entry).get_kernel(entry)

    def put(queue, grid, *arguments):
        launch(queue, LaunchConfig(grid=grid, block=block), loaded, *arguments)

    return put
''',
    '''
def move(target, source):
    """Copy one Array into another."""
    copy(target.pointer, source.pointer, source.nbytes)
''',
    '''
def check(where):
    """Raise what a kernel noted: an index outside of its dimension."""
    noted = errors.host()[:, 0]
    if noted.any():
        errors.fill(np.zeros(errors.shape, np.int64))
        raise IndexError(f"index out of range ({where[int(noted.argmax())]})")
''',
    '''
def host_of(x):
    """State as NumPy's."""
    return x.host() if isinstance(x, Array) else x
''',
    '''
def save(path=FILE):
    """Write the state, and all else that this file reads, in one step."""
    part = pathlib.Path(f"{path}.part")
    now = {f"state {name}": host_of(x) for name, x in state.items()}
    with part.open("wb") as file:
        np.savez(file, **{**arrays, **now})
    part.replace(path)
''',
    '''
def load(path=FILE):
    """Read the state from a file that ``save`` wrote."""
    with np.load(path) as file:
        for name, x in state.items():
            if isinstance(x, Array):
                x.fill(file[f"state {name}"])
            else:
                x[...] = file[f"state {name}"]
''',
)

RUN = '''

replayed = []  # the CUDA graph of all calls, once they were launched one by one


def run():
    """Launch everything: kernel by kernel at first, then as one graph."""
    if not replayed:
        calls(stream)
        replayed.append(None)
        return
    if replayed[0] is None:
        builder = device.create_graph_builder()
        builder.begin_building("thread_local")
        calls(builder)
        replayed[0] = builder.end_building().complete()
    replayed[0].launch(stream)
'''
