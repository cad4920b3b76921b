"""``import graphgrad.nn.functional as F``: the functions behind the layers."""

from typing import Any

from graphgrad.functional import *  # noqa: F403
from graphgrad.nn._absent import absent


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise absent("graphgrad.nn.functional", name, globals())
