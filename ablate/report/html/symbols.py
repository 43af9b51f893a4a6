"""The verdicts' signs: shapes repeat what colours say."""

from __future__ import annotations

from typing import Final

from ablate.report.html.markup import Child, Markup, tag
from ablate.report.model import Mark, ReportRow, Total
from ablate.report.words import MARKS

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
