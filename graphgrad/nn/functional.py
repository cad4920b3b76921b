"""``import graphgrad.nn.functional as F``: the functions behind the layers."""

from graphgrad.functional import *  # noqa: F403
from graphgrad.nn._absent import names_of

__getattr__ = names_of("graphgrad.nn.functional", globals())
