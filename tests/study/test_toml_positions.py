"""The position finder against tomli itself: what it underlines parses to what tomli read there."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from ablate.study.toml_positions import Positions, find_positions
from tests.helpers.stand_ins import REFERENCE, REPOSITORY

FILES = sorted([*REFERENCE.glob("*.toml"), *(REPOSITORY / "studies").rglob("*.toml")])

AWKWARD = '''\
"quoted.key" = 1
'lit#eral'.inner = "a # no comment ] } ="   # a comment with ] = "
a.b . c = 3
[ table . "x y" ]  # comment
text = """
[not.a.header]
key = "not a key" """
quotes = """a""\\"""""
single = \'\'\'it\'s ['#]\'\'\'\'
escape = "\\"]\\\\"
date = 1979-05-27 07:32:00
list = [ 1, [2, "]"], # [
  { k = [3], "k.2" = 'v,' },
  ]
empty = []
none = {}
inline = { a.b = 1, c = { d = [ {e = 2} ] } }
[[many]]
x = 1
[many.sub]
y = 2
[[many]]
[[many.deep]]
z = 3
[[many.deep]]
z = 4
'''


def every_path(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = [(path, value)] if path else []
    for key, item in items:
        found += every_path(item, (*path, key))
    return found


def check(text: str) -> int:
    """Every path is found, and every value's text parses to the value. Returns how many."""
    positions = find_positions(text)
    checked = 0
    for path, value in every_path(tomli.loads(text)):
        assert path in positions.values or path in positions.keys, path
        if path in positions.values:
            start, end = positions.values[path]
            assert tomli.loads(f"x = {positions.text[start:end]}")["x"] == value, path
            checked += 1
        assert positions.span(path) is not None
    return checked


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_value_of_our_studies_is_found(file: Any) -> None:
    assert check(file.read_text()) > 5


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_awkward_documents(newline: str) -> None:
    assert check(AWKWARD.replace("\n", newline)) == 29  # counted by hand


def spans(text: str, path: tuple[Any, ...], key: bool = False) -> tuple[int, str]:
    positions = find_positions(text)
    span = positions.span(path, key=key)
    assert span is not None
    line = positions.line(span.line)
    return span.line, line[span.column : span.column + span.length]


def test_lines_and_what_is_underlined() -> None:
    assert spans(AWKWARD, ("quoted.key",), key=True) == (1, '"quoted.key"')
    assert spans(AWKWARD, ("table", "x y")) == (4, 'table . "x y"')
    assert spans(AWKWARD, ("table", "x y", "text")) == (5, '"""')  # on its first line
    assert spans(AWKWARD, ("table", "x y", "list", 2, "k.2")) == (13, "'v,'")
    assert spans(AWKWARD, ("many", 1)) == (22, "many")
    assert spans(AWKWARD, ("many", 1, "deep", 1, "z")) == (26, "4")
    assert spans(AWKWARD, ("many", 1, "deep", 1, "missing")) == (25, "many.deep")
    assert spans(AWKWARD, ("many", 0, "sub", "gone", 3)) == (20, "many.sub")
    assert find_positions(AWKWARD).span(("nowhere",)) is None


texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
keys = texts | st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True)
scalars = (
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | texts
    | st.datetimes().map(lambda value: value.replace(microsecond=0))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def written(value: Any, draw: Any) -> str:
    """TOML of a value, in one of the styles that TOML has for it."""
    space = draw(st.sampled_from(["", " ", "\t"]))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return text_of(value, draw)
    if isinstance(value, list):
        gap = draw(st.sampled_from(["", " ", "\n", " # ] comment\n"]))
        return "[" + gap + f",{gap}".join(written(item, draw) for item in value) + gap + "]"
    if isinstance(value, dict):
        pairs = (f"{key_of(k)}{space}={space}{written(v, draw)}" for k, v in value.items())
        return "{" + space + f"{space},{space}".join(pairs) + space + "}"
    return value.isoformat(" ") if hasattr(value, "isoformat") else repr(value)


def key_of(key: str) -> str:
    return key if key and key.isascii() and key.replace("_", "x").isalnum() else escaped(key)


def escaped(text: str) -> str:
    special = {'"': '\\"', "\\": "\\\\"}
    return '"' + "".join(special.get(c, c if c.isprintable() else code(c)) for c in text) + '"'


def code(char: str) -> str:
    return f"\\U{ord(char):08x}"


def text_of(value: str, draw: Any) -> str:
    plain = value.isprintable() and "'" not in value
    if plain and draw(st.booleans()):
        return draw(st.sampled_from([f"'{value}'", f"'''{value}'''"]))
    return draw(st.sampled_from([escaped(value), f'""{escaped(value)}""']))


@st.composite
def documents(draw: Any) -> str:
    lines = []
    for name in draw(st.lists(keys, unique=True, max_size=4)):
        header = draw(st.sampled_from(["[{}]", "[[{}]]", "[ {} ] # [x]", "[{}.t]"]))
        copies = draw(st.integers(1, 3)) if header.startswith("[[") else 1
        for _ in range(copies):
            lines.append(header.format(key_of(name)))
            for key, value in draw(st.dictionaries(keys, values, max_size=3)).items():
                lines.append(f"{key_of(key)} = {written(value, draw)}")
                lines.append(draw(st.sampled_from(["", "# a = [", "  "])))
    return "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(documents())
def test_generated_documents(text: str) -> None:
    try:
        tomli.loads(text)
    except tomli.TOMLDecodeError:
        # what tomli refuses must still not raise
        assert isinstance(find_positions(text), Positions)
        return
    check(text)


def test_most_generated_documents_are_valid() -> None:
    valid = []

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(documents())
    def count(text: str) -> None:
        try:
            tomli.loads(text)
            valid.append(True)
        except tomli.TOMLDecodeError:
            valid.append(False)

    count()
    assert sum(valid) > len(valid) * 0.8


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab.=[]{}\"'#,\n 1\\", max_size=60))
def test_no_text_makes_it_raise(text: str) -> None:
    assert isinstance(find_positions(text), Positions)
