"""Processes that need not import torch: they are forked from one that has.

A fresh `ablate run` imports it twice, in the coordinator and in its worker, ten seconds together.
Here both are forked from one process that has imported everything and done nothing else, as ablate
itself forks its trials; what they then do is the real thing, with real signals and a real disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.helpers.cli_process import Done
from tests.helpers.environment import ROOT, environment
from tests.helpers.forked_worker import fork_workers

MAIN = "import sys\nfrom ablate.cli.main import main\nsys.exit(main(sys.argv[1:]))"


class Process:
    """A forked process; `wait` gives its exit code (negative: the signal), stdout and stderr."""

    def __init__(self, nest: Nest, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._nest, self._out, self._err = nest, out, err

    def running(self) -> bool:
        self._nest.listen(0)
        return self.pid not in self._nest.codes

    def wait(self, seconds: float = 120) -> Done:
        end = time.monotonic() + seconds
        while self.running():
            assert time.monotonic() < end, f"it hangs: {self._err.read_text()}"
            self._nest.listen(0.2)
        texts = (path.read_text("utf-8", "replace") for path in (self._out, self._err))
        return Done(self._nest.codes[self.pid], *texts)


class Nest:
    """The process that forks them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.nest"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(ROOT, OMP_NUM_THREADS="1"),
        )
        self.codes: dict[int, int] = {}
        self._pids: list[int] = []
        self._folder = Path(tempfile.mkdtemp(prefix="nest-"))
        self._buffer = b""

    def start(
        self, *arguments: str | Path, cwd: Path, code: str = MAIN, env: dict[str, str] | None = None
    ) -> Process:
        """Start `ablate ARGUMENTS` in a folder, or other code with these in `sys.argv`."""
        number = len(os.listdir(self._folder))
        out, err = (self._folder / f"{number}.{name}" for name in ("out", "err"))
        asked = {"code": code, "arguments": [str(a) for a in arguments], "cwd": str(cwd)}
        asked |= {"out": str(out), "err": str(err), "env": env or {}}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        while not self._pids:
            self.listen(1)
        return Process(self, self._pids.pop(), out, err)

    def run(self, *arguments: str | Path, **how: Any) -> Done:
        return self.start(*arguments, **how).wait()

    def listen(self, seconds: float) -> None:
        """Take in what the process says within so many seconds."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return
        data = os.read(self._process.stdout.fileno(), 1 << 16)
        assert data, "the process that forks is gone"
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in map(json.loads, lines):
            if "code" in line:
                self.codes[line["pid"]] = line["code"]
            else:
                self._pids.append(line["pid"])

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()
        for path in self._folder.iterdir():
            path.unlink()
        self._folder.rmdir()


def serve() -> None:
    from ablate.execution import trial_process

    trial_process.place_compiler("cpu")
    trial_process.preload()
    import ablate.cli.commands.run
    import ablate.index.database
    import ablate.planning.preflight
    import ablate.session.session  # noqa: F401 - imported for those who are forked

    say, children, buffer = os.dup(1), 0, b""
    os.dup2(2, 1)
    while True:
        if select.select([0], [], [], 0.02)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                pid = os.fork()
                if pid == 0:
                    os.close(say)
                    _become(json.loads(line))
                children += 1
                os.write(say, f'{{"pid": {pid}}}\n'.encode())
        while children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            children -= 1
            code = os.waitstatus_to_exitcode(status)
            os.write(say, f'{{"pid": {pid}, "code": {code}}}\n'.encode())


def _become(asked: dict[str, Any]) -> None:
    code = 70
    try:
        for number, name in ((1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ |= asked["env"]
        os.chdir(asked["cwd"])
        sys.argv = ["ablate", *asked["arguments"]]
        fork_workers()
        exec(compile(asked["code"], "asked", "exec"), {"__name__": "asked"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001 - as an interpreter would
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
