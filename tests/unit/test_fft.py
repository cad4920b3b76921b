"""Fourier transforms against PyTorch: values, gradients of any order, errors."""

from __future__ import annotations

import numpy as np
import pytest

import graphgrad as gg

pytestmark = pytest.mark.devices

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
NAMES = [f"{kind}{n}" for kind in "fft ifft rfft irfft hfft ihfft".split() for n in ("", "2", "n")]
REAL_ONLY = ("rfft", "ihfft")


def _input(name, dtype, shape=(3, 4, 5)):
    x = RNG.normal(size=shape).astype(dtype)
    if name.startswith(REAL_ONLY):
        return x
    return (x + 1j * RNG.normal(size=shape)).astype(np.result_type(dtype, np.complex64))


def _orders(t, f, x):
    a = t.tensor(x, requires_grad=True)
    out = f(t, a)
    weight = t.tensor(np.cos(np.arange(out.numel())).reshape(tuple(out.shape)))
    loss = (out.abs() ** 3 * weight.to(out.abs().dtype)).sum()
    (first,) = t.autograd.grad(loss, [a], create_graph=True)
    (second,) = t.autograd.grad((first.abs() ** 2).sum(), [a])
    return [y.detach().resolve_conj().numpy() for y in (out, first, second)]


def _compare(f, x, tolerance=1e-9):
    for got, wanted in zip(_orders(gg, f, x), _orders(torch, f, x), strict=True):
        assert got.dtype == wanted.dtype and got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * abs(wanted).max())


@pytest.mark.parametrize("norm", [None, "forward", "ortho"])
@pytest.mark.parametrize("name", NAMES)
def test_every_transform(name, norm):
    _compare(lambda t, a: getattr(t.fft, name)(a, norm=norm), _input(name, "float64"))


@pytest.mark.parametrize("name", NAMES)
def test_cut_and_padded(name):
    size = 7 if name[-1] not in "2n" else (2, 6)
    dim = 1 if isinstance(size, int) else (2, 0)
    _compare(lambda t, a: getattr(t.fft, name)(a, size, dim), _input(name, "float64"))


@pytest.mark.parametrize("name", ["fft", "irfft2", "ihfft"])
def test_float32_and_real_input(name):
    x = RNG.normal(size=(3, 4)).astype(np.float32)
    _compare(lambda t, a: getattr(t.fft, name)(a), x, 1e-4)


def test_integers_become_floats():
    assert gg.fft.fft(gg.arange(4)).dtype is gg.complex64


def test_helpers():
    x = RNG.normal(size=(4, 5))
    for dim in (None, 0, (0, 1)):
        for name in ("fftshift", "ifftshift"):
            got, wanted = (getattr(t.fft, name)(t.tensor(x), dim) for t in (gg, torch))
            np.testing.assert_array_equal(got.numpy(), wanted.numpy())
    for n in (5, 6):
        for name in ("fftfreq", "rfftfreq"):
            got, wanted = (getattr(t.fft, name)(n, 0.5) for t in (gg, torch))
            np.testing.assert_allclose(got.numpy(), wanted.numpy())


@pytest.mark.parametrize(
    "options",
    [
        {"n_fft": 8},
        {"n_fft": 8, "hop_length": 3, "center": False, "normalized": True},
        {"n_fft": 9, "onesided": False, "pad_mode": "constant"},
    ],
    ids=str,
)
def test_spectrograms(options):
    x = RNG.normal(size=(2, 40))
    _compare(lambda t, a: t.stft(a, **options, return_complex=True), x)


@pytest.mark.parametrize("length", [None, 30, 60])
def test_a_spectrogram_and_back(length):
    x = RNG.normal(size=(2, 41))

    def there_and_back(t, a):
        window = t.hann_window(16, dtype=a.dtype) + 0.1
        options = {"hop_length": 5, "window": window}
        z = t.stft(a, 16, **options, return_complex=True)
        return t.istft(z * 2, 16, **options, length=length)

    _compare(there_and_back, x)


