"""Kullback-Leibler divergences: ``kl_divergence(p, q)``, and ``register_kl`` for new pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphgrad as gg
from graphgrad.distributions.distribution import Distribution

Rule = Callable[[Any, Any], gg.Tensor]

_RULES: dict[tuple[type, type], Rule] = {}
_found: dict[tuple[type, type], Rule | None] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Rule], Rule]:
    """Decorate the function that computes KL(p ‖ q) for distributions of these classes."""
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected a Distribution subclass but got {kind}")

    def enter(rule: Rule) -> Rule:
        _RULES[type_p, type_q] = rule
        _found.clear()
        return rule

    return enter


def kl_divergence(p: Distribution, q: Distribution) -> gg.Tensor:
    """KL(p ‖ q) = E under p of log p − log q, one number a batch element."""
    pair = type(p), type(q)
    if pair not in _found:
        _found[pair] = _closest(*pair)
    rule = _found[pair]
    if rule is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {pair[0].__name__} and q type "
            f"{pair[1].__name__}: register_kl enters one, or average p.log_prob − q.log_prob over "
            "samples of p"
        )
    return rule(p, q)


def _closest(p: type, q: type) -> Rule | None:
    """The rule of the nearest superclasses, those of ``p`` counting before those of ``q``."""

    def distance(pair: tuple[type, type]) -> tuple[int, int]:
        return p.__mro__.index(pair[0]), q.__mro__.index(pair[1])

    fitting = [k for k in _RULES if issubclass(p, k[0]) and issubclass(q, k[1])]
    return _RULES[min(fitting, key=distance)] if fitting else None
