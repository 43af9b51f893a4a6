"""The two streams: results on stdout, everything else on stderr, as much of it as was asked for.

A stream shows what it can (colour, symbols, width, a live view), and a reader who leaves must not
stop a training.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from ablate.console.terminal import Color, Terminal, look_at
from ablate.util.files import utc_now
from ablate.util.job_control import undisturbed
from ablate.util.text import aligned, ascii_only, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


SCHEMA_VERSION = 1

# A line: plain text, or (text, style) pieces. Styles: "good", "failed", "bold", "dim", "better",
# "worse", "" for none.
Line = str | Sequence[tuple[str, str]]

_STYLES = {
    "good": "green",
    "failed": "red",
    "better": "cyan",
    "worse": "yellow",
    "bold": "bold",
    "dim": "dim",
}


class Output:
    """Where a command writes. quiet: `-q` given so often; verbose: `-v`."""

    def __init__(
        self,
        *,
        color: Color = "auto",
        quiet: int = 0,
        verbose: int = 0,
        json: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.json = json
        self._streams = (stdout or sys.stdout, cast(TextIO, Unread(stderr or sys.stderr)))
        self.out: Terminal = look_at(self._streams[0], color)
        self.err: Terminal = look_at(self._streams[1], color)

    @cached_property
    def stdout(self) -> Console:
        """Results."""
        return make_console(self._streams[0], self.out)

    @cached_property
    def stderr(self) -> Console:
        """Everything else."""
        return make_console(self._streams[1], self.err)

    # ------------------------------------------------------------------------------ results

    def result(self, *lines: Line) -> None:
        """Lines on stdout; not with -qq."""
        if self.quiet < 2:
            for line in lines:
                self._print(self.stdout, self.out, line)

    def document(self, document: dict[str, Any]) -> None:
        """One JSON document on stdout."""
        self.raw(dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))

    def event(self, name: str, **fields: Any) -> None:
        """One JSON event, on one line of stdout, if anybody still reads them."""
        head = {"schema_version": SCHEMA_VERSION, "event": name, "time": utc_now()}
        try:
            self.raw(dumps(head | fields))
            self._streams[0].flush()
        except OSError as error:  # nobody follows the run any more; it goes on
            if error.errno not in (errno.EPIPE, errno.EIO):  # EIO: a terminal that is gone
                raise
            discard(self._streams[0])

    def raw(self, text: str) -> None:
        """Text for a program or a file, as it is: in a pipe or a file UTF-8 with \\n, whatever the
        locale; on a terminal what that can show."""
        stream, text = self._streams[0], text if text.endswith("\n") else text + "\n"
        buffer = None if stream.isatty() else getattr(stream, "buffer", None)
        if buffer is None:
            stream.write(text)
            return
        stream.flush()
        buffer.write(text.encode("utf-8", "backslashreplace"))

    def path(self, path: Path) -> None:
        """A path on a line of its own: for programs the very bytes that the system has for it."""
        stream = self._streams[0]
        buffer = None if stream.isatty() else getattr(stream, "buffer", None)
        if buffer is None:
            stream.write(f"{path}\n")
            return
        stream.flush()
        buffer.write(os.fsencode(path) + b"\n")

    def drawn(self, text: str) -> None:
        """Text for a person, made of characters that the stream has."""
        self._streams[0].write(text if text.endswith("\n") else text + "\n")

    # ------------------------------------------------------------------------- to the person

    def note(self, *lines: Line) -> None:
        """Lines on stderr; not with -q."""
        if self.quiet == 0:
            for line in lines:
                self._print(self.stderr, self.err, line)

    def detail(self, *lines: Line) -> None:
        """Lines on stderr, with -v only."""
        if self.verbose > 0:
            self.note(*lines)

    def warn(self, message: str) -> None:
        """`warning: …` on stderr; not with -q."""
        self.note([("warning:", "worse"), (f" {message}", "")])

    def failure(self, *lines: Line) -> None:
        """What went wrong, on stderr, however quiet."""
        for line in lines:
            self._print(self.stderr, self.err, line)

    def next_steps(self, steps: Sequence[tuple[str, str] | tuple[str, str, str]]) -> None:
        """(why, command, cost) at most four, for a person at a terminal."""
        if not steps or self.quiet or not self.err.interactive or self.json:
            return
        rows = [
            ("Next" if i == 0 else "", *(self.shown(part, self.err) for part in step))
            for i, step in enumerate(steps[:4])
        ]
        lines = aligned(rows)
        if max(map(len, lines)) > self.err.width:  # the costs follow their commands
            heads = aligned([row[:2] for row in rows])
            wide = max(map(len, heads))
            lines = [
                "    ".join([f"{head.ljust(wide)}  {row[2]}", *filter(None, row[3:])])
                for head, row in zip(heads, rows, strict=True)
            ]
        self.note("", *lines)

    # ------------------------------------------------------------------------------ helpers

    def shown(self, text: str, terminal: Terminal) -> str:
        """`text` in characters that the terminal has."""
        text = visible(text)
        return text if terminal.unicode else ascii_only(text)

    def table(self, rows: Sequence[Sequence[str]], align: str = "", gap: int = 2) -> list[str]:
        """Aligned lines for stdout, in its characters."""
        return aligned([[self.shown(c, self.out) for c in row] for row in rows], align, gap)

    def _print(self, console: Console, terminal: Terminal, line: Line) -> None:
        # soft_wrap: the terminal wraps; a line break of ours would break what is copied.
        with undisturbed():
            console.print(styled(line, terminal), soft_wrap=True)


def make_console(stream: TextIO, terminal: Terminal) -> Console:
    """A rich console that never interprets what it is given."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # noqa: PLE0704 - the error being handled; rich would end the program here

    return Plain(
        file=stream,
        force_terminal=terminal.interactive or terminal.color,
        color_system="standard" if terminal.color else None,
        no_color=not terminal.color,
        width=terminal.width,
        markup=False,
        highlight=False,
        emoji=False,
        legacy_windows=False,
    )


def styled(line: Line, terminal: Terminal) -> Text:
    """A rich text of a line, in characters that the terminal has."""
    from rich.text import Text

    pieces: Sequence[tuple[str, str]] = [(line, "")] if isinstance(line, str) else line
    text = Text(end="")
    for part, style in pieces:
        shown = visible(part)
        if not terminal.unicode:
            shown = ascii_only(shown)
        text.append(shown, _STYLES.get(style, ""))
    text.end = "\n"
    return text


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON with every number that is not finite as null."""
    return json.dumps(_finite(value), ensure_ascii=True, indent=indent, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


class Unread:
    """Writes to `stream` for as long as that works, and then in silence: a closed pipe (`| head`),
    a terminal that is gone, a log on a full disk."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As a text stream's; never fails for want of a reader."""
        try:
            return self._stream.write(text)
        except OSError:
            discard(self._stream)
            return len(text)

    def flush(self) -> None:
        """As a text stream's."""
        try:
            self._stream.flush()
        except OSError:
            discard(self._stream)

    def __getattr__(self, name: str) -> Any:  # isatty, fileno, encoding
        return getattr(self._stream, name)


def discard(stream: TextIO) -> None:
    """From now on `stream` goes nowhere, what it still holds included: Python would complain of
    that when it exits."""
    with contextlib.suppress(OSError, ValueError):  # it may have no descriptor
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