WRONG = {
    "twice": lambda t, x: t.fft.fft2(x, dim=(0, 0)),
    "nothing": lambda t, x: t.fft.fft(x, n=0),
    "too many": lambda t, x: t.fft.fftn(x, s=(2, 3, 4)),
    "norm": lambda t, x: t.fft.fft(x, norm="x"),
    "complex": lambda t, x: t.fft.rfft(x + 1j),
    "number": lambda t, x: t.fft.fft(x.sum()),
    "lengths": lambda t, x: t.fft.fftn(x, s=(2,), dim=(0, 1)),
    "half": lambda t, x: t.fft.fft(x.half()),
    "no axis": lambda t, x: t.fft.rfftn(x, dim=()),
    "stft": lambda t, x: t.stft(x[0], 4),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors_are_of_torchs_type(name):
    x = RNG.normal(size=(4, 5))
    kinds = []
    for t in (torch, gg):
        with pytest.raises((RuntimeError, IndexError)) as caught:
            WRONG[name](t, t.tensor(x))
        kinds.append(IndexError if caught.errisinstance(IndexError) else RuntimeError)
    assert kinds[0] is kinds[1]


def test_compiled_as_written():
    """A layer that filters in the frequency domain: complex weights, real signals."""
    x = gg.tensor(RNG.normal(size=(3, 16)).astype(np.float32))
    w = gg.tensor(_input("fft", "float32", (9,)), requires_grad=True)

    def gradient(x, w):
        y = gg.fft.irfft(gg.fft.rfft(x) * w, n=16)
        return gg.autograd.grad(y.tanh().square().sum(), [w])[0]

    np.testing.assert_allclose(
        gg.compile(gradient)(x, w).numpy(), gradient(x, w).numpy(), rtol=1e-4, atol=1e-5
    )


def _operator_net(t):
    """A layer of a Fourier neural operator, in plain PyTorch: weights for the low frequencies."""
    nn = t.nn

    class Spectral(nn.Module):
        def __init__(self, width, modes):
            super().__init__()
            shape = (width, width, modes, modes)
            self.modes, self.width = modes, width
            self.weights = nn.Parameter(t.rand(*shape, dtype=t.cfloat) / width**2)

        def forward(self, x):
            m = self.modes
            spectrum = t.fft.rfft2(x)
            out = t.zeros(*spectrum.shape, dtype=t.cfloat)
            low = spectrum[:, :, :m, :m]
            out[:, :, :m, :m] = t.einsum("bixy,ioxy->boxy", low, self.weights)
            return t.fft.irfft2(out, s=x.shape[-2:])

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lift, self.spectral = nn.Conv2d(1, 4, 1), Spectral(4, 3)
            self.skip, self.head = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 1, 1)

        def forward(self, x):
            x = self.lift(x)
            return self.head((self.spectral(x) + self.skip(x)).tanh())

    return Net()


def test_a_fourier_neural_operator_trains_as_in_torch():
    x = RNG.normal(size=(2, 1, 8, 8)).astype(np.float32)
    reference = _operator_net(torch)
    start = {k: v.detach().clone().numpy() for k, v in reference.state_dict().items()}

    def losses(t, net, compiled=False):
        optimizer, signal = t.optim.Adam(net.parameters(), lr=1e-2), t.tensor(x)

        def step(signal):
            optimizer.zero_grad()
            loss = (net(signal) - signal**2).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        step = gg.compile(step) if compiled else step
        return [step(signal).item() for _ in range(4)]

    wanted = losses(torch, reference)
    for compiled in (False, True):
        net = _operator_net(gg)
        net.load_state_dict({k: gg.tensor(v) for k, v in start.items()})
        np.testing.assert_allclose(losses(gg, net, compiled), wanted, rtol=1e-4)
