"""Units, symbols, terminals: small rules, each against the reference page's own examples."""

from __future__ import annotations

import io

import pytest

from ablate.console.live_view import bar
from ablate.console.output import Output, dumps
from ablate.console.terminal import look_at
from ablate.hookspecs import hookimpl
from ablate.tricks.base import Trick
from ablate.util.text import aligned, ascii_only, clock, duration, megabytes, visible, width


class Stream(io.StringIO):
    """A stream of some encoding that is a terminal or not."""

    def __init__(self, *, terminal: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal = terminal
        self._encoding = encoding

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(29, "29 s"), (0.2, "1 s"), (41 * 60, "41 min"), (78 * 60, "1 h 18"), (173 * 60, "2 h 53"),
     (361 * 60, "6 h 1"), (6 * 3600, "6 h"), (59.6, "1 min")],
)  # fmt: skip
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_clock_and_sizes() -> None:
    assert clock(19 * 60 + 45) == "19:45"
    assert clock(3723) == "1:02:03"
    assert megabytes(41e6) == "41 MB"
    assert megabytes(1.56e9) == "1.6 GB"


def test_control_and_bidirectional_characters_are_spelled_out() -> None:
    assert visible("a\u202eb\x1b[31m\u200d\tü") == "a\\u202eb\\u001b[31m\\u200d\\u0009ü"
    assert visible("two\nlines") == "two\nlines"


def test_symbols_in_ascii() -> None:
    assert ascii_only("● ◐ ○ ◆ ✗ ✓ ▲ ▼ ■ … ↯ ∅") == "# > . s x ok ^ v [] ... !! 0"
    assert ascii_only("± Δ × − ≈ → †") == "+/- d x - ~ -> *"
    assert ascii_only(bar(0.5, 8)).isascii()


@pytest.mark.parametrize("fraction", [0, 0.01, 0.5, 0.99, 1, 2, -1])
def test_bars_keep_their_length(fraction: float) -> None:
    assert width(bar(fraction, 24)) == 24


def test_columns_are_aligned_by_cells() -> None:
    lines = aligned([["名", "1"], ["abc", "22"]], "<>")
    assert [width(line) for line in lines] == [7, 7]


@pytest.mark.parametrize(
    ("env", "option", "color"),
    [
        ({}, "auto", True),
        ({"NO_COLOR": "1"}, "auto", False),
        ({"NO_COLOR": ""}, "auto", True),
        ({"NO_COLOR": "1"}, "always", True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, "auto", True),
        ({"FORCE_COLOR": "1"}, "never", False),
        ({"TERM": "dumb"}, "auto", False),
    ],
)
def test_color_of_a_terminal(env: dict[str, str], option: str, color: bool) -> None:
    assert look_at(Stream(terminal=True), option, env).color is color  # type: ignore[arg-type]


def test_what_is_no_terminal() -> None:
    pipe = look_at(Stream(terminal=False), "auto", {})
    assert (pipe.interactive, pipe.color, pipe.live, pipe.width) == (False, False, False, 100)
    assert look_at(Stream(terminal=False), "auto", {"COLUMNS": "72"}).width == 72
    ci = look_at(Stream(terminal=True), "auto", {"CI": "true"})
    assert (ci.interactive, ci.live) == (False, False)
    dumb = look_at(Stream(terminal=True), "auto", {"TERM": "dumb"})
    assert (dumb.live, dumb.unicode) == (False, False)
    assert not look_at(Stream(terminal=True, encoding="latin-1"), "auto", {}).unicode
    assert not look_at(Stream(terminal=True), "auto", {"ABLATE_ASCII": "1"}).unicode


def test_quiet_keeps_results_and_errors() -> None:
    def said(quiet: int) -> tuple[str, str]:
        out, err = io.StringIO(), io.StringIO()
        output = Output(quiet=quiet, stdout=out, stderr=err)
        output.result("table")
        output.note("note")
        output.warn("warning")
        output.failure("failure")
        return out.getvalue(), err.getvalue()

    assert said(0) == ("table\n", "note\nwarning: warning\nfailure\n")
    assert said(1) == ("table\n", "failure\n")
    assert said(2) == ("", "failure\n")


def test_markup_in_names_is_text() -> None:
    out = io.StringIO()
    Output(stdout=out, stderr=io.StringIO()).result(
        "[bold]x[/bold] :smile: [link=http://a]b[/link]"
    )
    assert out.getvalue() == "[bold]x[/bold] :smile: [link=http://a]b[/link]\n"


def test_numbers_that_are_not_finite_are_null() -> None:
    assert dumps({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a": null, "b": [null, 1.5]}'


def test_facts_of_a_trick() -> None:
    from ablate.cli import trick_facts

    class Example(Trick):
        """Example: do a thing."""

        share: float = 0.5
        bound: float | None = None  # TOML has no null to write there

        @hookimpl
        def precision(self) -> object:
            return None

        @hookimpl(wrapper=True)
        def encode_targets(self, labels: object) -> object:
            return (yield)

    assert trick_facts.hooks(Example) == ["precision *", "encode_targets"]
    assert trick_facts.in_a_study(Example) == "example = { share = 0.5 }"
    assert [p.default for p in trick_facts.parameters(Example)] == ["0.5", "none"]
    assert trick_facts.toml([True, 'a"b', 1]) == '[true, "a\\"b", 1]'


def test_next_steps_of_long_commands_keep_their_costs_beside_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)
    err = Stream(terminal=True)
    output = Output(stdout=io.StringIO(), stderr=err, color="never")
    long = "ablate run " + "x" * 90
    output.next_steps([("settle it", long, "about +1 s"), ("write", "ablate report", "")])
    assert err.getvalue().splitlines() == [
        "",
        f"Next  settle it  {long}    about +1 s",
        "      write      ablate report",
    ]
    quiet = Stream(terminal=False)
    Output(stdout=io.StringIO(), stderr=quiet).next_steps([("write", "ablate report", "")])
    assert quiet.getvalue() == ""
