"""Elementwise functions against wider arithmetic: every 61st float32, all of them when slow."""

import math
import re
import timeit
from concurrent.futures import ThreadPoolExecutor

import llvmlite.binding as llvm
import numba
import numpy as np
import pytest
from graphgrad.kernels import abi, codegen, numba_front, vecmath
from graphgrad.kernels.layout import FASTMATH
from graphgrad.kernels.vecmath.table import FLOAT_FUNCTIONS, FLOATS, INTEGERS, ROWS

from graphgrad.philox import philox2x32_numpy

assert numba_front  # tells numba what the functions are
jit = numba.njit(error_model="numpy", nogil=True)
fast = numba.njit(error_model="numpy", nogil=True, fastmath=set(FASTMATH))

STRIDE, CHUNK = 61, 1 << 14
APPROXIMATE = [op for op, row in FLOAT_FUNCTIONS.items() if row.arity == 1 and any(row.ulps)]
EXACT = [op for op, row in FLOAT_FUNCTIONS.items() if row.arity == 1 and not any(row.ulps)]
# Functions of the C library, or loops: right, but one element at a time.
SCALAR = {(op, "float64") for op in ("fmod", "remainder", "floor_div")}


def applied(op, dtype):
    """A jitted loop out[i] = op(x[i], …), compiled as kernels are."""
    function = getattr(vecmath, vecmath.SCALAR_FUNCTIONS[op, dtype])

    @fast
    def unary(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    @fast
    def binary(x, y, out):
        for i in range(x.size):
            out[i] = function(x[i], y[i])

    return {1: unary, 2: binary}[ROWS[op, dtype].arity]


def result(op, *operands):
    """op of arrays of one dtype, as an array."""
    dtype = operands[0].dtype.name
    operands = [np.ascontiguousarray(x) for x in np.broadcast_arrays(*operands)]
    out = np.empty(operands[0].shape, ROWS[op, dtype].result or dtype)
    applied(op, dtype)(*(x.ravel() for x in operands), out.reshape(-1))
    return out


def edges(dtype):
    """Zeros, subnormals, thresholds, infinities and NaN, of both signs."""
    info = np.finfo(dtype)
    positive = [0, info.smallest_subnormal, info.tiny / 3, info.tiny, info.eps, 1e-20, 0.5, 0.75, 1]
    positive += [1.5, 2, 2.5, 3, 88.5, 88.72, 88.73, 89.2, 103.9, 104.1, 709.7, 709.79, 710.4]
    positive += [745.1, 745.2, 1e9, 2.0**24, 2.0**53, info.max, np.inf, np.nan]
    return np.array([*positive, *(-x for x in positive)], dtype)


def samples(dtype, count=20_000, seed=0):
    """Random bits, random numbers at several scales, and the edges."""
    random = np.random.default_rng(seed)
    size = np.dtype(dtype).itemsize
    bits = random.integers(0, 256, (count, size), np.uint8).view(dtype).ravel()
    scales = [random.uniform(-s, s, count).astype(dtype) for s in (1, 10, 100, 800)]
    small = random.normal(size=count) * np.exp(random.uniform(-30, 5, count))
    return np.concatenate([bits, *scales, small.astype(dtype), edges(dtype)])


# ---- float32, exhaustively: the reference is the C library in float64


@jit
def float32_ulps(got, want):
    """|got - want| in float32 ulps of `want`; inf where only one is NaN, or infinite."""
    if want != want or got != got:
        return 0.0 if want != want and got != got else math.inf
    limit = 2.0**128
    want, got = max(-limit, min(limit, want)), max(-limit, min(limit, float(got)))
    exponent = max(math.frexp(want)[1] - 1, -126) if want != 0 else -126
    return abs(got - want) * 2.0 ** (23 - min(exponent, 127))


IN_FLOAT64 = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "exp2": lambda x: math.exp2(x),
    "log2": lambda x: math.log2(x),
    "erf": lambda x: math.erf(x),
    "erfc": lambda x: math.erfc(x),
}
NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"}
NUMPY_NAMES |= {"asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "pow": "power"}


def in_float64(op):
    """The float64 function `op`, jitted."""
    function = getattr(np, NUMPY_NAMES.get(op, op), None)
    return jit(IN_FLOAT64.get(op) or (lambda x: function(x)))


def sweep(op, stride, parts=2):
    """(largest error in ulps, its argument) over the float32 whose bits are multiples of stride."""
    reference, kernel = in_float64(op), applied(op, "float32")

    @jit
    def worst_of(begin, end):
        worst, where = 0.0, np.float32(0)
        bits, out = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.float32)
        for start in range(begin, end, CHUNK * stride):
            count = min(CHUNK, (end - start + stride - 1) // stride)
            for i in range(count):
                bits[i] = start + i * stride
            x = bits.view(np.float32)
            kernel(x[:count], out[:count])
            for i in range(count):
                off = float32_ulps(out[i], reference(np.float64(x[i])))
                if off > worst:
                    worst, where = off, x[i]
        return worst, where

    total = -(-(1 << 32) // stride)
    bounds = [stride * (total * k // parts) for k in range(parts)] + [1 << 32]
    worst_of(0, 1)
    with ThreadPoolExecutor(parts) as pool:
        return max(pool.map(worst_of, bounds, bounds[1:]))


@pytest.mark.parametrize("op", APPROXIMATE)
def test_every_61st_float32(op):
    worst, where = sweep(op, STRIDE)
    assert worst <= vecmath.ULP[op, "float32"], f"{worst} ulps at {where!r}"


@pytest.mark.slow
@pytest.mark.parametrize("op", APPROXIMATE)
def test_every_float32(op):
    worst, where = sweep(op, 1)
    assert worst <= vecmath.ULP[op, "float32"], f"{worst} ulps at {where!r}"


# ---- both dtypes, sampled: the reference is long double, where it is wider than float64

WIDE = np.longdouble
PI = WIDE("3.14159265358979323846264338327950288")
needs_long_double = pytest.mark.skipif(
    np.finfo(WIDE).nmant <= 52, reason="long double is no wider than float64 here"
)


def wide_erf(x):
    """Abramowitz and Stegun 7.1.6 up to |x| = 7, where erf is 1."""
    a = np.minimum(np.abs(x), 7)
    term = total = a
    for n in range(1, 300):
        term = term * (2 * a * a) / (2 * n + 1)
        total = total + term
    return np.copysign(2 / np.sqrt(PI) * np.exp(-a * a) * total, x)


def wide_erfc(x):
    """1 - erf(x) below 1.8, Abramowitz and Stegun 7.1.14 above."""
    a = np.minimum(np.maximum(x, WIDE(1.8)), 30)
    fraction = a
    for n in range(300, 0, -1):
        fraction = a + (n / WIDE(2)) / fraction
    return np.where(x < 1.8, 1 - wide_erf(x), np.exp(-a * a) / (np.sqrt(PI) * fraction))


IN_LONG_DOUBLE = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "erf": wide_erf,
    "erfc": wide_erfc,
}


def ulps(got, want):
    """|got - want| in ulps of got's dtype; inf where the two are not of one kind."""
    info = np.finfo(got.dtype)
    finite = np.isfinite(want) & (want != 0)
    exponent = np.where(finite, np.frexp(np.where(finite, want, 1))[1] - 1, info.minexp)
    unit = np.ldexp(WIDE(1), np.clip(exponent, info.minexp, info.maxexp - 1) - info.nmant)
    rounded = want.astype(got.dtype)
    both_finite = np.isfinite(rounded) & np.isfinite(got)
    same = (rounded == got) | (np.isnan(rounded) & np.isnan(got))
    return np.where(both_finite, np.abs(got - want) / unit, np.where(same, 0, np.inf))


@needs_long_double
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("op", APPROXIMATE)
def test_float64_samples(op):
    x = samples("float64", 4_000 if op.startswith("erf") else 20_000)
    function = IN_LONG_DOUBLE.get(op) or getattr(np, NUMPY_NAMES.get(op, op))
    errors = ulps(result(op, x), function(x.astype(WIDE)))
    worst = np.argmax(errors)
    assert errors[worst] <= vecmath.ULP[op, "float64"], f"{errors[worst]} ulps at {x[worst]!r}"


@needs_long_double
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["pow", "atan2"])
def test_functions_of_two_floats(op, dtype):
    random = np.random.default_rng(3)
    x, y = samples(dtype, seed=1), random.permutation(samples(dtype, seed=2))
    if op == "pow":
        # Most random pairs overflow: these do not.
        base = np.abs(x)
        power = (random.uniform(-1, 1, x.size) * 700 / np.abs(np.log(base))).astype(dtype)
        x, y = np.concatenate([x, base]), np.concatenate([y, power])
    corners = np.meshgrid(edges(dtype), edges(dtype))
    x, y = (np.concatenate([v, corner.ravel()]) for v, corner in zip((x, y), corners, strict=True))
    got = result(op, x, y)
    want = getattr(np, NUMPY_NAMES[op])(x.astype(WIDE), y.astype(WIDE))
    errors = ulps(got, want)
    worst = np.argmax(errors)
    assert errors[worst] <= vecmath.ULP[op, dtype], f"{errors[worst]} at {x[worst]!r}, {y[worst]!r}"
    signed = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(want[signed]))


def test_sine_of_arguments_that_are_nearly_multiples_of_pi():
    x = np.float64(6381956970095103.0) * 2.0**797  # the float64 nearest to a multiple of π/2
    cosine = result("cos", np.array([x]))[0]
    assert abs(cosine / -4.68716592425462761112e-19 - 1) < 1e-12


# ---- edges and exact functions: the reference is NumPy in the same dtype


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", EXACT)
def test_exact_functions(op, dtype):
    x = samples(dtype)
    np.testing.assert_array_equal(result(op, x), ROWS[op, dtype].plain(x))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", ["maximum", "minimum", "copysign", "fmod", "remainder", "floor_div"])
def test_exact_functions_of_two_floats(op, dtype):
    x, y = samples(dtype, seed=1), np.random.default_rng(0).permutation(samples(dtype, seed=2))
    corners = np.meshgrid(edges(dtype), edges(dtype))
    x, y = (np.concatenate([v, corner.ravel()]) for v, corner in zip((x, y), corners, strict=True))
    np.testing.assert_array_equal(result(op, x, y), ROWS[op, dtype].plain(x, y))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "op", "expm1 log1p tanh sinh asinh atanh erf sin tan asin atan neg floor trunc round".split()
)
def test_zeros_keep_their_sign(op, dtype):
    x = np.array([0.0, -0.0], dtype)
    expected = np.signbit(x) ^ (op == "neg")
    np.testing.assert_array_equal(np.signbit(result(op, x)), expected)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op, x", [("exp", -np.inf), ("exp2", -np.inf), ("sigmoid", -1e4)])
