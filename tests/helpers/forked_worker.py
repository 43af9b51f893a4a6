"""A worker that is forked from its coordinator, which need not import torch again for it.

The coordinator is itself forked from a process that has imported and done nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any


def fork_workers() -> None:
    """From now on the executor of this process forks its workers."""
    from ablate.execution import executor

    executor.subprocess = SimpleNamespace(  # type: ignore[attr-defined]
        Popen=ForkedWorker, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )


class ForkedWorker:
    """As much of `subprocess.Popen` as the executor uses; the process is a fork of this one."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        start_new_session: bool,
        pass_fds: Sequence[int],
        **_: Any,
    ) -> None:
        assert start_new_session
        theirs, ours = os.pipe()
        our_events, their_events = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            with ending():
                os.setsid()
                os.dup2(theirs, 0)
                os.dup2(their_events, 1)
                first = 3
                for kept in (*sorted(pass_fds), 1 << 10):
                    os.closerange(first, kept)
                    first = kept + 1
                # As a new program has them: what is ignored stays so.
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
                    if signal.getsignal(number) != signal.SIG_IGN:
                        signal.signal(number, signal.SIG_DFL)
                os.environ.clear()
                os.environ.update(env)
                sys.orig_argv = list(command)
                from ablate.execution import trainer

                os._exit(
                    trainer.main(list(command[command.index("ablate.execution.trainer") + 1 :]))
                )
        os.close(theirs)
        os.close(their_events)
        self.stdin, self.stdout = os.fdopen(ours, "wb"), os.fdopen(our_events, "rb")
        self.returncode: int | None = None
        self._waiting = threading.Lock()

    def poll(self) -> int | None:
        with self._waiting:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float = 3600) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("worker", timeout)
            time.sleep(0.005)
        return code


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Whatever happens inside, a child never goes on with what its parent does."""
    try:
        yield
    except SystemExit as error:
        os._exit(error.code if isinstance(error.code, int) else 1)
    except BaseException:  # noqa: BLE001 - it is this process's last
        import traceback

        traceback.print_exc()
    os._exit(70)
