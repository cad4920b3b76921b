"""``save`` and ``load``: nested states of training in one safetensors file.

    gg.save({"model": model.state_dict(), "optimizer": opt.state_dict(), "epoch": 3}, "last.pt")
    model.load_state_dict(gg.load("last.pt")["model"])

Every tensor is an ordinary entry of the file, named by its path; what is around them is JSON in the
file's metadata. A flat dictionary of tensors is therefore what every safetensors reader expects,
and files of others can be loaded. A file appears whole or not at all.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import pathlib
import pickle
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import numpy as np

import graphgrad as gg
from graphgrad import arrayfile, dtypes
from graphgrad.device import device, located
from graphgrad.dtypes import DType
from graphgrad.tensor import Size, Tensor

_KEY = "graphgrad"
File = str | os.PathLike[str] | IO[bytes]


def save(
    obj: Any,
    f: File,
    pickle_module: Any = None,
    pickle_protocol: int | None = None,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Write ``obj`` (tensors, numbers, texts, in dicts, lists and tuples) to a path or open file.

    Other objects, a whole Module say, are pickled; such a file needs ``weights_only=False``.
    """
    writer = _Writer()
    metadata = {"format": "pt", _KEY: json.dumps(writer.encode(obj, ""))}
    if hasattr(f, "write"):
        arrayfile.write(f, writer.arrays, metadata)  # type: ignore[arg-type]
        return
    with _replacing(pathlib.Path(os.fspath(f))) as path, open(path, "wb") as file:  # type: ignore[arg-type]
        arrayfile.write(file, writer.arrays, metadata)