def test_vanishing_costs_no_more(op, x, dtype):
    """A product that rounds to 0 takes some processors a hundred cycles: none is computed."""
    function = applied(op, dtype)

    def seconds(x):
        operand, out = np.full(1 << 14, x, dtype), np.empty(1 << 14, dtype)
        function(operand, out)
        return min(timeit.repeat(lambda: function(operand, out), number=10, repeat=7)), out

    (slow, zeros), (usual, _) = seconds(x), seconds(-1.0)
    assert not zeros.any()
    assert slow < 3 * usual


# ---- integers


def integer_samples(dtype):
    info = np.iinfo(dtype)
    if info.bits == 8:
        return np.meshgrid(*[np.arange(info.min, info.max + 1).astype(dtype)] * 2)
    random = np.random.default_rng(0)
    special = [0, 1, 2, 3, 7, info.max, info.max - 1, info.min, info.min + 1, info.max // 2]
    special = np.array(special, dtype)
    x = random.integers(info.min, info.max, 10_000, dtype, endpoint=True)
    y = x[::-1] >> random.integers(0, info.bits, x.size).astype(dtype)
    corners = np.meshgrid(np.concatenate([special, -special]), np.concatenate([special, -special]))
    return [np.concatenate([v, c.ravel()]) for v, c in zip((x, y), corners, strict=True)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(
    "op", ["neg", "abs", "sign", "maximum", "minimum", "floor_div", "remainder", "fmod"]
)
def test_integers(op, dtype):
    operands = integer_samples(dtype)[: ROWS[op, dtype].arity]
    np.testing.assert_array_equal(result(op, *operands), ROWS[op, dtype].plain(*operands))


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integer_powers(dtype):
    bases = np.array([0, 1, 2, 3, 7, 100, *([-1, -2, -3] if dtype[0] == "i" else [])], dtype)
    x, y = np.meshgrid(bases, np.arange(65).astype(dtype))
    np.testing.assert_array_equal(result("pow", x, y), np.power(x, y))
    if dtype[0] == "i":
        negative = result("pow", x, (-1 - y).astype(dtype))
        unit = np.where((x == -1) & (y % 2 == 0), -1, 1)
        np.testing.assert_array_equal(negative, np.where(np.abs(x) == 1, unit, 0))


# ---- random words


@pytest.mark.parametrize(
    ("operands", "words"),
    [
        ((0, 0, 0), (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF,) * 3, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E), (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_philox_known_answers(operands, words):
    assert tuple(map(int, philox2x32_numpy(*operands))) == words


def test_philox_is_the_same_in_kernels():
    philox2x32 = vecmath.philox2x32

    @fast
    def fill(counters, high, key, first, second):
        for i in range(counters.size):
            first[i], second[i] = philox2x32(counters[i], high, key)

    counters = np.arange(2**32 - 1000, 2**32 + 1000, dtype=np.uint64).astype(np.uint32)
    first, second = np.empty_like(counters), np.empty_like(counters)
    fill(counters, np.uint32(7), np.uint32(0xDEADBEEF), first, second)
    want = philox2x32_numpy(counters, 7, 0xDEADBEEF)
    np.testing.assert_array_equal([first, second], want)
    np.testing.assert_array_equal(philox2x32(counters[5], 7, 0xDEADBEEF), [first[5], second[5]])


# ---- names and code


def kernel_assembly(name, dtype, arity):
    """The assembly of the kernel z[i] = name(x[i], …)."""
    function, pointer = getattr(vecmath, name), abi.POINTERS[dtype]
    result_pointer = abi.u8 if name.startswith("is") else pointer

    def unary(args, start, stop, chunk):
        x, z = pointer(args, 0), result_pointer(args, 1)
        for i in range(start, stop):
            z[i] = function(x[i])

    def binary(args, start, stop, chunk):
        x, y, z = pointer(args, 0), pointer(args, 1), result_pointer(args, 2)
        for i in range(start, stop):
            z[i] = function(x[i], y[i])

    return codegen.assembly(codegen.kernel_module({1: unary, 2: binary}[arity], "kernel"))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", FLOAT_FUNCTIONS)
def test_float_functions_vectorise(op, dtype):
    features = llvm.get_host_cpu_features()
    if not features.get("avx2"):
        pytest.skip("the register names looked for are AVX's")
    if (op, dtype) in SCALAR:
        pytest.skip("computed by the C library")
    code = kernel_assembly(f"{op}_{dtype.replace('loat', '')}", dtype, ROWS[op, dtype].arity)
    assert re.search("%zmm" if features.get("avx512f") else "%ymm", code)
    assert "call" not in code


def test_every_name_is_a_function():
    for name in vecmath.SCALAR_FUNCTIONS.values():
        assert getattr(vecmath, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'exp_f16'"):
        _ = vecmath.exp_f16


@pytest.mark.parametrize("op", FLOAT_FUNCTIONS)
def test_plain_python_computes_the_same(op):
    operands = [np.array([1.0], np.float32)] * ROWS[op, "float32"].arity
    plain = getattr(vecmath, f"{op}_f32")(*(x[0] for x in operands))
    np.testing.assert_allclose(plain, result(op, *operands)[0], 1e-6)


# ---- 16-bit floats -------------------------------------------------------------------------------


def _each(function, x, out):
    @fast
    def loop(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    loop(x, out)


def test_float16_from_bits_is_numpys_and_back():
    bits = np.arange(1 << 16, dtype=np.uint16).view(np.int16)
    wide = np.empty(bits.size, np.float32)
    _each(vecmath.from_f16, bits, wide)
    wanted = bits.view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(wide, wanted)
    np.testing.assert_array_equal(np.signbit(wide), np.signbit(wanted))
    back = np.empty(bits.size, np.int16)
    _each(vecmath.to_f16, wide, back)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(back[number], bits[number])
    assert np.isnan(back.view(np.float16)[~number]).all()


def test_float16_is_rounded_as_numpy_does():
    bits = np.arange(0, 1 << 32, 4099, dtype=np.uint32)
    near = np.float16(np.arange(1 << 16, dtype=np.uint16).view(np.float16)).astype(np.float32)
    with np.errstate(all="ignore"):
        ties = (near[:-1] + near[1:]) / 2  # halfway between neighbours, and the ends
    x = np.concatenate([bits.view(np.float32), ties, np.nextafter(ties, np.float32(np.inf))])
    out = np.empty(x.size, np.int16)
    _each(vecmath.to_f16, x, out)
    with np.errstate(all="ignore"):
        wanted = x.astype(np.float16)
    number = ~np.isnan(x)
    np.testing.assert_array_equal(out[number], wanted[number].view(np.int16))
    assert np.isnan(out.view(np.float16)[~number]).all()


def test_bfloat16_is_rounded_as_ml_dtypes_does():
    kind = pytest.importorskip("ml_dtypes").bfloat16
    bits = np.arange(0, 1 << 32, 4099, dtype=np.uint32)
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    x = np.concatenate([bits, high, high | 0x8000, high | 0x7FFF]).view(np.float32)
    out, wide = np.empty(x.size, np.int16), np.empty(x.size, np.float32)
    _each(vecmath.to_bf16, x, out)
    number = ~np.isnan(x)
    with np.errstate(all="ignore"):
        wanted = x.astype(kind)
    np.testing.assert_array_equal(out[number], wanted[number].view(np.int16))
    _each(vecmath.from_bf16, out, wide)
    np.testing.assert_array_equal(wide[number], wanted[number].astype(np.float32))
    assert np.isnan(wide[~number]).all()
