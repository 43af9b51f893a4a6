"""The errors a person can cause or meet: where, what, and what to do next.

`AblateError` is caught once, in `cli.main`, and printed as one line and a hint. Anything else that
escapes is a bug and is printed as one.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass


class AblateError(Exception):
    """A refusal or failure that is explained to the user.

    Attributes: `message` (what), `where` (`file:line` or None, then "error" is printed), `hint`
    (the next step as something to type, or None), `exit_code` (2: refused before any training).
    """

    exit_code = 2

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where or 'error'}: {self.message}"


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake in a study file."""

    file: str
    line: int  # 1-based; 0 where no line is to blame
    key: str  # dotted path such as "study.stack[1]"
    message: str
    hint: str | None = None  # a second line: what to type
    source: str | None = None  # the line itself
    span: tuple[int, int] | None = None  # (first column, length) to underline, 0-based

    def __str__(self) -> str:
        line = f":{self.line}" if self.line else ""
        key = f" {self.key}:" if self.key else ""
        return f"{self.file}{line}:{key} {self.message}"


class DiskFull(AblateError):
    """No space is left for what has to be written."""


class StoreGone(AblateError):
    """The store is not where it was when it was opened."""

    exit_code = 1


class StudyError(AblateError):
    """Every problem of a study at once, ordered by file and line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __str__(self) -> str:
        return self.message


class TrickError(AblateError):
    """A trick raised, or returned what its hook does not allow."""

    exit_code = 1

    def __init__(self, trick: str, hook: str, message: str) -> None:
        super().__init__(f"trick '{trick}', {hook}: {message}")
        self.trick = trick
        self.hook = hook


class Forbidden(TrickError):
    """A trick changed what its hook may only read."""


class NoEffect(AblateError):
    """A trick that changed nothing: it is refused, never a silent row."""

    def __init__(self, trick: str, message: str) -> None:
        super().__init__(f"trick '{trick}' has no effect: {message}")
        self.trick = trick
        self.reason = message


class DataError(AblateError):
    """A data set that is missing, damaged or not what it should be."""


class Interrupted(Exception):
    """Someone asked the running trial to stop; it stops after the step."""


class Diverged(Exception):
    """The training loss, or the test loss at the end, is not finite."""


def brief(error: BaseException, limit: int = 300) -> str:
    """ "KeyError: 'x'": an exception of somebody else's in one line; its log has the whole."""
    words = " ".join(text_of(error).split())
    if len(words) > limit:
        words = f"{words[:limit].rstrip()}…"
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


class EndedBySignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP: what is open is put in order as after Ctrl-C. number: of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


def signal_of(error: KeyboardInterrupt) -> int:
    """Which signal asked to stop."""
    return error.number if isinstance(error, EndedBySignal) else int(signal.SIGINT)


def ctrl_c_ignored() -> bool:
    """Whether this process ignores Ctrl-C, as those that train do: a KeyboardInterrupt there was
    raised by somebody's code, not by a person."""
    return signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def text_of(error: BaseException) -> str:
    """`str(error)`, also of an exception that cannot say it."""
    try:
        return str(error)
    except BaseException as another:  # noqa: BLE001 - somebody else's class may raise anything
        return f"(its text raises {type(another).__name__})"


def close_to(word: str, known: Sequence[str]) -> bool:
    """Whether `word` is hardly anything but a misspelt one of `known`."""
    from difflib import get_close_matches

    return bool(get_close_matches(word, known, n=1, cutoff=0.8))


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` for a close name, else the valid ones, else an empty string."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""
