"""Markup written by functions, and what sections are made of: headings, captions, plots, tables.

Everything that is not markup already is escaped. Wide tables scroll inside themselves.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ablate.report.formats.escape import visible

# Elements of HTML that have no end tag; those of SVG without children close themselves.
_VOID = frozenset({"br", "col", "link", "meta", "hr"})
_SHAPES = frozenset({"circle", "line", "path", "rect", "use"})
# What shapes look like where the page's style is not applied.
_PLAIN: Final = {
    "line": {"stroke": "#8a949f"},
    "rect": {"fill": "#dfe4e9"},
    "use": {"stroke": "#59636f"},
}


class Markup(str):
    """Text that is markup: never escaped again."""

    __slots__ = ()


Child = str | Iterable[str] | None


def escaped(text: str) -> Markup:
    """User text: markup's own characters as entities, hidden and bidirectional ones as \\u202e."""
    return text if isinstance(text, Markup) else Markup(html.escape(visible(text), quote=True))


def join(*children: Child) -> Markup:
    """Children one after another; None is left out."""
    found: list[str] = []
    for child in children:
        if child is None:
            continue
        found += map(escaped, [child] if isinstance(child, str) else child)
    return Markup("".join(found))


def spaced(children: Iterable[Child]) -> Markup:
    """Children with a space between them, for readers without the page's style."""
    return join(*(join(" " if i else None, child) for i, child in enumerate(children)))


def tag(element: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element. `class_` is class, `aria_label` aria-label; None and False are left out."""
    words = [element]
    for key, value in (_PLAIN.get(element, {}) | attributes).items():
        if value is None or value is False:
            continue
        name = key.rstrip("_").replace("_", "-")
        words.append(name if value is True else f'{name}="{escaped(str(value))}"')
    start = " ".join(words)
    if element in _VOID:
        return Markup(f"<{start}>")
    inside = join(*children)
    if element in _SHAPES and not inside:
        return Markup(f"<{start}/>")
    return Markup(f"<{start}>{inside}</{element}>")


_LONG: Final = 22  # characters of a word, above which it may be broken anywhere


def name(label: str, *, soft: bool = False) -> Markup:
    """A row's label: its sign stays with its name; a very long word may break, others do not.

    soft: where there is little room, it may break after an underscore too.
    """
    sign, space, rest = label.partition(" ")
    text = f"{sign}\u00a0{rest}" if sign == "+" and space else label
    if max(map(len, label.split()), default=0) > _LONG:
        return tag("span", text, class_="long")
    return Markup(escaped(text).replace("_", "_<wbr>")) if soft else escaped(text)


def percent(share: float) -> str:
    """A place or a length as SVG has it: "12.35%"."""
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


@dataclass(frozen=True)
class Place:
    """Where a section stands. level: of its heading; prefix: of ids, unique in the page."""

    level: int = 2
    prefix: str = ""

    def inner(self, prefix: str = "") -> Place:
        """One level deeper."""
        return replace(self, level=self.level + 1, prefix=self.prefix + prefix)

    def heading(self, *children: Child, class_: str, deeper: int = 0) -> Markup:
        """A heading of this level, or of a deeper one."""
        return tag(f"h{min(self.level + deeper, 6)}", *children, class_=class_)


def section(place: Place, name: str, about: str, *children: Child) -> Markup:
    """A section with its heading: "Effects" and, muted, what of."""
    title = place.heading(
        name, " ", tag("span", about, class_="about") if about else None, class_="title"
    )
    return tag("section", title, *children, id=place.prefix + name.lower())


def caption(*sentences: str) -> Markup:
    """The line below a chart or a table; nothing without sentences."""
    said = [sentence for sentence in sentences if sentence]
    return tag("p", spaced(said), class_="caption") if said else Markup()


def folded(summary: str, *children: Child) -> Markup:
    """A part that is closed until it is asked for."""
    return tag("details", tag("summary", summary), *children)


def plot(height: int, label: str, *children: Child, class_: str = "plot") -> Markup:
    """A chart as wide as its place and `height` px high, or higher where its row is.

    Horizontal places in it are percentages, so that text and signs keep their size.
    """
    svg = tag("svg", *children, width="100%", height=height, role="img", aria_label=label)
    return tag("div", svg, class_=class_, style=f"min-height:{height}px")


def at(x: str, y: float, *children: Child) -> Markup:
    """Children drawn around (0, 0), moved to a percentage and px."""
    return tag("svg", *children, x=x, y=f"{y:g}", class_="at", overflow="visible")


def vertical(x: str, class_: str, y1: str = "0", y2: str = "100%") -> Markup:
    """A vertical line."""
    return tag("line", x1=x, x2=x, y1=y1, y2=y2, class_=class_)


def title(text: str) -> Markup:
    """What a mark says when it is pointed at."""
    return tag("title", text)


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading and cells, text or markup. right: numbers."""

    head: str
    cells: Sequence[str]
    right: bool = False


def table(
    columns: Sequence[Column],
    *,
    label: str,
    caption: str = "",
    footer: int = 0,
) -> Markup:
    """A table in a frame of its own that scrolls sideways; the first column stays.

    label: what it is, for those who do not see it. footer: how many of the last rows are set off.
    """
    heads = [
        tag("th", column.head, scope="col", class_="r" if column.right else None)
        for column in columns
    ]
    count = len(columns[0].cells)
    rows = [
        tag("tr", _cells(columns, i), class_="foot" if i >= count - footer else None)
        for i in range(count)
    ]
    inner = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", heads)),
        tag("tbody", rows),
    )
    return tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=label)


def _cells(columns: Sequence[Column], row: int) -> Markup:
    first = tag("th", columns[0].cells[row], scope="row")
    rest = [
        tag("td", column.cells[row], class_="r" if column.right else None) for column in columns[1:]
    ]
    return join(first, rest)
