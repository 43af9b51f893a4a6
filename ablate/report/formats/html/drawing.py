"""What charts are drawn of: axes with round ticks, verdicts' shapes, labels that cover nothing.

Shapes repeat what colours say. An axis holds all values; places on it are shares of its width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ablate.report import numbers
from ablate.report.captions import MARKS
from ablate.report.formats.html.markup import Child, Markup, tag
from ablate.report.model import Mark, ReportRow, Total

# Drawn around (0, 0), 11 px high: fonts differ too much in ▲ ▼ ■ ○.
_SHAPES: Final = {
    "gain": "M0-5.5 6 5h-12z",
    "loss": "M0 5.5 6-5h-12z",
    "equivalent": "M-4.5-4.5h9v9h-9z",
    "unresolved": "M0-4.5a4.5 4.5 0 1 0 .01 0z",
    "dot": "M0-4a4 4 0 1 0 .01 0z",
    "": "M0-4.5a4.5 4.5 0 1 0 .01 0z",
}
_DIAMOND: Final = "M0-5 5 0 0 5-5 0z"  # a difference that is not judged
_HOLLOW: Final = frozenset({"unresolved", ""})


def shape(mark: Mark | str, *children: Child) -> Markup:
    """The sign of a verdict as a path around (0, 0), with its title where one is given."""
    known = mark in _SHAPES
    hollow = mark in _HOLLOW or not known
    names = f"sign {colour(mark)}{' hollow' if hollow else ''}"
    return tag("path", *children, d=_SHAPES.get(mark, _DIAMOND), class_=names)


def colour(mark: Mark | str) -> str:
    """The class of a verdict's colour: only gains and losses have one."""
    return mark if mark in ("gain", "loss") else "plain"


def icon(mark: Mark | str) -> Markup:
    """The sign in a line of text; those that are not shapes as characters."""
    if mark in _SHAPES and mark:
        return tag(
            "svg",
            shape(mark),
            class_="icon",
            width=13,
            height=13,
            viewBox="-6.5 -6.5 13 13",
            aria_hidden="true",
        )
    sign = MARKS.get(mark, "") or ("=" if mark == "=" else "")
    return tag("span", str(sign), class_="icon", aria_hidden="true") if sign else Markup()


def verdict(asked: ReportRow | Total) -> Markup:
    """A verdict with its sign: "▲ gain", "○ unresolved †"."""
    word = "same trial as the row above" if asked.mark == "=" else asked.verdict
    return tag(
        "span",
        icon(asked.mark),
        " ",
        word,
        " †" if asked.dagger else None,
        class_=f"verdict {colour(asked.mark)}",
    )


@dataclass(frozen=True)
class Axis:
    """A range in the unit printed. ticks: round numbers inside it. decimals: that they need."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high one; values outside it are outside."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float, *, signed: bool = False) -> str:
        """A tick's text: "90", "+1", "0.5"."""
        tick = tick + 0.0 if abs(tick) > 1e-12 else 0.0
        text = numbers.signed if signed else numbers.fixed
        return "0" if tick == 0 and signed else text(tick, self.decimals)


def axis(values: Iterable[float], *, most: int = 6, pad: float = 0.05) -> Axis:
    """An axis with at most about `most` ticks and `pad` of its length free at either end.

    Without a finite value, or with equal ones, it is as long as is sensible around them.
    """
    known = [v for v in values if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-9 * max(1.0, abs(high), abs(low)):
        half = abs(high) * 0.1 or 1.0
        low, high = low - half, high + half
    room = (high - low) * pad
    return between(low - room, high + room, most=most)


def between(low: float, high: float, *, most: int = 6) -> Axis:
    """An axis that ends exactly there."""
    step = round_step((high - low) / most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = tuple(i * step for i in range(first, last + 1))
    return Axis(low, high, ticks, decimals_of(step))


def decimals_of(step: float) -> int:
    """Decimals that multiples of a round step need."""
    return max(0, -math.floor(math.log10(step) + 1e-9))


def round_step(least: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, … (and tenths of them) that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10, 20) if m * power >= least * (1 - 1e-9))


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
