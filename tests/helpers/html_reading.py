"""A report read back: its elements, and the numbers that its charts draw."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import html5lib

Element = ET.Element
SVG = "{http://www.w3.org/2000/svg}"
_BLOCKS = frozenset(
    {"p", "div", "li", "h2", "h3", "h4", "section", "table", "tr", "td", "th", "dd"}
)
_NUMBER = re.compile(r"[+\-−]?\d[\d,]*(?:\.\d+)?")


def parsed(text: str) -> Element:
    """The document; any parse error of HTML5 raises."""
    parser = html5lib.HTMLParser(
        html5lib.treebuilders.getTreeBuilder("etree"), strict=True, namespaceHTMLElements=False
    )
    return parser.parse(text)


def words(element: Element) -> str:
    """Its text as read, without that of titles of marks."""
    parts = [element.text or ""]
    for child in element:
        if child.tag != f"{SVG}title":
            gap = " " * (child.tag in _BLOCKS)
            parts += [gap, words(child), gap]
        parts.append(child.tail or "")
    return "".join(parts)


def by_id(tree: Element, name: str) -> Element:
    return next(e for e in tree.iter() if e.get("id") == name)


def has(element: Element, name: str) -> bool:
    return name in (element.get("class") or "").split()


def classed(tree: Element, name: str) -> list[Element]:
    return [element for element in tree.iter() if has(element, name)]


def numbers_in(text: str) -> list[float]:
    return [float(x.replace("−", "-").replace(",", "")) for x in _NUMBER.findall(text)]


def table_numbers(tree: Element) -> list[float]:
    """Every number in a cell."""
    return [
        number
        for cell in tree.iter()
        if cell.tag in ("td", "th")
        for number in numbers_in(words(cell))
    ]


def tables(tree: Element) -> dict[str, list[list[str]]]:
    """Rows of texts by the caption of the table."""
    found = {}
    for element in tree.iter("table"):
        caption = element.find("caption")
        rows = [
            [words(c).strip() for c in row if c.tag in ("td", "th")] for row in element.iter("tr")
        ]
        found[words(caption).strip() if caption is not None else ""] = rows
    return found


@dataclass(frozen=True)
class Scale:
    """Value = start + slope × place, from the labels of an axis."""

    start: float
    slope: float

    @classmethod
    def of(cls, labels: Sequence[tuple[float, float]]) -> Scale:
        (x0, v0), (x1, v1) = labels[0], labels[-1]
        slope = (v1 - v0) / (x1 - x0)
        return cls(v0 - slope * x0, slope)

    def value(self, place: float) -> float:
        return self.start + self.slope * place


def percent(text: str | None) -> float:
    assert text is not None
    assert text.endswith("%")
    return float(text[:-1])


def axis_below(rows: Element) -> Scale:
    """The horizontal axis of a forest or a waterfall."""
    row = next(row for row in rows if has(row, "scale"))
    texts = list(row.iter(f"{SVG}text"))
    return Scale.of([(percent(t.get("x")), numbers_in(words(t))[0]) for t in texts])


def horizontal(rows: Element) -> Iterator[tuple[str, float]]:
    """(label of the row, value) of every mark of a forest or a waterfall."""
    scale = axis_below(rows)
    for row in rows:
        if has(row, "scale"):
            continue
        label = words(next(e for e in row if has(e, "label"))).replace("\u00a0", " ")
        for mark in row.iter():
            if any(has(mark, name) for name in ("thin", "thick", "whisker")):
                yield label, scale.value(percent(mark.get("x1")))
                yield label, scale.value(percent(mark.get("x2")))
            elif has(mark, "seed"):
                yield label, scale.value(percent(mark.get("cx")))
            elif has(mark, "at"):
                yield label, scale.value(percent(mark.get("x")))
            elif has(mark, "bar"):
                left, width = percent(mark.get("x")), percent(mark.get("width"))
                yield label, scale.value(left)
                yield label, scale.value(left + width)


def path_points(path: str) -> Iterator[tuple[float, float]]:
    """Points of "M0 5l1-3…", absolute."""
    x = y = 0.0
    for kind, text in re.findall(r"([Ml])([^Ml]*)", path):
        a, b = (float(n) for n in re.findall(r"-?\d+", text))
        x, y = (a, b) if kind == "M" else (x + a, y + b)
        yield x, y
