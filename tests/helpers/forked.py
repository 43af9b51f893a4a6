"""Python programs without their imports: one process has made them, and forks one for each.

`ablate run` spends ten seconds of processor on importing torch twice, in the process that
coordinates and in the one that trains. `Forked` is `subprocess.Popen` for commands of this Python;
its processes are forked from one that has imported everything and done nothing else, as ablate
itself forks its trials. What they do from there on is what the command does, with its own session,
streams, folder, environment and signals; what happens before that (an interpreter that starts, its
encodings, `PYTHON…` but `PYTHONPATH`) is not, and tests of it use `subprocess`.

A forked command forks its workers in turn, unless `real_workers`; one that runs in the process of
the tests has its workers from here too (`workers_are_forked`).
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import gc
import json
import os
import random
import runpy
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.environment import ROOT, environment
from tests.helpers.forked_worker import fork_workers

MARK = "ABLATE_TESTS_FORKED"  # in the environment of whatever is forked, as the system tells it
_HIGH = 500  # descriptors from here on are where a child keeps what it was sent


class Forked(subprocess.Popen[Any]):
    """A command `[sys.executable, …]`: a module, code or a script, with what these are given.

    closed: streams that it does not have. cores: how many it may use. Its processor time, in
    seconds, with that of its children, is `cpu` when it has ended.
    """

    def __init__(
        self,
        command: Sequence[Any],
        *,
        closed: Sequence[int] = (),
        cores: int | None = None,
        real_workers: bool = False,
        **how: Any,
    ) -> None:
        self._asked = {"closed": closed, "cores": cores, "real_workers": real_workers}
        self.cpu = 0.0
        super().__init__(command, **how)

    def _execute_child(  # type: ignore[override]
        self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any,
        cwd: Any, env: Any, startupinfo: Any, creationflags: Any, shell: Any,
        p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int,
        restore_signals: Any, gid: Any, gids: Any, uid: Any, umask: Any, start_new_session: Any,
        *_: Any,
    ) -> None:  # fmt: skip
        assert not shell
        assert preexec_fn is None
        words = [os.fsdecode(word) for word in args]
        assert words[0] == sys.executable
        streams = [
            given if given != -1 else own for own, given in enumerate((p2cread, c2pwrite, errwrite))
        ]
        self._ended, ending = os.pipe()
        variables = os.environ if env is None else env
        asked = self._asked | {
            "words": words[1:],
            "cwd": os.fsdecode(cwd) if cwd else os.getcwd(),
            "env": {os.fsdecode(k): os.fsdecode(v) for k, v in variables.items()},
            "session": bool(start_new_session),
            "targets": list(pass_fds),
        }
        self.pid = server().fork(asked, [ending, *streams, *pass_fds])
        os.close(ending)
        devnull = getattr(self, "_devnull", None)
        for theirs, ours in ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread)):
            if theirs != -1 and ours != -1 and theirs != devnull:
                os.close(theirs)
        if devnull is not None:
            os.close(devnull)
        self._closed_child_pipe_fds = True
        self._child_created = True

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        """Its exit code, if it has ended; another thread may be asking too."""
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):
            try:
                if self.returncode is None and select.select([self._ended], [], [], 0)[0]:
                    said = os.read(self._ended, 64).split()
                    os.close(self._ended)
                    self.cpu = float(said[1]) if said else 0.0
                    self.returncode = int(said[0]) if said else -signal.SIGKILL
            finally:
                self._waitpid_lock.release()
        return self.returncode

    def _wait(self, timeout: float | None) -> int:  # type: ignore[override]
        end = None if timeout is None else time.monotonic() + timeout
        while self._internal_poll() is None:
            if end is not None and time.monotonic() > end:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout)
            left = 1.0 if end is None else min(1.0, max(0.0, end - time.monotonic()))
            with contextlib.suppress(OSError, ValueError):  # another thread has seen the end
                select.select([self._ended], [], [], left)
        assert self.returncode is not None
        return self.returncode


def run(
    command: Sequence[Any],
    *,
    capture_output: bool = False,
    check: bool = False,
    timeout: float = 120,
    **how: Any,
) -> subprocess.CompletedProcess[Any]:
    """As `subprocess.run`."""
    if capture_output:
        how |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Forked(command, **how) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def workers_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what runs in this process: the executor starts its workers from here."""
    from ablate.execution import executor

    forked = SimpleNamespace(
        Popen=Forked, PIPE=subprocess.PIPE, TimeoutExpired=subprocess.TimeoutExpired
    )
    monkeypatch.setattr(executor, "subprocess", forked)


