"""Which trials of a resolved study are missing, training them, and how it ended: `Outcome`.

The runner claims a trial, hands it to a worker, and waits for events. It trains nothing itself and
imports no torch.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from types import FrameType
from typing import Any, Protocol

from ablate.core.resolved_study import ResolvedStudy
from ablate.core.trial import Trial
from ablate.errors import AblateError, StoreGone
from ablate.execution.executor import Executor, Workers
from ablate.execution.scheduler import choose
from ablate.execution.watchdog import Watch, ended_by
from ablate.index import database
from ablate.store import attempt_reader, log_file
from ablate.store.lease import Claim, Lease, claim, holder
from ablate.store.store import Store, TrialState
from ablate.study.model import STALL_MINUTES
from ablate.util import job_control
from ablate.util.devices import Device

FINAL = frozenset({"done", "diverged", "no_effect"})
_HEARTBEAT = 15.0  # seconds between signs of life on a claim
_INGEST = 1.0  # seconds between ingests, each of which costs as much as a short trial
_SHARE = 50  # times the time of an ingest that lies between two: it grows with the store
_LOGS = 5.0  # seconds between looks at how long the logs are


class Observer(Protocol):
    """What wants to know how a run goes on: the live view, the log, `--json`."""

    def study_start(self, resolved: ResolvedStudy, states: dict[str, TrialState]) -> None:
        """Before the first trial; `states` of every trial of the study."""

    def trial_start(self, key: str, device: str) -> None:
        """A trial was handed to a worker."""

    def resumed(self, key: str, epoch: int) -> None:
        """A trial goes on after `epoch` finished epochs."""

    def progress(self, key: str, step: int, of: int) -> None:
        """Steps taken of a running trial; at most twice a second."""

    def epoch(self, key: str, record: dict[str, Any]) -> None:
        """An epoch of a trial was evaluated: epoch, metrics, seconds, images, steps."""

    def trial_end(self, key: str, status: str, message: str) -> None:
        """A trial ended here or in another `ablate run` on the same store."""

    def elsewhere(self, keys: Sequence[str], who: str) -> None:
        """These trials are being trained by another process."""

    def warning(self, text: str) -> None:
        """Something that costs no trial, but should be known."""

    def taken(self, key: str, who: str) -> None:
        """Another process has taken a running trial over; it is stopped here."""

    def stopping(self, signal_name: str | None) -> None:
        """Someone asked to stop; None: the store is gone."""


class Runner:
    """Trains what a resolved study lacks in a store."""

    def __init__(
        self,
        resolved: ResolvedStudy,
        store: Store,
        devices: Sequence[Device],
        observer: Observer,
        *,
        data_root: Path | None = None,
        bundled_only: bool = False,
        again: frozenset[str] = frozenset(),
        tried: frozenset[str] = frozenset(),
        profile: frozenset[str] = frozenset(),
        workers: Workers | None = None,
        stall: float = STALL_MINUTES,
        macs: Callable[[Trial], int | None] = lambda trial: None,
    ) -> None:
        """`again`: keys to train although a final result of them is stored (`--retrain`).
        `tried`: keys that an earlier stage of the same run failed at, not to be tried again.
        `profile`: keys of which to write where their time went. `stall`: minutes without a sign of
        life after which a trial is ended, 0: never. `macs`: multiply-adds of a trial's model,
        recorded with its result."""
        self._resolved = resolved
        self._store = store
        self._observer = observer
        self._data_root = data_root
        self._bundled_only = bundled_only
        self._again = again
        self._tried = tried
        self._profile = profile
        self._macs = macs
        self._teachers = {t.teacher for t in resolved.trials.values() if t.teacher is not None}
        blocks = _blocks(resolved, self._teachers)
        self._block: Callable[[str], int] = lambda key: blocks.get(key, 0)
        self._own = workers is None  # else they may have more to train when this is over
        workers = workers or Workers(devices)
        self._ids = workers.ids
        self._events, self._executors = workers.events, workers.executors
        self._claims: dict[str, Claim] = {}
        self._keys: dict[int, str] = {}  # request id → key
        self._beaten = self._bounded = time.monotonic()
        self._watch = Watch(stall)
        self._told_elsewhere: set[str] = set()
        self._lost: list[str] = []  # keys that another run has taken over: it could think us dead
        self._signal: int | None = None
        self._asked = 0  # how often to stop
        self._suspending = False
        self._doubted: set[str] = set()  # keys whose claim was not there at the last heartbeat
        self._given_up: set[int] = set()  # requests whose trial another run has taken over
        self._stop_sent = False
        self._gone: StoreGone | None = None
        self._ingest_after = 0.0
        self._ingests = False  # a trial has ended that the index does not have
        self.outcome = Outcome(choosing=frozenset(resolved.tuning))

    def run(self) -> Outcome:
        """Train until nothing is missing, or until interrupted."""
        states = self._store.states(self._resolved.order)
        self._observer.study_start(self._resolved, states)
        waiting = []
        for key in self._resolved.order:
            tried = key in self._tried and states[key].status != "new"
            if tried or self._is_final(key, states[key]):
                self.outcome.statuses[key] = states[key].status
                self.outcome.messages[key] = states[key].message
            else:
                waiting.append(key)
            self._store.register(self._resolved.trials[key], self._resolved.labels[key])
        for executor in self._executors:
            executor.graphs.clear()  # another stage numbers them otherwise
        signals = contextlib.ExitStack()
        signals.enter_context(job_control.writing_in_background())
        signals.enter_context(job_control.on_suspend(self._suspend))
        previous = self._catch_signals()
        try:
            while waiting or self._keys or self._lost:
                if self._suspending:
                    self._stand_still()
                self._gone = self._gone or self._store.lost()
                if self._signal is None and self._gone is None:
                    waiting, self._lost = self._dispatch(waiting + self._lost), []
                elif not self._keys:
                    break
                elif not self._stop_sent:
                    self._stop()
                self._ingest_between()
                self._handle_events(timeout=0.2 if self._keys or self._signal else 1.0)
                self._look_after()
                self._heartbeat()
        finally:
            signals.close()
            if self._suspending:
                self._stand_still()
            for executor in self._executors:
                if self._keys:  # only after an unexpected error or a second signal
                    executor.kill()
                if self._own:
                    executor.close()
            for held in self._claims.values():
                held.release()
            self._restore_signals(previous)
            if self.outcome.trained:
                self._ingest()
        self.outcome.signal = self._signal
        if (gone := self._gone or self._store.lost()) is not None:
            raise gone
        return self.outcome

    def _stop(self) -> None:
        self._stop_sent = True
        asked = self._signal
        self._observer.stopping(None if asked is None else signal.Signals(asked).name)
        for executor in self._executors:
            executor.stop()

    def _dispatch(self, waiting: list[str]) -> list[str]:
        """Hand trials to free slots; returns those still waiting."""
        if all(executor.free <= 0 for executor in self._executors):
            return waiting
        left = dict.fromkeys(waiting)
        able = self._able(left)
        elsewhere: list[str] = []
        while able and (free := [e for e in self._executors if e.free > 0]):
            key, executor = choose(
                able, free, self._compiled(), self._resolved.graphs.get, self._block
            )
            able.remove(key)
            held = claim(self._store.path, key, self._resolved.name)
            if held is None:
                elsewhere.append(key)
                continue
            del left[key]
            if key in self._again:
                attempt_reader.retire(self._store.path, key)
                self._again -= {key}
            # Another process may have finished it between our look and our claim.
            state = self._store.state(key)
            if self._is_final(key, state):
                held.release()
                self._end(key, state.status, state.message)
                continue
            self._claims[key] = held
            self._start(key, executor)
        self._tell_elsewhere(elsewhere)
        return list(left)

    def _able(self, waiting: dict[str, None]) -> list[str]:
        """Those that can be trained now; those that never can be are ended and taken out."""
        able = []
        for key in list(waiting):
            teacher = self._resolved.trials[key].teacher
            if teacher is None or self.outcome.statuses.get(teacher) == "done":
                able.append(key)
            elif teacher in self.outcome.statuses:
                del waiting[key]
                self._end(key, "failed", f"its teacher {teacher[:8]} did not finish")
        return able

    def _compiled(self) -> dict[Executor, frozenset[int]]:
        return {executor: frozenset(executor.graphs) for executor in self._executors}

    def _is_final(self, key: str, state: TrialState) -> bool:
        """Whether a trial need not be trained; a teacher must whose weights were not kept."""
        if state.status not in FINAL or key in self._again:
            return False
        return (
            state.status != "done"
            or key not in self._teachers
            or attempt_reader.weights(self._store.path, key) is not None
        )

    def _start(self, key: str, executor: Executor) -> None:
        request = next(self._ids)
        self._keys[request] = key
        trials = self._resolved.trials
        teacher = trials.get(trials[key].teacher or "")
        executor.train(
            {
                "id": request,
                "trial": trials[key].model_dump(mode="json"),
                "teacher": teacher.model_dump(mode="json") if teacher is not None else None,
                "store": str(self._store.path.resolve()),
                "store_identity": self._store.root.identity if self._store.root else None,
                "claim": self._claims[key].lease.token,
                "data_root": str(self._data_root.resolve()) if self._data_root else None,
                "no_plugins": self._bundled_only,
                "keep_weights": key in self._teachers,
                "macs": self._macs(trials[key]),
                "profile": key in self._profile,
                # CPU trials have a core each; on a GPU several would share one.
                "shared_device": executor.device.slots > 1 and executor.device.name != "cpu",
            }
        )
        if key in self._resolved.graphs:
            executor.graphs.add(self._resolved.graphs[key])
        self._observer.trial_start(key, executor.device.name)

    def _handle_events(self, timeout: float) -> None:
        """Handle what has come, waiting at most `timeout` seconds for the first."""
        try:
            executor, event = self._events.get(timeout=timeout)
            while True:
                self._handle(executor, event)
                executor, event = self._events.get_nowait()
        except Empty:
            return

    def _handle(self, executor: Executor, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "gone":
            mine = [id_ for id_, process in executor.running.items() if process == event["pid"]]
            for request in mine:  # one that has said how it ended is none of these any more
                if request in self._keys:
                    why = ended_by(event["code"], executor.place(request))
                    self._finish(executor, request, "failed", why)
                executor.running.pop(request, None)
            return
        if kind in ("ready", "wake"):
            return
        if kind == "exited":
            self._exited(executor, event["id"], event["code"])
            if event.get("leaving"):
                executor.retire()
            return
        key = self._keys.get(event["id"])
        if key is None:
            return
        if kind == "alive":
            self._observer.progress(key, event["step"], event["of"])
        elif kind == "resumed":
            self._observer.resumed(key, event["epoch"])
        elif kind == "epoch":
            self._observer.epoch(key, event["record"])
        elif kind == "ended":
            self._ended(event["id"], event["status"], event["message"], event.get("attempt", ""))

    def _exited(self, executor: Executor, request: int, code: int) -> None:
        if request in self._keys:  # it never said how it ended
            self._finish(executor, request, "failed", ended_by(code, executor.place(request)))
        executor.running.pop(request, None)

    def _ended(self, request: int, status: str, message: str, attempt: str) -> None:
        # The slot is free only when the process has exited: its memory must be back first.
        key = self._keys.pop(request)
        if status == "failed":  # perhaps because its ending could not be written
            with contextlib.suppress(AblateError, OSError):
                attempt_reader.conclude(self._store.path, key, status, message, attempt)
        log_file.bound(attempt_reader.trial_path(self._store.path, key), attempt)
        if status == "interrupted" and self._signal is None and self._gone is None:
            self._lost.append(key)
        self._conclude(key, status, message)

    def _conclude(self, key: str, status: str, message: str) -> None:
        self._release(key)
        self._end(key, status, message)
        self.outcome.trained += status != "interrupted"
        self._ingests = True

    def _finish(self, executor: Executor, request: int, status: str, message: str) -> None:
        """A trial whose process could not say how it ended."""
        attempt = executor.place(request).attempt
        message = self._watch.why(request) or message
        executor.running.pop(request, None)
        key = self._keys.pop(request)
        if self._signal is not None or self._gone is not None or request in self._given_up:
            status, message = "interrupted", "killed"  # its attempt stays open, as another's may be
            if self._signal is None and self._gone is None:
                self._lost.append(key)
        else:
            with contextlib.suppress(AblateError, OSError):  # a full disk: said here at least
                status, message = attempt_reader.conclude(
                    self._store.path, key, status, message, attempt
                )
        log_file.bound(attempt_reader.trial_path(self._store.path, key), attempt)
        state = self._store.state(key)
        if self._is_final(key, state):  # all that was missing was to say so
            status, message = state.status, state.message
        self._conclude(key, status, message)

    def _look_after(self) -> None:
        """End what hangs, keep logs short."""
        for executor in self._watch.look(self._executors):
            for request in [each for each in executor.running if each in self._keys]:
                self._finish(executor, request, "failed", "nothing ends its worker")
            executor.abandon()
        if time.monotonic() - self._bounded > _LOGS:
            self._bounded = time.monotonic()
            for executor in self._executors:
                for request in executor.running:
                    name = executor.place(request).attempt
                    if name and request in self._keys:
                        key = self._keys[request]
                        log_file.bound(attempt_reader.trial_path(self._store.path, key), name)

    def _ingest_between(self) -> None:
        """Ingest what has ended, but not while a slot waits for its process to be gone."""
        leaving = any(i not in self._keys for e in self._executors for i in e.running)
        now = time.monotonic()
        if self._ingests and not leaving and now > self._ingest_after:
            self._ingests = False
            self._ingest()
            took = time.monotonic() - now
            self._ingest_after = now + took + max(_INGEST, _SHARE * took)

    def _ingest(self) -> None:
        # The spool is the truth; an index that cannot be written now is made up for later, and
        # must not stop a training.
        with contextlib.suppress(AblateError):
            if self._store.lost() is None:  # else it would be made in whatever is in its place
                database.ingest(self._store.path, self._observer.warning)

    def _release(self, key: str) -> None:
        if (held := self._claims.pop(key, None)) is not None:
            held.release()

    def _end(self, key: str, status: str, message: str) -> None:
        self.outcome.statuses[key] = status
        self.outcome.messages[key] = message
        self._observer.trial_end(key, status, message)

    def _tell_elsewhere(self, keys: list[str]) -> None:
        new = [key for key in keys if key not in self._told_elsewhere]
        if not new:
            return
        self._told_elsewhere.update(new)
        self._observer.elsewhere(new, _who(holder(self._store.path, new[0])))

    def _heartbeat(self) -> None:
        if time.monotonic() - self._beaten > _HEARTBEAT:
            self._beat()

    def _beat(self) -> None:
        self._beaten = time.monotonic()
        for key, held in list(self._claims.items()):
            if held.heartbeat():
                self._doubted.discard(key)
            elif key in self._doubted or Lease.read(held.path) is not None:
                self._taken(key)
            else:  # nobody's: a disk that did not answer is looked at again
                self._doubted.add(key)
                self._beaten = time.monotonic() - _HEARTBEAT + 1

    def _taken(self, key: str) -> None:
        """Another run could think this one dead (it slept, or was stopped), and trains the trial
        now: stop it here; the attempt counts as interrupted."""
        self._claims.pop(key)
        self._doubted.discard(key)
        for request, running in self._keys.items():
            for executor in self._executors:
                if running == key and request in executor.running:
                    self._given_up.add(request)
                    executor.stop(request)
        self._observer.taken(key, _who(holder(self._store.path, key)))

    def _suspend(self) -> None:
        """Ctrl-Z: who trains stops at once, this process where nothing is half done."""
        for executor in self._executors:
            executor.suspend()
        self._suspending = True
        self._events.put((self._executors[0], {"event": "wake"}))

    def _stand_still(self) -> None:
        """Stop until somebody says to go on: what was claimed may be another's by then."""
        for executor in self._executors:
            executor.suspend()  # it may have been handed a trial since
        self._suspending = False
        job_control.stop_process()
        self._watch.pause()
        self._beat()
        for executor in self._executors:
            executor.go_on()

    def _catch_signals(self) -> dict[int, Any]:
        """First signal: stop after the step. Second: kill. Of a terminal that is gone both the
        kernel and the shell tell, so SIGHUP is no second one, and what follows it is the first."""
        hang_up = getattr(signal, "SIGHUP", None)

        def handle(number: int, frame: FrameType | None) -> None:
            if self._signal is None:
                self._signal = number  # the loop does the rest: a handler may not write to pipes
            self._asked += number != hang_up
            if self._asked > 1:
                for executor in self._executors:
                    executor.kill()

        caught: list[int] = [signal.SIGINT, signal.SIGTERM]
        if hang_up is not None and signal.getsignal(hang_up) not in (signal.SIG_IGN, None):
            caught.append(hang_up)
        try:
            return {number: signal.signal(number, handle) for number in caught}
        except ValueError:  # not the main thread (a notebook's executor): no signals to catch
            return {}

    @staticmethod
    def _restore_signals(previous: dict[int, Any]) -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _who(lease: Lease | None) -> str:
    return f"pid {lease.pid} on {lease.host}, {lease.study}" if lease else "another process"


def _blocks(resolved: ResolvedStudy, teachers: Collection[str]) -> dict[str, int]:
    """Which seed of its row each trial is of; teachers, which others wait for, are with the
    first."""
    found: dict[str, int] = {}
    for table in resolved.tables:
        for row in table.rows:
            for number, key in enumerate(row.keys):
                found[key] = min(number, found.get(key, number))
    return found | dict.fromkeys(teachers, 0)


@dataclass
class Outcome:
    """How a run ended. signal: SIGINT, SIGTERM or SIGHUP if it was interrupted. choosing: trials
    that settings are chosen by: one that diverged is an answer. incomplete: some row chose none."""

    trained: int = 0
    statuses: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    choosing: frozenset[str] = frozenset()
    incomplete: bool = False

    @property
    def wrong(self) -> list[str]:
        """Keys of the trials that did not end as they should, in the order of work."""
        return [
            key
            for key, status in self.statuses.items()
            if status != "done" and not (status == "diverged" and key in self.choosing)
        ]

    @property
    def exit_code(self) -> int:
        """0 done; 1 a trial failed; 128 + signal if interrupted."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.wrong or self.incomplete else 0
