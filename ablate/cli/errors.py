"""How every error ends: one line and a hint on stderr, and an exit code."""

from __future__ import annotations

import contextlib
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ablate.errors import AblateError, Problem, StudyError, did_you_mean

if TYPE_CHECKING:
    from ablate.console.output import Line, Output

# typer may carry its own click, so click's classes are found through typer's.
USAGE_ERROR: Any = typer.BadParameter.__mro__[1]

# What typer's own checks say of values, in our words.
_PLAINER = {
    "Input should be a valid integer, unable to parse string as an integer":
        "expected a whole number",
    "Input should be a valid integer": "expected a whole number",
}  # fmt: skip

BUG = 70
REFUSED = 2
_LONGEST = 900  # characters of a line, without the place before it


def report_error(error: AblateError, output: Output) -> None:
    """Where, what, and what to do next, on stderr."""
    if isinstance(error, StudyError):
        for problem in error.problems:
            output.failure(*problem_lines(problem, source=output.err.interactive, hint=True))
        return
    where = (_one(error.where), "bold") if error.where else ("error", "failed")
    output.failure([(f"{where[0]}:", where[1]), (f" {_one(error.message)}", "")])
    output.failure(*_hint(error.hint))


def _one(text: str) -> str:
    """One line, and no more of what was typed than somebody reads."""
    from ablate.util.text import one_line

    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]}…{text[-300:]}"
    return one_line(cut)


def problem_lines(problem: Problem, *, source: bool, hint: bool) -> list[Line]:
    """One mistake of a study file: one line, then its source line and its hint if wanted."""
    from ablate.util.text import one_line, visible, width

    line = f":{problem.line}" if problem.line else ""
    key = f" {problem.key}:" if problem.key else ""
    text = f"{key} {problem.message}"
    lines: list[Line] = [[(f"{_one(problem.file)}{line}:", "bold"), (_one(text), "")]]
    if source and problem.source is not None and problem.source.strip():
        shown = problem.source.expandtabs(4)
        lines.append([(f"{problem.line:>5} │ ", "dim"), (one_line(shown), "")])
        if problem.span is not None:
            start, length = problem.span
            # what comes before may hold tabs, wide or escaped characters
            before = visible(problem.source[:start].expandtabs(4))
            marked = visible(problem.source[start : start + length])
            marks = " " * width(before) + "^" * max(1, width(marked))
            lines.append([("      │ ", "dim"), (marks, "failed")])
    return [*lines, *(_hint(problem.hint) if hint else ())]


def _hint(hint: str | None) -> list[Line]:
    return [f"  {_one(line)}" for line in (hint or "").splitlines()]


def usage_error(error: Any) -> AblateError:
    """What typer says about a command line, in our form."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "ablate"
    name = getattr(error, "option_name", None)
    message = error.format_message().rstrip(".")
    if name is not None and type(error).__name__ == "NoSuchOption":
        known = [opt for p in context.command.params for opt in p.opts] if context else []
        close = did_you_mean(name, known)
        message = f"no option '{name}'{close if 'did you mean' in close else ''}"
    elif message.startswith("No such command"):
        typed = message.split("'")[1] if "'" in message else message
        known = list(getattr(context.command, "commands", {})) if context else []
        message = f"no command '{typed}'{did_you_mean(typed, known)}"
    else:
        message = message[:1].lower() + message[1:]
        for said, meant in _PLAINER.items():
            message = message.replace(said, meant)
    return AblateError(message, hint=f"{command} --help")


def report_bug(error: BaseException, output: Output, store: Path) -> None:
    """What nobody expected: one line, the traceback in a file."""
    text = "".join(traceback.format_exception(error))
    saved = _save(text, store)
    frame = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frame[-1].filename).name}:{frame[-1].lineno}" if frame else ""
    where = f"; traceback saved in {saved}" if saved else ""
    output.failure([("bug:", "failed"), (f" {type(error).__name__}{place}{where}", "")])
    if output.verbose > 1 or saved is None:
        output.failure(*text.rstrip().splitlines())


def _save(text: str, store: Path) -> Path | None:
    """Where the traceback was written: a new file, through no link that somebody laid."""
    import os
    import secrets
    import tempfile

    name = f"crash-{datetime.now():%H%M}"  # noqa: DTZ005 - the clock on the person's wall
    data = f"{sys.argv}\n\n{text}".encode("utf-8", "backslashreplace")
    places = [store]
    with contextlib.suppress(OSError):  # where nothing can be written there is no such folder
        places.append(Path(tempfile.gettempdir()))
    for folder in places:
        try:
            if not folder.is_dir():
                continue
        except OSError:
            continue
        # The folder for temporary files is everybody's: there nobody shall guess the name.
        own = folder == store
        for end in ("", f"-{secrets.token_hex(4)}") if own else (f"-{secrets.token_hex(8)}",):
            path = folder / f"{name}{end}.txt"
            try:
                mode = 0o666 if own else 0o600
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
            except OSError:
                continue
            return path
    return None
