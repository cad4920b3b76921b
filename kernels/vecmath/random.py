"""Philox-2x32 on Values: the words `graphgrad.philox` computes with NumPy, bit for bit."""

from __future__ import annotations

from graphgrad.philox import MULTIPLIER, ROUNDS, WEYL

from .value import Value


def philox2x32(low: Value, high: Value, key: Value) -> tuple[Value, Value]:
    """Two uint32 words for the counter (low, high) under `key`."""
    for _ in range(ROUNDS):
        product = low.to("uint64") * MULTIPLIER
        low, high = (product >> 32).to("uint32") ^ key ^ high, product.to("uint32")
        key = key + WEYL
    return low, high
