"""Texts beside the points of a chart, placed so that none covers another, nor a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

# The chart's width is not known here: places must do at a phone's, in a pair and alone.
_WIDTHS = (290, 480, 1020)
_CHARACTER = 7.6  # px, at most on average
_LINE = 15.0  # px from text to text
_GAP = 10.0  # px between a point and its text
_MARK = 7.0  # px around a point's middle that its sign takes
_EDGE = 6.0  # px that stay free at the chart's ends


@dataclass(frozen=True)
class Label:
    """A text beside the point at x (a share of the width) and y (px). left: on that side of it.

    low, high: ends of the point's bar in px. moved: px from the point's height to the text's.
    """

    text: str
    x: float
    y: float
    low: float
    high: float
    left: bool = False
    moved: float = 0.0


def placed(labels: Sequence[Label], height: float) -> list[Label]:
    """The labels where they are printed, in the order given: `y` is the text's from then on.

    One by one from the top, each at the cheapest place: texts never meet, and signs, bars and
    distance cost.
    """
    done: dict[int, Label] = {}
    for i in sorted(range(len(labels)), key=lambda i: labels[i].y):
        others = [one for j, one in enumerate(labels) if j != i]
        candidates = _candidates(labels[i], height)
        done[i] = min(candidates, key=lambda one: _cost(one, others, list(done.values())))
    return [done[i] for i in range(len(labels))]


def _candidates(label: Label, height: float) -> list[Label]:
    steps = range(int(height // _LINE) + 1)
    found = []
    for apart in sorted({sign * step * _LINE for step in steps for sign in (1, -1)}, key=abs):
        y = label.y + apart
        if not apart or _EDGE <= y <= height - _EDGE:
            found += [replace(label, y=y, moved=apart, left=side) for side in (False, True)]
    return found


def _cost(label: Label, others: Sequence[Label], texts: Sequence[Label]) -> float:
    cost = abs(label.moved) + (4.0 if label.left != (label.x > 0.55) else 0.0)
    for width in _WIDTHS:
        left, right = _span(label, width)
        cost += 40 * (max(0.0, -left) + max(0.0, right - width))
        for text in texts:
            low, high = _span(text, width)
            if left < high + 4 and low < right + 4 and abs(label.y - text.y) < _LINE:
                cost += 100_000
        for point in others:
            x, height = point.x * width, label.y
            if left < x + _MARK and x - _MARK < right:
                if abs(height - point.y) < _MARK + _LINE / 2:
                    cost += 60
                elif point.low - 4 < height < point.high + 4:
                    cost += 15
    return cost


def _span(label: Label, width: float) -> tuple[float, float]:
    length, x = _CHARACTER * len(label.text), label.x * width
    return (x - _GAP - length, x - _GAP) if label.left else (x + _GAP, x + _GAP + length)
