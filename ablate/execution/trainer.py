"""The process that trains, `python -P -m ablate.execution.trainer`, which the runner speaks to.

Requests come as JSON lines on stdin, events leave as JSON lines on stdout. Two ways of isolating
trials (docs/design.md, Isolation):

- `--fork` (CPU): a server that has imported torch and done nothing else forks a child per trial.
- `--warm DEVICE` (GPU, or where there is no fork): trials run one after another in this process,
  which leaves as soon as one ended otherwise than `done` or left something behind.

Both end when stdin closes: a killed coordinator leaves no orphan.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from ablate.util import heartbeat
from ablate.util.beneath import above
from ablate.util.package_metadata import tolerate_unreadable

Emit = Callable[..., None]


class Events:
    """Writes events as lines; several processes share the pipe, so a line is one write."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def emit(self, event: str, **fields: Any) -> None:
        """One event; long messages are cut so that the write stays atomic (PIPE_BUF)."""
        if len(str(fields.get("message", ""))) > 1500:
            fields["message"] = str(fields["message"])[:1500] + " …"
        line = json.dumps({"event": event, **fields}) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except BrokenPipeError:  # the coordinator is gone, and so are we
            os._exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Serve until stdin closes."""
    parser = argparse.ArgumentParser(prog="python -m ablate.execution.trainer")
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--fork", action="store_true")
    mode.add_argument("--warm", metavar="DEVICE")
    parser.add_argument("--most", type=int, default=50, help="trials before a warm worker leaves")
    parser.add_argument("--board", type=int, metavar="DESCRIPTOR", help="of the runner's page")
    options = parser.parse_args(arguments)
    tolerate_unreadable()
    from ablate.execution import trial_process

    trial_process.place_compiler("cpu" if options.fork else options.warm)
    # Events keep the real stdout; whatever a library prints goes to stderr.
    events = Events(above(os.dup(1)))
    os.dup2(2, 1)
    if options.board is not None:
        heartbeat.here.share(options.board)
        os.close(options.board)
    _die_with_parent()
    # Stacks go where messages go, a trial's log: of a process that dies in C, and when the runner
    # asks for them. Neither needs Python to run.
    faulthandler.enable(file=2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=True)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to translate
    if options.fork:
        return ForkServer(events).serve()
    return serve_warm(options.warm, options.most, events)


class ForkServer:
    """Forks one child per trial. Single-threaded, so that forking is safe."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._children: dict[int, int] = {}  # process → request id
        # Children see the end of file on this pipe when the server is gone, however it went.
        self._life, self._life_end = (above(descriptor) for descriptor in os.pipe())

    def serve(self) -> int:
        """Read requests until stdin closes, then end the children."""
        from ablate.execution import trial_process

        trial_process.preload()
        self._events.emit("ready", pid=os.getpid(), device="cpu")
        self._wake_on_exit()
        buffer = b""
        while True:
            readable, _, _ = select.select([0, self._exits], [], [])
            if self._exits in readable:
                os.read(self._exits, 1 << 12)
            if 0 in readable:
                chunk = os.read(0, 1 << 16)
                if not chunk:
                    break
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    self._handle(json.loads(line))
            self._reap()
        for pid in self._children:
            os.killpg(pid, signal.SIGKILL)
        return 0

    def _wake_on_exit(self) -> None:
        """Let a child's end be readable: the next trial waits for it, and polling would cost it."""
        self._exits, self._exits_end = (above(descriptor) for descriptor in os.pipe())
        os.set_blocking(self._exits_end, False)
        signal.set_wakeup_fd(self._exits_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _handle(self, request: dict[str, Any]) -> None:
        if request["op"] == "stop":
            for pid, id_ in self._children.items():
                if request.get("id", id_) == id_:
                    os.kill(pid, signal.SIGTERM)
        elif request["op"] == "train":
            if request["trial"]["numerics"]["compiled"]:
                from ablate.execution import trial_process

                trial_process.preload_compiler()
            # No collection in a child touches, and so copies, what the server has imported.
            gc.freeze()
            pid = os.fork()
            if pid == 0:
                self._child(request)
            # Also here, so that it is one before anybody ends it.
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            self._children[pid] = request["id"]

    def _child(self, request: dict[str, Any]) -> None:
        code = 70
        try:
            from ablate.execution import trial_process

            os.setpgid(0, 0)  # what a trick starts ends with its trial
            _die_with_parent()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (self._life_end, self._exits, self._exits_end):
                os.close(descriptor)
            devnull = os.open(os.devnull, os.O_RDONLY)
            os.dup2(devnull, 0)
            _exit_with(self._life)
            stop = threading.Event()
            signal.signal(signal.SIGTERM, lambda *_: stop.set())
            trial_process.run(request, self._events.emit, stop.is_set)
            code = 0
        finally:
            # Skip interpreter shutdown: nothing of the server's may run twice.
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self._children:  # else some library's
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):  # what a trick has started and left
                    os.killpg(pid, signal.SIGKILL)
                self._events.emit("exited", id=self._children.pop(pid), code=code)


