"""From Python into a Program in one call: `enter(context_address, arena_address, *buffers)`.

`enter` is a C function made by LLVM (the text below), so a call costs what a builtin costs. Each
argument after the first becomes a word of the context's bases: of an ndarray the address of its
data, of a float its 64 bits, of an int its value. Then `engine.execute` runs the context and its
result word is returned. `enter` lets other Python threads run meanwhile; `enter_briefly` does not,
which is better for programs that take less time than a change of threads.
"""

import ctypes
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import cache, loader
from . import layout as at
from .contract.host import ITEM_BYTES, host
from .recipes import from_template

METH_FASTCALL = 0x80

# In the objects of CPython: the type is word 1; a float's value and an ndarray's data are word 2.
SOURCE = """
declare i64 @PyLong_AsLongLong(ptr)
declare ptr @PyLong_FromLongLong(i64)
declare ptr @PyErr_Occurred()
declare ptr @PyErr_Format(ptr, ptr, ...)
declare ptr @PyEval_SaveThread()
declare void @PyEval_RestoreThread(ptr)
declare void @execute(ptr, i64, i64, i64)

@ndarray = external global i8
@PyFloat_Type = external global i8
@PyLong_Type = external global i8
@PyExc_TypeError = external global ptr
@message = private constant [82 x i8]
    c"value %zd for a program must be a plain numpy.ndarray, float or int, not this: %R\\00"

define ptr @{name}(ptr %self, ptr %values, i64 %count) {{
entry:
  %first = load ptr, ptr %values
  %where = call i64 @PyLong_AsLongLong(ptr %first)
  %context = inttoptr i64 %where to ptr
  %bases_word = getelementptr i64, ptr %context, i64 {BASES}
  %bases = load ptr, ptr %bases_word
  br label %next

next:
  %i = phi i64 [1, %entry], [%i_next, %bind]
  %more = icmp slt i64 %i, %count
  br i1 %more, label %look, label %run

look:
  %place = getelementptr ptr, ptr %values, i64 %i
  %value = load ptr, ptr %place
  %type_word = getelementptr i64, ptr %value, i64 1
  %type = load ptr, ptr %type_word
  %is_array = icmp eq ptr %type, @ndarray
  %is_float = icmp eq ptr %type, @PyFloat_Type
  %has_word = or i1 %is_array, %is_float
  br i1 %has_word, label %take_word, label %maybe_int

take_word:
  %content_word = getelementptr i64, ptr %value, i64 2
  %content = load i64, ptr %content_word
  br label %bind

maybe_int:
  %is_int = icmp eq ptr %type, @PyLong_Type
  br i1 %is_int, label %take_int, label %refuse

take_int:
  %int = call i64 @PyLong_AsLongLong(ptr %value)
  %suspect = icmp eq i64 %int, -1
  br i1 %suspect, label %check, label %bind

check:
  %error = call ptr @PyErr_Occurred()
  %fine = icmp eq ptr %error, null
  br i1 %fine, label %bind, label %fail

bind:
  %word = phi i64 [%content, %take_word], [%int, %take_int], [%int, %check]
  %base_number = sub i64 %i, 1
  %base = getelementptr i64, ptr %bases, i64 %base_number
  store i64 %word, ptr %base
  %i_next = add i64 %i, 1
  br label %next

run:
  {release}
  call void @execute(ptr %context, i64 0, i64 0, i64 0)
  {regain}
  %result_word = getelementptr i64, ptr %context, i64 {RESULT}
  %result = load i64, ptr %result_word
  %object = call ptr @PyLong_FromLongLong(i64 %result)
  ret ptr %object

refuse:
  %type_error = load ptr, ptr @PyExc_TypeError
  call ptr (ptr, ptr, ...) @PyErr_Format(ptr %type_error, ptr @message, i64 %i, ptr %value)
  br label %fail

fail:
  ret ptr null
}}
"""
RELEASE = "%thread = call ptr @PyEval_SaveThread()"
REGAIN = "call void @PyEval_RestoreThread(ptr %thread)"


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def _symbols() -> dict[str, int]:
    """Addresses of what SOURCE declares."""
    functions = ["PyLong_AsLongLong", "PyLong_FromLongLong", "PyErr_Occurred", "PyErr_Format"]
    functions += ["PyEval_SaveThread", "PyEval_RestoreThread"]
    api = {
        name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
        for name in functions
    }
    error = ctypes.addressof(ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyExc_TypeError"))
    types = {"ndarray": id(np.ndarray), "PyFloat_Type": id(float), "PyLong_Type": id(int)}
    return {**api, **types, "PyExc_TypeError": error}


def _compiled(name: str, release: str, regain: str) -> Callable[..., int]:
    execute = cache.load_template(f"{__package__}.engine:execute")
    _keep.append(execute)
    text = SOURCE.format(name=name, release=release, regain=regain, **vars(at))
    return builtin(name, text, {"execute": execute.address})


def builtin(name: str, text: str, symbols: Mapping[str, int] | None = None) -> Callable[..., int]:
    """What LLVM's text defines as ``name``, a C function of the kind METH_FASTCALL.

    ``symbols`` are addresses of what it declares, beside some of CPython's.
    """
    code = loader.link(name, cache.load_ir(name, text), {**_symbols(), **(symbols or {})})
    definition = _MethodDef(name.encode(), code[name], METH_FASTCALL, None)
    # For ever: when Python ends, the function looks at it, and may be the last to go.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(definition))
    create = ctypes.pythonapi.PyCFunction_NewEx
    create.restype, create.argtypes = ctypes.py_object, [ctypes.c_void_p] * 3
    function = create(ctypes.addressof(definition), None, None)
    _keep.append(code)
    return function


_keep: list[Any] = []


def _interpreted(where: int, *buffers) -> int:
    """The same in Python, to step through programs and kernels (`NUMBA_DISABLE_JIT=1`)."""
    from . import engine
    from .abi import words

    context = words(where)
    bases = words(context[at.BASES])
    for i, value in enumerate(buffers):
        bases[i] = _word(value)
    engine.execute(context, 0, 0, 0)
    return context[at.RESULT]


def _word(value: np.ndarray | float | int) -> int:
    if type(value) is np.ndarray:
        return value.ctypes.data
    if type(value) in (float, int):
        return int(np.array(value).view(np.int64))
    raise TypeError(
        f"a value for a program must be a plain numpy.ndarray, float or int, not {value!r}"
    )


@functools.cache
def prepare(products: tuple[str, ...]) -> None:
    """Have what every program needs compiled meanwhile, on a machine that runs its first one.

    ``products``: and, once the rest is done, what those need that multiply matrices of these
    dtypes: some for what another size may need, whole operands packed, parts of long sums added.
    """
    from .contract.kernels import engine_recipe
    from .contract.names import KernelName

    own = [from_template(f"{__package__}.engine:{name}") for name in ("work", "execute")]
    vector = [(dtype, host().lanes(dtype)) for dtype in products if dtype in ITEM_BYTES]
    names = [KernelName("reduce", *v) for v in vector]
    if vector:
        names += [KernelName("pack"), KernelName("macro")]
    cache.begin([*map(engine_recipe, names), *own])


@functools.cache
def enter() -> Callable[..., int]:
    """`enter(context_address, arena_address, *buffers) -> result`; lets other threads run."""
    if cache.interpreting():
        return _interpreted
    return _compiled("enter", RELEASE, REGAIN)


@functools.cache
def enter_briefly() -> Callable[..., int]:
    """The same without releasing the lock."""
    if cache.interpreting():
        return _interpreted
    return _compiled("enter_briefly", "", "")
