"""The compiler of the kernel language against numba and plain Python."""

from __future__ import annotations

import ast
import ctypes
import pathlib
import re

import numpy as np
import pytest
from graphgrad.kernels import cache, codegen, front, numba_front, recipes
from graphgrad.kernels.front.fixed import fixed_names
from graphgrad.kernels.layout import KERNEL_TYPE
from graphgrad.kernels.loader import link
from toys import SOURCE

from graphgrad.config import config

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"
SIZE = 100

# Everything index arithmetic and control flow can say, over signs that tell `//` from C's `/`.
WORDS = """
from graphgrad.kernels.abi import f64, i8, i32, i64, u8, u32
import numpy as np

STEP = 3


def both(x, y):
    if y == 0:
        return x, -1
    return x // y, x % y


def clipped(x):
    return x if -5 < x and x < 5 or x == 7 else -x


def words(args, start, stop, chunk):
    x, y, out = i64(args, 0), i64(args, 1), i64(args, 2)
    for i in range(start, stop):
        quotient, rest = both(x[i], y[i])
        total = 31 * quotient + rest
        total += min(x[i], y[i]) - max(x[i], 3) + ~x[i]
        total ^= (x[i] << 2 | 5) >> 1
        for j in range(0, y[i], STEP):
            if j == 6:
                continue
            if j > 8:
                break
            total = total * 3 + j
        while total > 1000 or total % 7 == 3:
            total -= 1 + abs_of(total) // 2
        out[i] = clipped(total)


def abs_of(x):
    return -x if x < 0 else x


def first_of(x, y):
    for i in range(5):
        power = x + i
        if power * power > y:
            found = power - i
            return found * 2
    return power


def places(args, start, stop, chunk):
    # Names assigned once or more, read before and after, in loops, branches and behind them.
    x, y, out = i64(args, 0), i64(args, 1), i64(args, 2)
    total, three = 0, 3
    for i in range(start, stop):
        if x[i] < 0:
            side, sign = -x[i], three
        else:
            side, sign = x[i], -1
        for j in range(3):
            before = total
            if before > j:
                within = before - j
                total = within // 2
            last = j
        later = 0
        while later < 4:
            step = later + last
            later = step + 1
        stop += 0
        total += first_of(side, y[i]) + sign * later
        out[i] = total


def narrow(args, start, stop, chunk):
    a, b, c, d = i8(args, 0), u8(args, 1), i32(args, 2), u32(args, 3)
    out, real = i64(args, 4), f64(args, 5)
    for i in range(start, stop):
        small = np.int8(a[i] * a[i] + c[i])
        wrapped = np.uint32(d[i] * d[i] - b[i])
        out[i] = small * 5 + wrapped + np.int32(c[i] << 3) + (b[i] != 0) + (not a[i])
        real[i] = np.float64(c[i]) / np.float64(np.int64(b[i]) + 1) + (a[i] / (c[i] | 1))
        c[i] = real[i]
        b[i] = np.uint8(a[i] > 0) if d[i] == 0 else np.uint8(b[i])
        d[i] = np.float32(real[i]).view(np.uint32)
"""


def run(text: str, name: str, arrays: list[np.ndarray], *numbers: int) -> list[np.ndarray]:
    """The arrays after the kernel `name`, given as LLVM's text, ran over them."""
    module = codegen.llvm.parse_assembly(text)
    codegen.optimise(module, name)
    code = link(name, codegen.object_code(module))
    return _call(KERNEL_TYPE(code[name]), arrays, *numbers)


def _call(kernel, arrays, *numbers):
    arrays = [x.copy() for x in arrays]
    table = (ctypes.c_int64 * 64)(*(x.ctypes.data for x in arrays), *numbers)
    kernel(table, 0, SIZE, 0)
    return arrays


def function_of(source: str, name: str):
    return recipes.from_source(name, source).function(f"<{name} {hash(source)}>")


@pytest.mark.parametrize("name", ["words", "places", "narrow"])
def test_the_language_means_what_python_and_numba_say(name):
    rng = np.random.default_rng(0)
    whole = [rng.integers(-12, 13, SIZE) for _ in range(3)]
    dtypes = ["i1", "u1", "i4", "u4", "i8", "f8"]
    mixed = [rng.integers(0, 100, SIZE).astype(t) for t in dtypes]
    arrays = mixed if name == "narrow" else whole
    function = function_of(WORDS, name)
    ours = run(front.translate(function, name), name, arrays)
    if name != "narrow":  # numba knows no plain functions; narrow wraps around: Python warns
        expected = _call(function, arrays)
    else:
        expected = run(numba_front.translate(function, name), name, arrays)
    for got, want in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_name_assigned_once_needs_no_memory():
    names = [x.name for x in ast.parse(WORDS).body if isinstance(x, ast.FunctionDef)]
    fixed = {
        name: fixed_names(next(x for x in ast.parse(WORDS).body if getattr(x, "name", "") == name))
        for name in names
    }
    assert fixed["clipped"] == {"x"} and fixed["first_of"] == {"x", "y", "i", "found"}
    assert {"x", "y", "out", "i", "j", "quotient", "rest"} <= fixed["words"]
    assert "total" not in fixed["words"]
    changing = {"total", "side", "sign", "later", "last", "stop"}
    assert fixed["places"].isdisjoint(changing)
    assert {"three", "start", "before", "within", "step"} <= fixed["places"]
    text = front.translate(function_of(WORDS, "words"), "words")
    assert text.count("alloca") < 12


