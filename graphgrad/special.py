"""Special functions by their names in ``torch.special``."""

from graphgrad.functional import log_softmax, softmax
from graphgrad.nearest import names_of
from graphgrad.tensor import FUNCTIONS as _F
from graphgrad.tensor.bessel import i0, i0e, i1, i1e
from graphgrad.tensor.cylinder import (
    bessel_j0,
    bessel_j1,
    bessel_y0,
    bessel_y1,
    modified_bessel_k0,
    modified_bessel_k1,
    scaled_modified_bessel_k0,
    scaled_modified_bessel_k1,
    spherical_bessel_j0,
)
from graphgrad.tensor.gamma import polygamma, zeta
from graphgrad.tensor.polynomials import POLYNOMIALS
from graphgrad.tensor.spelling import spelled
from graphgrad.tensor.tails import entr, erfcx, log_ndtr, ndtr, ndtri, xlog1py

expit = _F["sigmoid"]
gammaln = _F["lgamma"]
psi = digamma = _F["digamma"]
multigammaln = _F["mvlgamma"]
erf, erfc, erfinv = _F["erf"], _F["erfc"], _F["erfinv"]
exp2, expm1, log1p = _F["exp2"], _F["expm1"], _F["log1p"]
logit, logsumexp, round, sinc, xlogy = (
    _F[name] for name in ("logit", "logsumexp", "round", "sinc", "xlogy")
)

modified_bessel_i0, modified_bessel_i1 = i0, i1

__all__ = [
    "bessel_j0",
    "bessel_j1",
    "bessel_y0",
    "bessel_y1",
    "digamma",
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "sinc",
    "softmax",
    "spherical_bessel_j0",
    "xlog1py",
    "xlogy",
    "zeta",
    *POLYNOMIALS,
]
globals().update(spelled({name: globals()[name] for name in __all__ if name in globals()}))
globals().update(spelled(POLYNOMIALS))
__getattr__ = names_of("graphgrad.special", globals())