def load(
    f: File,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """What ``save`` wrote, or the dictionary of tensors in any safetensors file.

    map_location: where tensors go, instead of to the device they were saved from: a device, a
    mapping of devices, or a function of (tensor on the CPU, name of its device) that returns the
    tensor, moved or not (None: as saved). weights_only: False also unpickles objects that the file
    may hold, which can run any code: only for files you trust.
    """
    arrays, metadata = _read(f)
    placed = functools.partial(_located, map_location)
    if _KEY not in metadata:
        return {name: placed(_tensor(a, name), "cpu") for name, a in arrays.items()}
    reader = _Reader(arrays, weights_only is False, placed)
    return reader.decode(json.loads(metadata[_KEY]))


# ------------------------------------------------------------------------------------------ files


@contextlib.contextmanager
def _replacing(path: pathlib.Path) -> Iterator[str]:
    """A file beside ``path`` that takes its place if all went well."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes files for the owner only; a new file has what the user's mask allows.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _read(f: File) -> tuple[dict[str, Any], dict[str, str]]:
    """The arrays of a file and its metadata."""
    if hasattr(f, "read"):
        return arrayfile.read(f, getattr(f, "name", "the file"))  # type: ignore[arg-type]
    with open(os.fspath(f), "rb") as file:  # type: ignore[arg-type]
        return arrayfile.read(file, os.fspath(f))  # type: ignore[arg-type]


def _located(map_location: Any, t: Tensor, saved: str) -> Tensor:
    """A tensor where ``load`` was asked to put it."""
    if isinstance(map_location, Mapping):
        wanted = map_location.get(saved, map_location.get(device(saved), saved))
    elif callable(map_location) and not isinstance(map_location, device):
        result = map_location(t, saved)
        if isinstance(result, Tensor):
            return result
        wanted = saved
    else:
        wanted = saved if map_location is None else map_location
    if located(wanted).type == "cpu":
        return t
    try:
        return t.to(wanted)
    except RuntimeError as error:
        raise RuntimeError(
            f"the file holds a tensor of device {saved!r}, which cannot be put on {wanted}: "
            f"{error}\n  hint: load it with map_location='cpu'"
        ) from error


def _tensor(array: Any, name: str) -> Tensor:
    if array.dtype not in dtypes._BY_NUMPY:
        raise NotImplementedError(
            f"{name!r} is of type {array.dtype}, which graphgrad does not have: save it as float32"
        )
    return gg.from_numpy(array)


# ------------------------------------------------------------------------------ JSON and back again


class _Writer:
    """Turns an object into JSON, and gathers the arrays it speaks of by name."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        # A tensor met twice is written once in a nested state; the objects are kept alive.
        self.names: dict[int, tuple[Any, str]] = {}

    def encode(self, x: Any, path: str) -> Any:
        """``x`` as JSON: plain values as they are, the rest as {"kind": …}."""
        if x is None or isinstance(x, (bool, str)) or type(x) in (int, float):
            return x
        for kind, encode in _ENCODERS:
            if isinstance(x, kind):
                return encode(self, x, path)
        return {"pickle": self.store(np.frombuffer(pickle.dumps(x), np.uint8), path)}

    def mapping(self, name: str, x: Mapping[Any, Any], path: str) -> Any:
        """Keys and values, in order; keys that are texts or numbers name the tensors inside."""
        pairs = []
        for key, value in x.items():
            inner = f"{path}.{key}" if path else str(key)
            pairs.append([self.encode(key, f"{inner}.key"), self.encode(value, inner)])
        return {name: pairs}

    def items(self, name: str, x: Any, path: str) -> Any:
        return {name: [self.encode(value, f"{path}.{i}".strip(".")) for i, value in enumerate(x)]}

    def tensor(self, x: Tensor, path: str) -> Any:
        known = self.names.get(id(x))
        if known is None or "." not in path:
            array = x.detach().concrete("save()")
            complex_ = array.dtype.kind == "c"
            array = (
                np.ascontiguousarray(array)[..., None].view(array.real.dtype) if complex_ else array
            )
            known = self.names[id(x)] = (x, self.store(array, path or "tensor"))
        about: dict[str, Any] = {"tensor": known[1]}
        if x.dtype.is_complex:
            about["complex"] = True
        if type(x) is not Tensor:
            about["parameter"] = True
        if x.requires_grad:
            about["requires_grad"] = True
        if x.device.type != "cpu":
            about["device"] = str(x.device)
        return about

    def store(self, array: np.ndarray, path: str) -> str:
        """Keep an array under ``path``, or a name like it that is still free."""
        name, number = path or "value", 1
        while name in self.arrays:
            name, number = f"{path}~{number}", number + 1
        shape = array.shape
        self.arrays[name] = np.ascontiguousarray(array).reshape(shape)
        return name


def _text(of: Callable[[Any], Any], kind: str) -> Callable[[_Writer, Any, str], Any]:
    return lambda writer, x, path: {kind: of(x)}


# By type, most special first: how a value is written.
_ENCODERS: list[tuple[Any, Callable[[_Writer, Any, str], Any]]] = [
    (Tensor, _Writer.tensor),
    (np.ndarray, lambda writer, x, path: {"array": writer.store(x, path)}),
    (np.generic, lambda writer, x, path: {"number": writer.store(np.asarray(x), path)}),
    (DType, _text(lambda x: x.name, "dtype")),
    (device, _text(str, "device")),
    (Size, _text(list, "size")),
    (complex, _text(lambda x: [x.real, x.imag], "complex")),
    (bytes, _text(lambda x: base64.b64encode(x).decode(), "bytes")),
    (Counter, lambda writer, x, path: writer.mapping("counter", x, path)),
]
for _type, _name in ((OrderedDict, "ordered"), (dict, "dict")):
    _ENCODERS.append((_type, lambda w, x, path, _name=_name: w.mapping(_name, x, path)))
for _type, _name in ((list, "list"), (set, "set"), (frozenset, "frozenset")):
    _ENCODERS.append((_type, lambda w, x, path, _name=_name: w.items(_name, x, path)))


def _tuple(writer: _Writer, x: Any, path: str) -> Any:
    if type(x) is not tuple:
        return {"pickle": writer.store(np.frombuffer(pickle.dumps(x), np.uint8), path)}
    return writer.items("tuple", x, path)


_ENCODERS.append((tuple, _tuple))


class _Reader:
    """Builds the object that JSON describes."""

    def __init__(
        self, arrays: dict[str, Any], trusted: bool, placed: Callable[[Tensor, str], Tensor]
    ) -> None:
        self.arrays, self.trusted, self.placed = arrays, trusted, placed
        self.tensors: dict[str, Tensor] = {}

    def decode(self, x: Any) -> Any:
        """The value that JSON stands for."""
        if not isinstance(x, dict):
            return x
        kind = next(iter(x))
        if kind == "tensor":
            return self.tensor(x)
        value = x[kind]
        if kind in _MAPPINGS:
            return _MAPPINGS[kind]((self.decode(k), self.decode(v)) for k, v in value)
        if kind in _SEQUENCES:
            return _SEQUENCES[kind](self.decode(v) for v in value)
        if kind in ("array", "number"):
            return self.arrays[value] if kind == "array" else self.arrays[value][()]
        if kind == "pickle":
            return self.pickled(value)
        return _VALUES[kind](value)

    def tensor(self, about: dict[str, Any]) -> Tensor:
        name = about["tensor"]
        if name in self.tensors:
            return self.tensors[name]
        array = self.arrays[name]
        if about.get("complex"):
            array = array.view(np.result_type(array.dtype, np.complex64))[..., 0]
        t = self.placed(_tensor(array, name), about.get("device", "cpu"))
        if about.get("parameter"):
            t = gg.nn.Parameter(t, requires_grad=False)
        self.tensors[name] = t.requires_grad_() if about.get("requires_grad") else t
        return self.tensors[name]

    def pickled(self, name: str) -> Any:
        if not self.trusted:
            raise pickle.UnpicklingError(
                f"Weights only load failed: {name!r} is a pickled object, not a tensor or a plain "
                "value. Unpickling can run any code; if you trust the file, load it with "
                "weights_only=False. Files of state_dict() never need that"
            )
        return pickle.loads(self.arrays[name].tobytes())


_MAPPINGS: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "ordered": OrderedDict,
    "counter": lambda pairs: Counter(dict(pairs)),
}
_SEQUENCES: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}
_VALUES: dict[str, Callable[[Any], Any]] = {
    "dtype": lambda name: next(d for d in dtypes.ALL if d.name == name),
    "device": device,
    "size": Size,
    "complex": lambda parts: complex(*parts),
    "bytes": base64.b64decode,
}
