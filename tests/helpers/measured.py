"""A process of its own with a limit on its memory, and how much of it it took, as the kernel says.

A process that is forked begins with its parent's peak, so that a small one starts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tests.helpers.environment import environment

_LAUNCHER = """
import json, os, resource, subprocess, sys
limit, command = int(sys.argv[1]), sys.argv[2:]
def limited():
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
done = subprocess.Popen(command, preexec_fn=limited, stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT)
said = done.stdout.read()
_, status, usage = os.wait4(done.pid, 0)
done.returncode = os.waitstatus_to_exitcode(status)
print(json.dumps([done.returncode, usage.ru_maxrss * 1024, said.decode("utf-8", "replace")]))
"""


class Measured(NamedTuple):
    """How it ended; bytes that were in memory at most; what it printed."""

    returncode: int
    peak: int
    text: str


def measured(
    *command: str | Path, cwd: Path, limit: int, env: dict[str, str] | None = None
) -> Measured:
    """A command that may have `limit` bytes of addresses, so that no fault takes the machine."""
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, str(limit), *map(str, command)],
        cwd=cwd, env=environment(**(env or {})), capture_output=True, text=True, timeout=240,
        check=True,
    )  # fmt: skip
    return Measured(*json.loads(done.stdout))


def measured_code(
    code: str, *arguments: str | Path, cwd: Path, limit: int, env: dict[str, str] | None = None
) -> Measured:
    """Code with these in `sys.argv`."""
    return measured(sys.executable, "-c", code, *arguments, cwd=cwd, limit=limit, env=env)
