"""A worker process as the runner sees it: slots, requests, events."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from ablate.util.devices import Device
from ablate.util.heartbeat import Board, Place


class Executor:
    """One worker process: starts when first needed, again when it left."""

    def __init__(
        self, device: Device, events: SimpleQueue[tuple[Executor, dict[str, Any]]]
    ) -> None:
        self.device = device
        self.running: dict[int, int] = {}  # request id → process that has it
        self.graphs: set[int] = set()  # of the trials that its process was handed
        self._events = events
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._swept = 0  # the worker of which nothing is left
        self._continue = False  # its processes were stopped
        self._board = Board(device.slots)
        self._slots: dict[int, int] = {}  # request id → its place on the board

    @property
    def free(self) -> int:
        """How many more trials it takes now."""
        return self.device.slots - len(self.running)

    @property
    def pid(self) -> int | None:
        """The worker's process, None before it was started."""
        return self._process.pid if self._process else None

    def train(self, request: dict[str, Any]) -> None:
        """Hand it a trial."""
        if self._process is not None and self._process.poll() is not None:
            self.retire()  # it died
        self.start()
        assert self._process is not None
        self.running[request["id"]] = self._process.pid
        slot = self._slot(request["id"])
        self._send({"op": "train", **request, "device": self.device.name, "slot": slot})

    def _slot(self, request: int) -> int:
        """A place on the board that no running trial has."""
        self._slots = {id_: slot for id_, slot in self._slots.items() if id_ in self.running}
        slot = min(set(range(self.device.slots)) - set(self._slots.values()))
        self._slots[request] = slot
        self._board.clear(slot)
        return slot

    def place(self, request: int) -> Place:
        """Where a trial is, or was when its process ended."""
        slot = self._slots.get(request)
        return self._board.read(slot) if slot is not None else Place()

    def start(self) -> None:
        """Start its process, which imports what trials need; nothing if it is there."""
        if self._process is None:
            self._start()

    def stop(self, request: int | None = None) -> None:
        """Ask a running trial, or every one, to stop after its step."""
        self._send({"op": "stop"} if request is None else {"op": "stop", "id": request})

    def suspend(self) -> None:
        """Stop the processes that train where they are, as Ctrl-Z does; from a signal handler."""
        if self.running:
            for pid in self._processes():  # the worker comes first: it forks no other meanwhile
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGSTOP)
            self._continue = True

    def go_on(self) -> None:
        """Let them train on."""
        if self._continue:
            self._continue = False
            for pid in reversed(self._processes()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGCONT)

    def _processes(self) -> list[int]:
        """The worker, and all processes of its session: trials, and what these have started."""
        if self._process is None or self._process.poll() is not None:
            return []
        worker = self._process.pid
        found = {self.place(request).pid for request in list(self.running)}
        with contextlib.suppress(OSError):
            found |= {int(name) for name in os.listdir("/proc") if name.isdecimal()}
        ours = []
        for pid in sorted(found - {worker}):
            with contextlib.suppress(OSError):  # gone meanwhile
                if self._is_ours(pid):
                    ours.append(pid)
        return [worker, *ours]

    def signal(self, request: int, number: int) -> bool:
        """Send a signal to a trial's process; whether there is one to send it to."""
        pid = self.place(request).pid
        with contextlib.suppress(OSError):
            if self._is_ours(pid):
                os.kill(pid, number)
                return True
        return False

    def end(self, request: int) -> None:
        """End a trial's process at once, with all that it has started."""
        pid = self.place(request).pid
        with contextlib.suppress(OSError):
            if self._is_ours(pid):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
                return
        self.kill()  # its process was never seen: the worker itself hangs

    def _is_ours(self, pid: int) -> bool:
        """Whether a process is of the worker's session: a number may be another's by now."""
        return pid > 0 and self._process is not None and os.getsid(pid) == self._process.pid

    def kill(self) -> None:
        """End the worker and its children at once."""
        if self._process is None or self._process.poll() is not None:
            return
        for request in list(self.running):  # a forked trial is a group of its own
            with contextlib.suppress(OSError):
                if self._is_ours(pid := self.place(request).pid):
                    os.killpg(os.getpgid(pid), signal.SIGKILL)
        # start_new_session made the worker a group, and what a warm one has started.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def abandon(self) -> None:
        """Wait no longer for a worker that nothing ends; the next trial starts another."""
        self._process = self._reader = None
        self.running.clear()
        self.graphs.clear()

    def retire(self) -> None:
        """The worker is leaving: wait until its device's memory is free; the next is a new one."""
        self.close()
        self._process = None
        self.graphs.clear()

    def close(self) -> None:
        """Let it end: no more requests."""
        if self._process is None:
            return
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        if self._swept != self._process.pid:  # once: the number may be another's soon
            self._swept = self._process.pid
            # What a trick has started and left, which would also keep the reader waiting.
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._reader is not None:
            self._reader.join()

    def _start(self) -> None:
        forks = self.device.forks and self.device.name == "cpu" and hasattr(os, "fork")
        mode = ["--fork"] if forks else ["--warm", self.device.name]
        environment = {
            **os.environ,
            # Thread pools are sized when the libraries load; one number for all of them.
            "OMP_NUM_THREADS": str(self.device.threads),
            "MKL_NUM_THREADS": str(self.device.threads),
            "OPENBLAS_NUM_THREADS": str(self.device.threads),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
            "PYTHONUNBUFFERED": "1",
            # A set of texts, as a trick may have for a parameter, is in one order in every process.
            "PYTHONHASHSEED": "0",
        }
        # -P: nothing is imported from the working directory. A session of its own: the terminal's
        # Ctrl-C reaches the runner alone, which asks for a stop after the step.
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "ablate.execution.trainer",
                *mode,
                "--board",
                f"{self._board.descriptor}",
            ],
            pass_fds=[self._board.descriptor],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _send(self, request: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write((json.dumps(request) + "\n").encode())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # it is gone; `_read` has said so or will
            pass

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._events.put((self, json.loads(line)))
        code = process.wait()
        self._events.put((self, {"event": "gone", "code": code, "pid": process.pid}))


class Workers:
    """The executors of a run's devices, and the queue of what all of them say.

    A context manager, after which none of their processes is left, whatever happened inside. The
    stages of a run share them: importing takes longer than a short trial. ids: of requests, so that
    what is still said of an earlier stage's trial is not taken for another's.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self.events: SimpleQueue[tuple[Executor, dict[str, Any]]] = SimpleQueue()
        self.executors = tuple(Executor(device, self.events) for device in devices)
        self.ids = itertools.count(1)

    def start(self, trials: int) -> None:
        """Start as many processes as `trials` need, so that they import while others check."""
        for executor in self.executors:
            if trials <= 0:
                return
            executor.start()
            trials -= executor.device.slots

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for executor in self.executors:
            executor.kill()  # of a run that ended well nothing is left to kill
            executor.close()
