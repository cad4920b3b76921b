"""A step length that satisfies the strong Wolfe conditions (Nocedal & Wright 2006, chapter 3).

The value must have fallen by a share of what the slope promised, and the slope must have become
flatter: first the step grows until an interval surely holds such a point, then that interval
shrinks. New trial steps are minima of cubics through two points and their slopes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from graphgrad.tensor import Tensor


class Point(NamedTuple):
    """A step length, and what was found there: value, gradient, slope along the direction."""

    t: float
    value: float
    gradient: Tensor
    slope: float


class Search:
    """One search along a direction; ``evaluate(t)`` gives the point at a step length."""

    def __init__(
        self,
        evaluate: Callable[[float], Point],
        start: Point,
        reach: float,
        fall: float = 1e-4,
        flatter: float = 0.9,
        tolerance: float = 1e-9,
        most: int = 25,
    ) -> None:
        self.evaluate, self.start = evaluate, start
        self.reach, self.fall, self.flatter = reach, fall, flatter
        self.tolerance, self.most = tolerance, most
        # Trials after the first, of which there are at most ``most``.
        self.trials = 0

    def run(self, t: float) -> tuple[Point, int]:
        """The point found from the first trial ``t``, and how often the function was called."""
        low, high, done = self._bracket(t)
        best = low if done else self._zoom(low, high)
        return best, self.trials + 1

    def _try(self, t: float) -> Point:
        self.trials += 1
        return self.evaluate(t)

    def _is_high(self, point: Point) -> bool:
        bound = self.start.value + self.fall * point.t * self.start.slope
        return point.value > bound

    def _is_flat(self, point: Point) -> bool:
        return abs(point.slope) <= -self.flatter * self.start.slope

    def _bracket(self, t: float) -> tuple[Point, Point, bool]:
        """Two points around a good one, or (the point, itself, True) if one was hit."""
        before, point = self.start, self.evaluate(t)
        while self.trials < self.most:
            if self._is_high(point) or (self.trials > 1 and point.value >= before.value):
                return before, point, False
            if self._is_flat(point):
                return point, point, True
            if point.slope >= 0:
                return before, point, False
            nearest, farthest = point.t + 0.01 * (point.t - before.t), 10 * point.t
            t = minimum_of_cubic(before, point, nearest, farthest)
            before, point = point, self._try(t)
        return self.start, point, False

    def _zoom(self, a: Point, b: Point) -> Point:
        low, high = (a, b) if a.value <= b.value else (b, a)
        stuck = False
        while self.trials < self.most:
            first, last = sorted((low.t, high.t))
            if (last - first) * self.reach < self.tolerance:
                break
            t = minimum_of_cubic(*sorted((low, high), key=lambda p: p.t), first, last)
            t, stuck = _inside(t, first, last, stuck)
            point = self._try(t)
            if self._is_high(point) or point.value >= low.value:
                high = point
                low, high = (low, high) if low.value <= high.value else (high, low)
                continue
            if self._is_flat(point):
                return point
            if point.slope * (high.t - low.t) >= 0:
                high = low
            low = point
        return low


def _inside(t: float, first: float, last: float, stuck: bool) -> tuple[float, bool]:
    """``t``, moved off an end of the interval when two trials in a row came close to one."""
    margin = 0.1 * (last - first)
    if min(last - t, t - first) >= margin:
        return t, False
    if not stuck and first < t < last:
        return t, True
    return (last - margin if last - t < t - first else first + margin), False


def minimum_of_cubic(a: Point, b: Point, first: float, last: float) -> float:
    """Where the cubic through two points and slopes is least, kept within [first, last]."""
    if a.t > b.t:
        a, b = b, a
    secant = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    under = secant * secant - a.slope * b.slope
    if under >= 0:
        root = math.sqrt(under)
        width = b.slope - a.slope + 2 * root
        if width != 0:
            t = b.t - (b.t - a.t) * (b.slope + root - secant) / width
            return min(max(t, first), last)
    return (first + last) / 2
