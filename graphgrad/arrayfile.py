"""safetensors files: arrays by name, and texts about them.

    write(file, {"w": array}, {"format": "pt"})
    arrays, metadata = read(file, "model.safetensors")

The format is the safetensors package's business. Ours are the types it has no NumPy word for, and
what an error says of a file that is none.
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


def write(file: IO[bytes], arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Write C-contiguous arrays."""
    from safetensors.numpy import save

    file.write(save(dict(arrays), dict(metadata)))


def read(file: IO[bytes], name: Any) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays, each in memory of its own, and the metadata.

    RuntimeError names a file that is cut short or no safetensors file, NotImplementedError one of
    another format or with a type that NumPy has not.
    """
    from safetensors import SafetensorError, deserialize

    data = file.read()
    if data[8:9] != b"{":
        _fail_as_foreign(data[:4], name)
    try:
        rows = deserialize(data)
    except SafetensorError as error:
        raise RuntimeError(f"{name} is not a whole safetensors file: {error}") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {key: _array(key, row, name) for key, row in rows}, header.get("__metadata__", {})


def _array(key: str, row: Mapping[str, Any], name: Any) -> np.ndarray:
    if row["dtype"] not in _TYPES:
        raise NotImplementedError(
            f"{key!r} in {name} is of type {row['dtype']}, which graphgrad does not have: "
            "save it as float32"
        )
    # A bytearray is memory that may be written to; bytes are copied into one.
    return np.frombuffer(bytearray(row["data"]), _TYPES[row["dtype"]]).reshape(row["shape"])


def _fail_as_foreign(beginning: bytes, name: Any) -> NoReturn:
    if beginning == b"PK\x03\x04" or beginning[:1] == b"\x80":
        raise NotImplementedError(
            f"{name} was written by torch.save, whose pickles graphgrad does not read. Where torch "
            "is installed, convert it once: safetensors.torch.save_file(torch.load(path), new_path)"
            " for a state_dict of tensors, then graphgrad.load(new_path)"
        )
    raise RuntimeError(f"{name} is not a safetensors file: it begins with {beginning!r}")