@pytest.mark.parametrize("name", ["words", "places"])
def test_written_by_hand_means_the_same(name):
    arrays = [np.random.default_rng(1).integers(-12, 13, SIZE) for _ in range(3)]
    function = function_of(WORDS, name)
    module = codegen.kernel_module(function, name, by_hand=True)
    code = link(name, codegen.object_code(module))
    for got, want in zip(
        _call(KERNEL_TYPE(code[name]), arrays), _call(function, arrays), strict=True
    ):
        np.testing.assert_array_equal(got, want)


def _functions(path: pathlib.Path) -> list[tuple[str, str]]:
    parts = path.read_text().split('\n\n\n"""')
    sources = [parts[0], *('"""' + part for part in parts[1:])]
    return [(re.search(r"def (\w+)\(args", s).group(1), s) for s in sources]


def _is_kernels(path: pathlib.Path) -> bool:
    """Whether a golden file holds kernels for this processor."""
    return "(args, start, stop, chunk):" in path.read_text() and path.stem[:5] not in NOT_HERE


NOT_HERE = ("test_", "cuda_")
KERNELS = [
    *(pair for path in filter(_is_kernels, sorted(GOLDEN.glob("*.py")))
      for pair in _functions(path)),
    *((name, SOURCE) for name in ("axpy", "mix", "spread", "tick", "fail", "nothing")),
]  # fmt: skip


@pytest.mark.parametrize("name, source", KERNELS, ids=[name for name, _ in KERNELS])
def test_generated_kernels_are_in_the_language(name, source):
    """None of them needs numba, and both front ends lead LLVM to loops of the same width."""
    function = function_of(source, name)
    texts = front.translate(function, name), numba_front.translate(function, name)
    widths = []
    for text in texts:
        module = codegen.llvm.parse_assembly(text)
        codegen.optimise(module, name)
        found = re.findall(r"<(\d+) x (?:float|double|i64|i32)>", str(module))
        widths.append(max(map(int, found), default=1))
    assert widths[0] >= widths[1]


LOOP = """
from graphgrad.kernels.abi import f32
from graphgrad.kernels.vecmath import erf_f32, exp_f32
import numpy as np


def kernel(args, start, stop, chunk):
    x, y = f32(args, 0), f32(args, 1)
    least = np.int32(start)
    for i in range(args[2]):
        value = x[i]
        kept = value if least >= np.int32(i) else np.float32(0.0)
        y[i] = {}
"""


def test_positions_are_compared_as_wide_as_they_are():
    text = front.translate(function_of(LOOP.format("kept"), "kernel"), "kernel")
    assert re.search(r"icmp sge i32", text)


@pytest.mark.parametrize("value, asked", [("kept * kept", 0), ("erf_f32(kept) * exp_f32(kept)", 1)])
def test_long_bodies_are_interleaved(value, asked):
    """The chains of one iteration leave the processor idle; LLVM has to be asked."""
    text = front.translate(function_of(LOOP.format(value), "kernel"), "kernel")
    assert text.count("llvm.loop.interleave.count") == asked
    module = codegen.llvm.parse_assembly(text)
    codegen.optimise(module, "kernel")
    assert "x float>" in str(module)


def test_outside_of_the_language_numba_takes_over(tmp_path, monkeypatch):
    monkeypatch.setattr(config, "cache_dir", tmp_path)
    source = (
        "from graphgrad.kernels.abi import i64\n\n\ndef odd(args, start, stop, chunk):\n"
        "    x = i64(args, 0)\n    for i in (1, 2, 3):\n        x[i] = i * i\n"
    )
    with pytest.raises(front.Unsupported, match="line 6: a loop over something else"):
        front.translate(function_of(source, "odd"), "odd")
    x = np.zeros(SIZE, np.int64)
    kernel = KERNEL_TYPE(cache.load_kernel("odd", source).address)
    (after,) = _call(kernel, [x])
    assert after[:5].tolist() == [0, 1, 4, 9, 0]


@pytest.mark.parametrize(
    "line, message",
    [
        ("y = [1]", "line 2: .1."),
        ("y = args[0] if args[1] else 1.5", "a variable that is"),
        ("x, y = args[0], 1.5\n    z = x if args[1] else y", "a choice between int64 and float64"),
        ("y = 1\n    y = 1.5", "a variable that is"),
        ("for i in range(3, 0, -1):\n        pass", "goes down"),
        ("undefined(args)", "undefined is not defined"),
        ("y = args[0] + 1.5", "arithmetic of int64 and float64"),
    ],
)
def test_what_is_unsupported_is_named(line, message):
    source = f"def kernel(args, start, stop, chunk):\n    {line}\n"
    with pytest.raises(front.Unsupported, match=message):
        front.translate(function_of(source, "kernel"), "kernel")
