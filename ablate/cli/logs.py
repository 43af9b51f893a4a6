"""`ablate logs`: what a trial wrote."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.options import Options

if TYPE_CHECKING:
    from ablate.console.output import Output
    from ablate.store import Store, TrialState

HELP = """\
Print the log of one trial: its last attempt.

Usage: ablate logs TRIAL [options]
Example    ablate logs 7c1e04
           ablate logs group1:mixup/imagewoof/1

TRIAL is the start of a key, or study:row/dataset/seed; the row is a trick's name or a number.

           --follow             go on printing until the trial ends
           --path               print only where the log file is
"""


@command("logs", HELP)
def logs(
    options: Options,
    trial: Annotated[str, typer.Argument(metavar="TRIAL")],
    follow: Annotated[bool, typer.Option("--follow", "-f")] = False,
    path: Annotated[bool, typer.Option("--path")] = False,
) -> None:
    """Print it."""
    from ablate import spool
    from ablate.errors import AblateError
    from ablate.store import Store

    output = options.output()
    store = Store.open(options.store_path, create=False)
    key = find_trial(store, trial)
    attempts = spool.attempts(store.path, key)
    if not attempts:
        raise AblateError(f"{key[:6]} {store.label(key)} has not been started yet")
    file = attempts[-1] / "log.txt"
    if path:
        output.raw(str(file))
        return
    state = store.state(key)
    if output.json:
        output.document(
            {
                "key": key,
                "label": store.label(key),
                "status": state.status,
                "attempts": len(attempts),
                "path": str(file),
                "lines": _read(file, 0)[0].splitlines(),
            }
        )
        return
    _head(output, store, key, state, attempts)
    text, place = _read(file, 0)
    _show(output, text)
    while follow and store.state(key).status == "running":
        time.sleep(0.5)
        text, place = _read(file, place)
        _show(output, text)
    if follow:
        _show(output, _read(file, place)[0])


def find_trial(store: Store, address: str) -> str:
    """The key of "7c1e04" or "group1:mixup/imagewoof/1". Raises AblateError."""
    from ablate.errors import AblateError
    from ablate.lookup import from_store
    from ablate.report.address import row_address

    if ":" not in address:
        return store.find(address)
    resolved = from_store(address.partition(":")[0], store).resolved
    keys = row_address(resolved, address)
    if len(keys) > 1:
        few = " · ".join(f"{key[:6]} {resolved.labels[key]}" for key in keys[:3])
        more = f" · {len(keys) - 3} more" if len(keys) > 3 else ""
        raise AblateError(f"'{address}' is {len(keys)} trials: {few}{more}")
    return keys[0]


def _head(output: Output, store: Store, key: str, state: TrialState, attempts: list[Path]) -> None:
    from ablate.console.text import duration
    from ablate.console.tracking import WORDS

    number = len(attempts)
    parts = [store.label(key), f"attempt {number} of {number}"]
    took = _seconds(attempts[-1])
    ended = WORDS.get(state.status, state.status)
    parts.append(f"{ended} after {duration(took)}" if took is not None else ended)
    output.note([(" · ".join(parts), "bold"), ("      (--follow, --path)", "dim")])


def _seconds(attempt: Path) -> float | None:
    from datetime import datetime

    from ablate import spool

    end = spool.ending(attempt)
    if end is None:
        return None
    try:
        begin, finish = (datetime.fromisoformat(str(end[name])) for name in ("started", "finished"))
    except (KeyError, ValueError):
        return None
    return (finish - begin).total_seconds()


def _read(file: Path, place: int) -> tuple[str, int]:
    """Text from byte `place` on, up to the last whole line, and where to read on."""
    try:
        with file.open("rb") as opened:
            opened.seek(place)
            data = opened.read()
    except OSError:  # not written yet
        return "", place
    whole = data.rfind(b"\n") + 1
    return data[:whole].decode("utf-8", "replace"), place + whole


def _show(output: Output, text: str) -> None:
    # colours of other people's output are control characters too: shown, not obeyed
    output.result(*text.splitlines())