class Server:
    """The process that forks, as those see it who ask."""

    def __init__(self) -> None:
        self.mark = secrets.token_hex(8)
        self._socket, theirs = socket.socketpair()
        self._asking = threading.Lock()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.helpers.forked", str(theirs.fileno())],
                env=environment(ROOT, OMP_NUM_THREADS="1", **{MARK: self.mark}),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def fork(self, asked: dict[str, Any], descriptors: Sequence[int]) -> int:
        """The new process, when it has its session and its streams."""
        data = json.dumps(asked).encode()
        sent = array.array("i", descriptors)
        with self._asking:
            head = f"{len(data):8}".encode()
            self._socket.sendmsg([head], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sent)])
            self._socket.sendall(data)
            answer = self._socket.recv(8)
        assert answer, "the process that forks is gone"
        return int(answer)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(timeout=30)


@cache
def server() -> Server:
    """The one of this process, made when it is first needed."""
    return Server()


def close() -> None:
    """End it, and whatever it has forked, if there is one."""
    if server.cache_info().currsize:
        server().close()
        server.cache_clear()


# ---------------------------------------------------------------------------- in the other process


def serve(descriptor: int) -> None:
    """Fork what is asked for until the socket closes, then end what lives."""
    _import()
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever runs the tests
    exits, exits_end = os.pipe()
    os.set_blocking(exits_end, False)
    signal.set_wakeup_fd(exits_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    running: dict[int, int] = {}  # process → where its end is told
    with socket.socket(fileno=descriptor) as asking:
        while True:
            readable, _, _ = select.select([asking, exits], [], [])
            if exits in readable:
                os.read(exits, 1 << 12)
            if asking in readable:
                size = array.array("i")
                head, more, *_ = asking.recvmsg(8, socket.CMSG_SPACE(16 * size.itemsize))
                if not head:
                    break
                for _, _, sent in more:
                    size.frombytes(sent)
                asked = json.loads(_exactly(asking, int(head)))
                told, *given = size
                pid = _fork(asked, given)
                running[pid] = told
                for each in given:
                    os.close(each)
                asking.sendall(f"{pid:8}".encode())
            while running:
                pid, status, used = os.wait4(-1, os.WNOHANG)
                if not pid:
                    break
                told = running.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(BrokenPipeError):
                    os.write(told, f"{code} {used.ru_utime + used.ru_stime}".encode())
                os.close(told)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _exactly(asking: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        data += asking.recv(size - len(data))
    return data


def _fork(asked: dict[str, Any], given: Sequence[int]) -> int:
    ready, ready_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        with _ending():
            _become(asked, given, ready_end)
    os.close(ready_end)
    os.read(ready, 1)
    os.close(ready)
    return pid


def _become(asked: dict[str, Any], given: Sequence[int], ready: int) -> None:
    if asked["session"]:
        os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else `nohup nox` would be part of each test
    kept = [fcntl.fcntl(each, fcntl.F_DUPFD, _HIGH) for each in (*given, ready)]
    os.closerange(3, _HIGH)
    for each, target in zip(kept, (0, 1, 2, *asked["targets"]), strict=False):
        os.dup2(each, target)
    for each in kept[:-1]:
        os.close(each)
    for number in asked["closed"]:
        os.close(number)
    _open_streams(asked["closed"], asked["env"])
    os.write(kept[-1], b"x")
    os.close(kept[-1])
    if asked["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["cwd"])
    random.seed()
    tempfile.tempdir = None
    if not asked["real_workers"]:
        fork_workers()
    _program(asked["words"])


def _open_streams(closed: Sequence[int], env: Mapping[str, str]) -> None:
    """As an interpreter does that is told PYTHONUTF8=1."""
    unbuffered = "PYTHONUNBUFFERED" in env
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = None
        if number not in closed:
            stream = open(  # noqa: SIM115 - as long as the process
                number,
                "w" if number else "r",
                encoding="utf-8",
                errors="backslashreplace" if number == 2 else "surrogateescape",
                newline="\n",
                closefd=False,
            )
            if number:
                lines = number == 2 or stream.isatty()
                stream.reconfigure(line_buffering=lines, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _program(words: list[str]) -> None:
    """What the interpreter does with its arguments."""
    sys.orig_argv = [sys.executable, *words]
    here = [""]
    if words[0] == "-P":
        here, words = [], words[1:]
    kind, rest = words[0], words[1:]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    if kind == "-m" and rest[0] == "ablate.execution.trainer":
        from ablate.execution import trainer

        sys.exit(trainer.main(rest[1:]))
    if kind == "-m":
        sys.path[:0] = [os.getcwd()] if here else []
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.path[:0] = here
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
        sys.argv = words
        runpy.run_path(kind, run_name="__main__")


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """However the program ends, this process ends as an interpreter does."""
    code = 0
    try:
        yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if code and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # noqa: BLE001 - it is this process's last
        traceback.print_exc()
        code = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)


def _import() -> None:
    """All that commands import, and nothing done."""
    from ablate.execution import trial_process

    trial_process.place_compiler("cpu")
    trial_process.preload()
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


if __name__ == "__main__":
    serve(int(sys.argv[1]))
