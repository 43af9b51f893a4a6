"""A shell with job control on a terminal of its own, as a person has it, and what runs in it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.helpers.environment import environment

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CURSOR = re.compile(r"\x1b\[\?25([hl])")
CTRL_C, CTRL_Z = "\x03", "\x1a"


class Shell:
    """`bash -i`. `text`: what it and its jobs have written, without control sequences."""

    def __init__(self, cwd: Path, **env: str) -> None:
        self.written = ""
        self.pid, self._leader = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored under `nohup nox`
            variables = environment(OMP_NUM_THREADS="1", TERM="xterm", PS1="$ ", **env)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "-i"], variables)

    @property
    def text(self) -> str:
        self._read(0)
        return _CONTROL.sub("", self.written)

    @property
    def cursor_is_shown(self) -> bool:
        self._read(0)
        said = _CURSOR.findall(self.written)
        return not said or said[-1] == "h"

    def type(self, text: str) -> None:
        """Keys, as they are."""
        os.write(self._leader, text.encode())

    def until(self, holds: Callable[[], object], what: str, seconds: float = 60) -> None:
        """Wait, and read meanwhile: a terminal that nobody reads holds its writers up."""
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, f"waited {seconds:g} s for {what}:\n{self.text[-3000:]}"
            self._read(0.02)

    def says(self, text: str, after: int = 0) -> int:
        """Wait for a text behind so many characters; where it ends."""
        self.until(lambda: text in self.text[after:], f"{text!r}")
        return self.text.index(text, after) + len(text)

    def hang_up(self) -> None:
        """The connection is gone: nobody has the terminal's other end any more."""
        os.close(self._leader)
        self._leader = -1

    def _read(self, seconds: float) -> None:
        while self._leader >= 0 and select.select([self._leader], [], [], seconds)[0]:
            try:
                chunk = os.read(self._leader, 65536)
            except OSError:  # Linux: the last writer has closed it
                return
            if not chunk:
                return
            self.written += chunk.decode("utf-8", "replace")
            seconds = 0

    def close(self) -> None:
        if self._leader >= 0:
            self.hang_up()
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def shell(cwd: Path, **env: str) -> Iterator[Shell]:
    """One, closed afterwards."""
    opened = Shell(cwd, **env)
    try:
        yield opened
    finally:
        opened.close()


def state(pid: int) -> str:
    """As the kernel tells it: "T" stopped, "S" waits, "R" runs, "" gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
