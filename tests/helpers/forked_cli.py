"""The command line without its imports: a process that has made them forks one for each command.

    python -m tests.helpers.forked_cli

`python -m ablate run` spends ten seconds of processor on importing torch, twice: in the process
that coordinates and in the one that trains. Here both are forked from a process that has imported
and done nothing else; what they do from there on is what the command does.

Requests come as JSON lines on stdin: {"arguments", "folder", "output"}, the last a file for stdout
and stderr; or {"ingest", "flag", …}: a process that takes the store `ingest` into its database over
and over, and says in the file `flag` what it does: b"i" inside a transaction, b"r" while it makes
the database anew, else b"-". Each is answered by {"pid"}; when it has ended comes {"pid", "code",
"cpu"}: codes as `subprocess` has them, seconds with those of its children. End of file ends all.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ablate.errors import AblateError
from tests.helpers.forked_worker import ending, fork_workers


def _start(request: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    with ending():
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        output = os.open(request["output"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
        for descriptor, place in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(descriptor, place)
        os.closerange(3, 1 << 10)
        os.chdir(request["folder"])
        if "ingest" in request:
            _ingest(Path(request["ingest"]), Path(request["flag"]))
        from ablate.cli.main import main

        fork_workers()
        code = main(request["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise AssertionError


def _ingest(store: Path, flag: Path) -> None:
    from ablate.index import database

    descriptor = os.open(flag, os.O_CREAT | os.O_RDWR, 0o644)

    def flagged(letter: bytes, act: Any) -> Any:
        def call(*arguments: Any) -> Any:
            before = os.pread(descriptor, 1, 0)
            os.pwrite(descriptor, letter, 0)
            try:
                return act(*arguments)
            finally:
                os.pwrite(descriptor, before, 0)

        return call

    os.pwrite(descriptor, b"-", 0)
    database.insert = flagged(b"i", database.insert)
    database._rebuild = flagged(b"r", database._rebuild)
    for turn in itertools.count(1):
        with contextlib.suppress(AblateError):  # another is at it
            database.ingest(store) if turn % 5 else database.reindex(store)
        time.sleep(0.02)


def _import() -> None:
    """All that the commands import, and nothing done."""
    import duckdb  # noqa: F401

    import ablate.cli.commands.query
    import ablate.cli.commands.report
    import ablate.cli.commands.run
    import ablate.cli.commands.status
    import ablate.cli.lazy
    import ablate.cli.training_stages
    import ablate.console.log_view
    import ablate.planning.preflight
    import ablate.report.tables.build
    import ablate.session.session  # noqa: F401
    from ablate.execution import trial_process

    trial_process.preload()


def main() -> None:
    _import()
    gc.freeze()
    print(json.dumps({"pid": os.getpid()}), flush=True)
    running: set[int] = set()
    buffer = b""
    while True:
        if select.select([0], [], [], 0.02)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                break
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                running.add(pid := _start(json.loads(line)))
                print(json.dumps({"pid": pid}), flush=True)
        while running:
            pid, status, used = os.wait4(-1, os.WNOHANG)
            if not pid:
                break
            running.discard(pid)
            code, cpu = os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
            print(json.dumps({"pid": pid, "code": code, "cpu": cpu}), flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
