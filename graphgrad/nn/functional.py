"""``import graphgrad.nn.functional as F``: the functions behind the layers."""

from graphgrad.functional import *  # noqa: F403
