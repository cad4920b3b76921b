"""safetensors files: arrays by name, and texts about them, in the format of that name.

    write(file, {"w": array}, {"format": "pt"})
    arrays, metadata = read(file, "model.safetensors")

Eight bytes say how long the header is; the header is JSON, {name: {dtype, shape, data_offsets}} and
the texts as ``__metadata__``; the arrays' bytes follow, row-major and little-endian. Types are
NumPy's, and bfloat16 that of ml_dtypes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any, NoReturn

import ml_dtypes
import numpy as np

_TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "C64": np.complex64,
}
_NAMES = {np.dtype(kind): name for name, kind in _TYPES.items()}


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays; those of larger elements first, so that each is aligned."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    order = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    end = 0
    for name in order:
        array, begin = arrays[name], end
        end += array.nbytes
        offsets = [begin, end]
        kind = _NAMES[array.dtype]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        file.write(arrays[name].reshape(-1).view(np.uint8).data)


def read(file: IO[bytes], name: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, each in memory of its own, and the metadata.

    RuntimeError names a file that is cut short or no safetensors file, NotImplementedError one of
    another format or with a type that NumPy has not.
    """
    start = file.tell()
    size, beginning = int.from_bytes(file.read(8), "little"), file.read(1)
    if beginning != b"{":
        file.seek(start)
        _fail_as_foreign(file, name)
    try:
        header = json.loads(beginning + file.read(size - 1))
        metadata = header.pop("__metadata__", {})
        rows = sorted(header.items(), key=lambda row: row[1]["data_offsets"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _broken(name, error) from error
    return {key: _array(file, key, row, start + 8 + size, name) for key, row in rows}, metadata


def _array(file: IO[bytes], key: str, row: Mapping[str, Any], start: int, name: Any) -> np.ndarray:
    if row["dtype"] not in _TYPES:
        raise NotImplementedError(
            f"{key!r} in {name} is of type {row['dtype']}, which graphgrad does not have: "
            "save it as float32"
        )
    shape, (begin, end) = tuple(row["shape"]), row["data_offsets"]
    array = np.empty(shape, _TYPES[row["dtype"]])
    file.seek(start + begin)
    data = file.read(end - begin)
    if len(data) != array.nbytes:
        raise _broken(name, f"{key!r} needs {array.nbytes} bytes, and there are {len(data)}")
    array.reshape(-1).view(np.uint8)[...] = np.frombuffer(data, np.uint8)
    return array


def _broken(name: Any, why: object) -> RuntimeError:
    return RuntimeError(f"{name} is not a whole safetensors file: {why}")


def _fail_as_foreign(file: IO[bytes], name: Any) -> NoReturn:
    beginning = file.read(4)
    if beginning == b"PK\x03\x04" or beginning[:1] == b"\x80":
        raise NotImplementedError(
            f"{name} was written by torch.save, whose pickles graphgrad does not read. Where torch "
            "is installed, convert it once: safetensors.torch.save_file(torch.load(path), new_path)"
            " for a state_dict of tensors, then graphgrad.load(new_path)"
        )
    raise RuntimeError(f"{name} is not a safetensors file: it begins with {beginning!r}")
