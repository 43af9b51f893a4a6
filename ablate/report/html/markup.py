"""Markup written by functions: everything that is not markup already is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Final

from ablate.report.escape import visible

# Elements of HTML that have no end tag; those of SVG without children close themselves.
_VOID = frozenset({"br", "col", "link", "meta", "hr"})
_SHAPES = frozenset({"circle", "line", "path", "rect", "use"})


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


def tag(element: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """An element. `class_` is class, `aria_label` aria-label; None and False are left out."""
    words = [element]
    for key, value in attributes.items():
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
