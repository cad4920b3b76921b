"""Short-time Fourier transforms: the spectra of windows that slide along a signal, and back."""

from __future__ import annotations

from graphgrad.fft.transforms import TRANSFORMS
from graphgrad.tensor.core import FUNCTIONS, Tensor, both
from graphgrad.tensor.plan import apply
from graphgrad.tensor.state import state


def _window(name: str, window: Tensor | None, win_length: int, n_fft: int, like: Tensor) -> Tensor:
    """The window, centred in ``n_fft`` elements."""
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got {win_length}")
    if window is None:
        window = like.new_ones((win_length,))
    if window.ndim != 1 or window.shape[0] != win_length:
        raise RuntimeError(
            f"{name}: expected a 1D window tensor of size equal to win_length={win_length}, but "
            f"got window with size {list(window.shape)}"
        )
    left = (n_fft - win_length) // 2
    ends = [window.new_zeros((n,)) for n in (left, n_fft - win_length - left)]
    return FUNCTIONS["cat"]([ends[0], window, ends[1]]) if n_fft > win_length else window


@both
def stft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    pad_mode: str = "reflect",
    normalized: bool = False,
    onesided: bool | None = None,
    return_complex: bool | None = None,
    align_to_window: bool | None = None,
) -> Tensor:
    """[batch, frequencies, frames] of a signal [batch, time]; without ``return_complex`` as pairs.

    Frames start ``hop_length`` (n_fft // 4) apart; with ``center`` they are centred there.
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    is_complex = input.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if return_complex is None and not is_complex:
        raise RuntimeError("stft requires the return_complex parameter be given for real inputs")
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {input.ndim}D")
    x = input if input.ndim == 2 else input.unsqueeze(0)
    w = _window("stft", window, n_fft if win_length is None else win_length, n_fft, x)
    x = _centred(x, n_fft // 2, pad_mode) if center else x
    if not 0 < n_fft <= x.shape[-1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x.shape[-1]}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"stft: expected hop_length > 0, but got hop_length={hop}")
    if onesided is None:
        onesided = not is_complex
    if onesided and is_complex:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    frames = x.unfold(-1, n_fft, hop) * w
    norm = "ortho" if normalized else None
    out = TRANSFORMS["rfft" if onesided else "fft"](frames, norm=norm).transpose(-1, -2)
    out = out if input.ndim == 2 else out.squeeze(0)
    return out if return_complex is not False else FUNCTIONS["view_as_real"](out)


def _centred(x: Tensor, width: int, mode: str) -> Tensor:
    from graphgrad.functional.padding import pad

    return pad(x.unsqueeze(0), (width, width), mode=mode).squeeze(0)


@both
def istft(
    input: Tensor,
    n_fft: int,
    hop_length: int | None = None,
    win_length: int | None = None,
    window: Tensor | None = None,
    center: bool = True,
    normalized: bool = False,
    onesided: bool | None = None,
    length: int | None = None,
    return_complex: bool = False,
) -> Tensor:
    """The signal of ``stft``: frames added where they overlap, over the sum of squared windows."""
    if not input.dtype.is_complex:
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output of stft"
        )
    if input.ndim not in (2, 3) or not input.numel():
        raise RuntimeError(
            "istft: expected a non-empty tensor with 2 or 3 dimensions, but got "
            f"{list(input.shape)}"
        )
    hop = n_fft // 4 if hop_length is None else hop_length
    x = input if input.ndim == 3 else input.unsqueeze(0)
    frequencies = x.shape[-2]
    if onesided is None:
        onesided = frequencies != n_fft
    if frequencies != (n_fft // 2 + 1 if onesided else n_fft):
        raise RuntimeError(
            f"istft: expected the frequency dimension (2nd to the last) of the input tensor to "
            f"match n_fft ({n_fft}) when onesided={onesided}, but got {frequencies}"
        )
    width = n_fft if win_length is None else win_length
    if not 0 < hop <= width:
        raise RuntimeError(f"istft: expected 0 < hop_length <= win_length, but got {hop}")
    if return_complex and onesided:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    w = _window("istft", window, width, n_fft, x if return_complex else x.real)
    norm = "ortho" if normalized else None
    # A real signal is told by half its frequencies, whatever the others are.
    frames = x.transpose(-1, -2)
    frames = TRANSFORMS["ifft" if return_complex else "irfft"](frames, n_fft, -1, norm)
    count = frames.shape[-2]
    signal = _overlapped(frames * w, hop)
    weights = _overlapped((w * w).expand(1, count, n_fft), hop)
    start = n_fft // 2 if center else 0
    stop = signal.shape[-1] - start if length is None else min(start + length, signal.shape[-1])
    stop = stop if center or length is not None else signal.shape[-1]
    signal, weights = signal[..., start:stop], weights[..., start:stop]
    if state.trace is None and bool((weights.detach().abs() < 1e-11).any()):
        raise RuntimeError("window overlap add min: 1: some samples are covered by no window")
    out = signal / weights
    if length is not None and out.shape[-1] < length:
        short = (out.shape[0], length - out.shape[-1])
        out = FUNCTIONS["cat"]([out, out.new_zeros(short)], -1)
    return out if input.ndim == 3 else out.squeeze(0)


def _overlapped(frames: Tensor, hop: int) -> Tensor:
    """[batch, frames, n] → [batch, time], each frame ``hop`` after the last, added up."""
    count, n = frames.shape[-2:]
    return apply(
        "window_sum",
        frames,
        axes=(1,),
        size=(n,),
        stride=(hop,),
        dilation=(1,),
        extent=((count - 1) * hop + n,),
    )
