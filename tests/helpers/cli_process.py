"""Running the real command line: in a process of its own, or in this one, which is faster."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.helpers import forked
from tests.helpers.environment import environment

ABLATE = [sys.executable, "-c", "import sys; from ablate.cli.main import main; sys.exit(main())"]


class Done(NamedTuple):
    """How a command ended in this process."""

    returncode: int
    stdout: str
    stderr: str


Cli = Callable[..., Done]

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 2
stack    = ["warmup", "mixup"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8

[tricks]
warmup = { epochs = 0.5 }
"""


def run_cli(
    *arguments: str | Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    fresh: bool = False,
) -> subprocess.CompletedProcess[str]:
    """The real command line in a process of its own; fresh: one that has imported nothing yet."""
    how = {"cwd": cwd, "env": environment(**(env or {})), "capture_output": True, "timeout": 120}
    start = subprocess.run if fresh else forked.run
    return start([*ABLATE, *map(str, arguments)], text=True, encoding="utf-8", **how)


def run_code(code: str, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Code with these in `sys.argv`, in a process of its own that need not import anything."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    how = {"cwd": cwd, "env": environment(), "capture_output": True}
    return forked.run(command, text=True, encoding="utf-8", **how)


def run_here(*arguments: str | Path, cwd: Path) -> Done:
    """The command line in this process, which has imported torch: for what is no matter of one."""
    from ablate.cli.main import main

    outside, folder = dict(os.environ), Path.cwd()
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    try:
        os.environ.clear()
        os.environ.update(environment())
        os.chdir(cwd)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(outside)
    for stream in (out, err):
        stream.seek(0)
    return Done(code, out.read(), err.read())