def _die_with_parent() -> None:
    """Have the system end this process when the one that started it is gone, whatever it hangs in.
    Linux only; elsewhere threads that wait for it do so, in a process that runs Python."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        set_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _exit_with(descriptor: int) -> None:
    """End this process when nobody holds the other end of the pipe any more."""

    def watch() -> None:
        with contextlib.suppress(OSError):  # a trick has closed it
            while os.read(descriptor, 1):
                pass
            os._exit(1)

    threading.Thread(target=watch, daemon=True, name="life").start()


def serve_warm(device: str, most: int, events: Events) -> int:
    """Train one after another in this process."""
    from ablate.core.trial import Numerics
    from ablate.execution import trial_process
    from ablate.execution.state_guard import Sentinel

    requests: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    stop = threading.Event()
    busy = threading.Event()
    current = 0  # the trial that is being trained

    def read() -> None:
        for line in sys.stdin:
            request = json.loads(line)
            if request["op"] == "stop":
                if request.get("id", current) == current:
                    stop.set()  # for good: a worker leaves after a trial that was stopped
            else:
                requests.put(request)
        if busy.is_set():
            os._exit(1)  # the coordinator is gone in the middle of a trial
        requests.put(None)

    threading.Thread(target=read, daemon=True, name="requests").start()
    if device.startswith("cuda"):
        import torch

        torch.cuda.set_device(device)  # what names no device must not open another worker's
    trial_process.preload()
    gc.collect()
    gc.freeze()  # collecting after each trial then takes no time for what was imported
    sentinel: Sentinel | None = None
    events.emit("ready", pid=os.getpid(), device=device)
    for count in range(1, most + 1):
        request = requests.get()
        if request is None:
            return 0
        if sentinel is None:
            # A run has one numerics profile; its switches are no trial's leavings.
            trial_process.set_numerics(Numerics.model_validate(request["trial"]["numerics"]))
            sentinel = Sentinel(device)
        current = request["id"]
        busy.set()
        status = trial_process.run(request, events.emit, stop.is_set)
        trial_process.collect(device)
        busy.clear()
        left = sentinel.differences()
        reason = ", ".join(left) or (status if status != "done" else "")
        if not reason and count == most:
            reason = f"{most} trials"
        # In one event: a worker that leaves must not be handed another trial first.
        events.emit("exited", id=request["id"], code=0, leaving=reason)
        if reason:
            return 0
    return 0


if __name__ == "__main__":
    try:
        result = main()
    except (ImportError, MemoryError) as error:  # little memory; a broken installation
        words = str(error).splitlines()[-1:] or [type(error).__name__]
        sys.exit(f"error: a worker cannot start: {words[0]}")
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(result)  # taking torch down orderly takes as long as a short trial
