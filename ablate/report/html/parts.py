"""What sections are made of: headings, captions, plots, tables that scroll inside themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ablate.report.html.markup import Child, Markup, join, spaced, tag


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
