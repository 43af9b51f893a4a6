"""Where a trial's results go: epochs and checkpoints behind the training, predictions at its end.

Writing a checkpoint takes as long as a short epoch, most of it waiting for the disk. So the engine
hands over a copy of its state and trains on, and a thread writes: the checkpoint first, then the
lines of its epoch. A line that is there says that a checkpoint at least as new is; only the last
epoch has none, because nothing but the predictions follows.

One checkpoint is written at a time. Epochs that end meanwhile wait; of their states only the newest
is kept. So training never waits for a disk, and a kill repeats at most what was trained during
about two writes. Whoever ends in order (done, interrupted, diverged, failed) waits for all of it.

`Followed` is a trial's data that says where the trial is: every batch is a sign of life.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ablate.errors import Interrupted
from ablate.store.attempt_writer import Attempt
from ablate.util import heartbeat
from ablate.util.heartbeat import here

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from ablate.core.hook_types import Run
    from ablate.core.trial import Trial
    from ablate.data.loader import RawBatch, TrialData
    from ablate.engine.checkpoint import Snapshot
    from ablate.engine.evaluate import Tested
    from ablate.execution.resume import Saved


log = logging.getLogger("ablate.trial")


class Writer:
    """Writes epochs to an attempt from a thread, in order. A context manager that waits.

    What goes wrong there is raised by the next call, and by leaving, whatever was raised inside: it
    happened before.
    """

    def __init__(self, attempt: Attempt, written: Callable[[dict[str, Any]], None]) -> None:
        """`written`: told of every epoch that is stored, from the thread."""
        self._attempt = attempt
        self._written = written
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._records: list[dict[str, Any]] = []
        self._newest: tuple[int, Snapshot] | None = None
        self._closing = False
        self._error: BaseException | None = None

    def put(self, record: dict[str, Any], state: Snapshot | None) -> None:
        """Store an epoch, with a checkpoint of `state`, if any, unless a newer one comes first."""
        self.check()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="checkpoints")
            self._thread.start()
        with self._changed:
            self._records.append(record)
            if state is not None:
                self._newest = (record["epoch"], state)
            self._changed.notify()

    def check(self) -> None:
        """Raise what went wrong."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
        if error is not self._error:
            self.check()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._records or self._closing)
                    if not self._records:
                        return
                    records, self._records = self._records, []
                    newest, self._newest = self._newest, None
                self._write(records, newest)
                del newest  # its memory, before the next one is waited for
        except BaseException as error:  # noqa: BLE001 - the trial's thread raises it
            self._error = error

    def _write(self, records: list[dict[str, Any]], newest: tuple[int, Snapshot] | None) -> None:
        from ablate.engine import checkpoint

        if newest is not None:
            epoch, state = newest
            self._attempt.save_checkpoint(epoch, lambda file: checkpoint.write(state.wait(), file))
        for record in records:
            self._attempt.record("epoch", **record)
        self._attempt.sync()
        for record in records:
            self._written(record)


class Recorder:
    """What `engine.loop.train` reports to. A context manager that waits for what is written."""

    def __init__(
        self,
        request: dict[str, Any],
        trial: Trial,
        attempt: Attempt,
        emit: Callable[..., None],
        stopped: Callable[[], bool],
        eval_ids: np.ndarray,
        saved: Saved | None = None,
    ) -> None:
        """`request`: as `trial_process.run` takes it. `saved`: what to go on from."""
        self._saved = saved
        self._eval_ids = eval_ids
        self._keep_weights: bool = request["keep_weights"]
        self._store = Path(request["store"])
        self._id = request["id"]
        self._trial = trial
        self._attempt = attempt
        self._emit = emit
        self._stopped = stopped
        self._told = 0.0
        self._pid = os.getpid()
        self._writer = Writer(attempt, self._tell)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *raised: Any) -> None:
        self._writer.__exit__(*raised)

    def resume(self) -> dict[str, Any] | None:
        """The state to go on from, or None to start afresh."""
        if (saved := self._saved) is None:
            return None
        log.info("continues attempt %s after epoch %d", saved.attempt, saved.epoch)
        for record in saved.state["history"]:
            self._attempt.record("epoch", **record, copied_from=saved.attempt)
        self._emit("resumed", id=self._id, epoch=saved.epoch)
        self._saved = None  # its memory
        return saved.state

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        """An epoch is over: its record, and the state after it, are on their way."""
        from ablate.engine.checkpoint import Snapshot

        self._check_process()
        captured = state()  # of the last epoch, too: a trick's state that cannot be is refused
        last = record["epoch"] == self._trial.recipe.epochs
        self._writer.put(record, None if last else Snapshot(captured))

    def finished(self, run: Run, tested: Tested, model: nn.Module) -> None:
        """Keep the test images' scores, and the weights if another trial learns from them."""
        self._check_process()
        self._attempt.save_predictions(self._eval_ids, tested.labels, tested.scores)
        if self._keep_weights:
            from ablate.execution import teacher

            teacher.save(model, self._attempt)

    def check(self, run: Run) -> None:
        """A step was taken: tell the runner, twice a second; stop if asked to."""
        self._check_process()
        heartbeat.here.sign()
        self._writer.check()
        now = time.monotonic()
        if now - self._told > 0.5:
            self._told = now
            self._emit("alive", id=self._id, step=run.step, of=run.total_steps)
        if self._stopped():
            raise Interrupted

    def _check_process(self) -> None:
        """A trick may have forked: its child, which goes on like the trial, is none."""
        if os.getpid() != self._pid:
            os._exit(70)

    def _tell(self, record: dict[str, Any]) -> None:
        heartbeat.here.sign()
        log.info("epoch %d: %s", record["epoch"], record["metrics"])
        self._emit("epoch", id=self._id, record=record)


T = TypeVar("T")


class Followed:
    """The same batches; which of them is being read or used is written down."""

    def __init__(self, data: TrialData) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._data, name)

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        """See `TrialData`; counts the epoch's steps."""
        made = self._data.train_batches(epoch, size)
        for number, batch in enumerate(_read(made, "reading training images"), start=1):
            here.step(number)
            yield batch
        here.step(0)  # not where a step has raised: its number is told with what was raised

    def clean_batches(self, count: int, size: int | None = None) -> list[Tensor]:
        """See `TrialData`."""
        with here.doing("reading training images"):
            return self._data.clean_batches(count, size)

    def eval_batches(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """See `TrialData`."""
        before = here.enter(b"evaluating")
        try:
            yield from _read(self._data.eval_batches(), "reading test images")
        finally:
            here.leave(before)


def _read(made: Iterator[T], doing: str) -> Iterator[T]:
    while True:
        with here.doing(doing):
            batch = next(made, None)
        if batch is None:
            return
        yield batch
