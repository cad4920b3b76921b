"""Special functions by their names in ``torch.special``."""

from graphgrad.functional import log_softmax, softmax
from graphgrad.tensor import FUNCTIONS as _F

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
    "erf",
    "erfc",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "gammaln",
    "log1p",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "psi",
    "round",
    "sinc",
    "softmax",
    "xlogy",
]
