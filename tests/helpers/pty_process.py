"""Running the real command line on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

from tests.helpers.cli_process import ABLATE
from tests.helpers.environment import environment
from tests.helpers.forked import Forked

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(
    *arguments: str,
    cwd: Path,
    columns: int = 100,
    lines: int = 40,
    color: bool = False,
    react: Callable[[str], object] = lambda text: None,
    env: dict[str, str] | None = None,
    fresh: bool = False,
) -> tuple[str, int]:
    """(everything written to a terminal of this size, exit code); control sequences removed
    unless `color`. `react` is told what was written so far, each time there is more. fresh: by an
    interpreter that starts with this environment."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    start = subprocess.Popen if fresh else Forked
    process = start(
        [*ABLATE, *arguments],
        cwd=cwd,
        env=environment(**(env or {})),
        stdin=follower,
        stdout=follower,
        stderr=follower,
        close_fds=True,
    )
    os.close(follower)
    chunks = []
    try:
        while chunk := os.read(leader, 65536):
            chunks.append(chunk)
            react(_CONTROL.sub("", b"".join(chunks).decode("utf-8", "ignore")))
    except OSError:  # Linux: the last writer has closed it
        pass
    os.close(leader)
    text = b"".join(chunks).decode("utf-8").replace("\r\n", "\n")
    return text if color else _CONTROL.sub("", text), process.wait(timeout=60)
