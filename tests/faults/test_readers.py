"""`report`, `status` and `query` while a study runs, from two processes at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.fault_runs import Cli, Process, Undisturbed, until
from tests.helpers.fault_table import Proved
from tests.helpers.spool_rows import Acknowledged, check_complete

pytestmark = pytest.mark.timeout(1800)

QUERY = "select count(*) as n, count(distinct (key, epoch, metric)) as each from epochs"
COMMANDS = (("report", "--json"), ("status", "--json"), ("query", QUERY, "--format", "csv"))


class Reader(threading.Thread):
    """Asks one after the other until the run is over; what went wrong, and the waits in s."""

    def __init__(self, cli: Cli, store: Path, run: Process, fresh: bool, first: int) -> None:
        super().__init__()
        self._cli, self._store, self._run_, self._fresh = cli, store, run, fresh
        self._first = first
        self.waits: list[float] = []
        self.wrong: list[str] = []
        self.done = [0]  # trials that `status` knew of

    def run(self) -> None:
        try:
            while self._run_.poll() is None:
                turn = (self._first + len(self.waits)) % len(COMMANDS)
                self._ask(*COMMANDS[turn])
                time.sleep(0 if self._fresh else 0.3)
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self.wrong.append(repr(error))

    def _ask(self, *command: str) -> None:
        began = time.monotonic()
        asked = self._cli.start(*command, "--store", str(self._store), fresh=self._fresh)
        code = asked.wait()
        self.waits.append(time.monotonic() - began)
        text = asked.text()
        if code != 0:
            self.wrong.append(f"{command}: {code}: {text}")
            return
        if command[0] == "status":
            statuses = json.loads(text)["studies"][0]["statuses"].values()
            self.done.append(sum(status == "done" for status in statuses))
        elif command[0] == "query":
            _, (all_, distinct) = (line.split(",") for line in text.split())
            if all_ != distinct:
                self.wrong.append(f"doubled rows: {text}")


def test_readers_never_fail_while_a_study_runs(
    cli: Cli, undisturbed: Callable[[int], Undisturbed], long: bool, proved: Proved
) -> None:
    study, whole = undisturbed(12 if long else 2)
    store = cli.folder / "read"
    run = cli.run(study, store, fresh=long)
    # Before a trial is done, `report` says that none is, and ends with 2.
    until(lambda: list(store.glob("trials/*/*/done.json")), "a trial that is done")
    readers = [Reader(cli, store, run, fresh=long, first=first) for first in (0, 1)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    wrong = [one for reader in readers for one in reader.wrong]
    assert wrong == []
    assert run.wait() == 0, run.text()
    for reader in readers:
        assert reader.done == sorted(reader.done), "a trial was done, and then was not"
    waits = [wait for reader in readers for wait in reader.waits]
    assert len(waits) >= 4
    check_complete(store, whole)
    acknowledged = Acknowledged(store)
    acknowledged.check_the_index()
    kind = "each a new process" if long else "each a fork of an imported one"
    proved(
        "runs", "`report`, `status` and `query` beside a run", f"from two processes, {kind}",
        len(waits), f"0 failures; at most {max(waits):.1f} s, start and end of it included",
    )  # fmt: skip
