"""`ablate logs`: what a trial wrote."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Options
from ablate.console.tracker import WORDS, WRONG, in_words
from ablate.errors import AblateError
from ablate.store import attempt_reader, log_file
from ablate.store.log_file import MOST
from ablate.util.files import moment, open_plain
from ablate.util.text import duration, one_line

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.store.store import Store, TrialState

HELP = """\
Print the log of one trial: its last attempt.

Usage: ablate logs TRIAL [options]
Example    ablate logs 7c1e04
           ablate logs group1:mixup/imagewoof/1

TRIAL is the start of a key, or study:row/dataset/seed; the row is a trick's name or a number.

           --attempt N          an earlier attempt, from 1
           --follow             go on printing until the trial ends
           --path               print only where the log file is
"""

_BLOCK = 1 << 20  # bytes read at once: a log may be larger than memory
_LISTED = 3  # trials that are offered where none is named


@command("logs", HELP)
def logs(
    options: Options,
    trial: Annotated[str | None, typer.Argument(metavar="TRIAL")] = None,
    attempt: Annotated[int | None, typer.Option("--attempt")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    path: Annotated[bool, typer.Option("--path")] = False,
) -> None:
    """Print it."""
    from ablate.store.store import Store

    output = options.output()
    store = Store.open(options.store_path, create=False)
    if trial is None:
        raise AblateError("which trial?", hint=_offered(store, options))
    try:
        key = find_trial(store, trial)
    except AblateError as error:
        if ":" in trial:
            raise
        raise AblateError(error.message, hint=_offered(store, options)) from error
    attempts = attempt_reader.attempts(store.path, key)
    if not attempts:
        raise AblateError(f"{key[:6]} {store.label(key)} has not been started yet")
    number = len(attempts) if attempt is None else attempt
    if not 1 <= number <= len(attempts):
        raise AblateError(
            f"{key[:6]} {store.label(key)} has no attempt {number}",
            hint=f"--attempt 1 to {len(attempts)}" if len(attempts) > 1 else "it has only one",
        )
    file = attempts[number - 1] / log_file.NAME
    if path:
        output.path(file)
        return
    state = store.state(key)
    if output.json:
        output.document(
            {
                "key": key,
                "label": store.label(key),
                "status": _status(attempts, number, state),
                "message": _message(attempts[number - 1]),
                "attempt": number,
                "attempts": len(attempts),
                "path": str(file),
                **_lines(file),
            }
        )
        return
    _head(output, store, key, state, attempts, number)
    reader = Reader(file)
    _show(output, reader)
    while follow and number == len(attempts) and store.state(key).status == "running":
        time.sleep(0.5)
        _show(output, reader)
    _show(output, reader, rest=True)
    _foot(output, attempts[number - 1], key)


def find_trial(store: Store, address: str) -> str:
    """The key of "7c1e04" or "group1:mixup/imagewoof/1". Raises AblateError."""
    from ablate.report.tables.address import row_address
    from ablate.session.lookup import from_store

    if ":" not in address:
        return store.find(address)
    resolved = from_store(address.partition(":")[0], store).resolved
    keys = row_address(resolved, address)
    if len(keys) > 1:
        few = " · ".join(f"{key[:6]} {resolved.labels[key]}" for key in keys[:3])
        more = f" · {len(keys) - 3} more" if len(keys) > 3 else ""
        raise AblateError(f"'{address}' is {len(keys)} trials: {few}{more}")
    return keys[0]


def _offered(store: Store, options: Options) -> str:
    """Commands that print a log: of trials that failed, else that run, else of the latest."""
    import shlex

    states = store.states(store.keys())
    begun = [key for key, state in states.items() if state.attempt]
    wrong = [key for key in begun if states[key].status in WRONG]
    running = [key for key in begun if states[key].status == "running"]
    wanted = sorted(wrong or running or begun, key=lambda key: states[key].attempt or "")
    lines = []
    for key in reversed(wanted[-_LISTED:]):
        typed = shlex.join(["ablate", "logs", key[:6], *options.places()])
        told = in_words(states[key].status, states[key].message)
        lines.append(one_line(f"{typed}      {store.label(key)}: {told}"))
    return "\n".join(lines) or "nothing is stored yet: ablate run STUDY"


def _status(attempts: list[Path], number: int, state: TrialState) -> str:
    """Of the attempt: the trial's own, unless it is an earlier one."""
    if number == len(attempts):
        return state.status
    end = attempt_reader.ending(attempts[number - 1])
    return str(end["status"]) if end else "interrupted"


def _message(attempt: Path) -> str:
    return str((attempt_reader.ending(attempt) or {}).get("message", ""))


def _head(
    output: Output, store: Store, key: str, state: TrialState, attempts: list[Path], number: int
) -> None:

    parts = [store.label(key), f"attempt {number} of {len(attempts)}"]
    took = _seconds(attempts[number - 1])
    status = _status(attempts, number, state)
    ended = WORDS.get(status, status)
    parts.append(f"{ended} after {duration(took)}" if took is not None else ended)
    more = "--attempt N, " if len(attempts) > 1 else ""
    output.note([(" · ".join(parts), "bold"), (f"      ({more}--follow, --path)", "dim")])


def _foot(output: Output, attempt: Path, key: str) -> None:
    """Why it failed: last, where it is read first, also if its process could not write it."""
    end = attempt_reader.ending(attempt)
    if end is not None and end["status"] in WRONG:
        told = in_words(end["status"], str(end.get("message", "")))
        output.note([("✗", "failed"), (f" {key[:6]} {one_line(told)}", "")])


def _seconds(attempt: Path) -> float | None:
    end = attempt_reader.ending(attempt)
    if end is None:
        return None
    begin, finish = moment(end.get("started")), moment(end.get("finished"))
    return (finish - begin).total_seconds() if begin and finish else None


class Reader:
    """Reads what is new of a log, piece by piece: a line that is not whole yet is left for later,
    unless it is longer than a piece."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._place = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def new(self, *, rest: bool = False) -> Iterator[str]:
        """Pieces of text from where it is; rest: the last line also if it is not whole."""
        while True:
            try:
                with open_plain(self._file) as opened:
                    size = opened.seek(0, 2)
                    self._place = min(self._place, size)  # its middle was left out meanwhile
                    opened.seek(self._place)
                    data = opened.read(_BLOCK)
            except OSError:  # not written yet
                return
            whole = data.rfind(b"\n") + 1
            if whole == 0 and (rest or len(data) == _BLOCK):
                whole = len(data)
            if whole == 0:
                return
            self._place += whole
            yield self._decoder.decode(data[:whole])


def _lines(file: Path) -> dict[str, object]:
    """A log's lines; of one that is too long to be one document, the last ones."""
    try:
        with open_plain(file) as opened:
            skipped = max(0, opened.seek(0, 2) - MOST)
            opened.seek(skipped)
            data = opened.read(MOST)
    except OSError:
        return {"lines": [], "bytes_left_out": 0}
    return {"lines": data.decode("utf-8", "replace").splitlines(), "bytes_left_out": skipped}


def _show(output: Output, reader: Reader, *, rest: bool = False) -> None:
    for text in reader.new(rest=rest):
        # colours of other people's output are control characters too: shown, not obeyed
        output.result(*text.splitlines())
