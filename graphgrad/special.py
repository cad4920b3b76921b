"""Special functions by their names in ``torch.special``."""

from graphgrad.functional import log_softmax, softmax
from graphgrad.nearest import names_of
from graphgrad.tensor import FUNCTIONS as _F
from graphgrad.tensor.bessel import i0, i0e, i1, i1e
from graphgrad.tensor.gamma import polygamma, zeta
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

__all__ = [
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
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
    "zeta",
]
__getattr__ = names_of("graphgrad.special", globals())
