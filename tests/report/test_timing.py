"""Times that a busy machine has made: planted, and of a training that really waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ablate.core.trial import Numerics
from ablate.execution.runner import Runner
from ablate.report import build_tables
from ablate.report.model import ReportTable
from ablate.session.judged_tables import tables_of
from ablate.util.devices import Device
from tests.helpers.planted_runs import STUDY, session
from tests.helpers.reference_tables import show
from tests.helpers.report_studies import GPU, cumulative, key, results, study, table
from tests.helpers.tiny_studies import Silent

ROWS = cumulative("warmup", "mixup")
LABELS = [row[0] for row in ROWS]
VALUES = dict(
    zip(LABELS, ((70.0, 70.4, 70.1), (75.0, 75.5, 75.0), (75.1, 75.4, 75.3)), strict=True)
)
SECONDS = dict(zip(LABELS, ((8.0, 8.2, 7.9), (4.1, 4.0, 9.2), (4.0, 4.3, 4.1)), strict=True))
QUIET = [1.0, 0.99, 1.02]
BUSY = "the machine was busy"


def made(
    shares: Mapping[str, Sequence[float | None]],
    numerics: Numerics | None = None,
    rows: Sequence[tuple[str, str, int | None]] = ROWS,
    **more: Any,
) -> ReportTable:
    """The table of trials with these shares of a processor; QUIET where nothing is said."""
    resolved = study(table(rows))
    cpu = numerics or Numerics.named("exact", "cpu")
    trials = {k: t.model_copy(update={"numerics": cpu}) for k, t in resolved.trials.items()}
    done = results(VALUES, seconds=SECONDS)
    for label, _, _ in rows:
        for seed, share in enumerate(shares.get(label, QUIET)):
            one = done[key(label, seed)]
            used = () if share is None else [share * t for t in one.epoch_seconds]
            done[key(label, seed)] = replace(one, processor_seconds=used, **more)
    (found,) = build_tables(resolved.model_copy(update={"trials": trials}), done, {})
    return found


def busy(found: ReportTable) -> list[str]:
    return [note for note in found.notes if BUSY in note]


def test_the_time_of_a_trial_that_lost_the_processor_is_not_compared() -> None:
    found = made({"+ warmup": [1.0, 1.0, 0.45]})
    assert busy(found) == [
        "times not compared of 1 of 9 trials: the machine was busy, they had a processor for 45% "
        "of the time"
    ]
    assert [cell.epoch_seconds for cell in found.rows[1].seeds] == [4.1, 4.0, None]
    assert found.rows[1].seconds == pytest.approx(np.sqrt(4.1 * 4.0))
    assert BUSY in show([found])
    # of two rows: by what both have, as if the seed were missing
    short = made({"+ warmup": [1.0, 1.0, 0.45]}, rows=ROWS[:2])
    log = ttest_rel(np.log([4.1, 4.0]), np.log([8.0, 8.2]))
    ratio = short.rows[1].ratio
    assert ratio is not None
    assert ratio.ratio == pytest.approx(np.exp(np.log([4.1 / 8.0, 4.0 / 8.2]).mean()))
    assert (ratio.low, ratio.high) == pytest.approx(np.exp(log.confidence_interval(0.95)))


def test_a_row_without_a_quiet_seed_has_no_time() -> None:
    found = made({"+ mixup": [0.6, 0.3, 0.41]})
    assert (found.rows[2].seconds, found.rows[2].ratio) == (None, None)
    (note,) = busy(found)
    assert note.endswith("they had a processor for 30 to 60% of the time")
    assert note.startswith("times not compared of 3 of 9 trials")
    assert show([found]).splitlines()[5].rstrip().endswith("–")


@pytest.mark.parametrize(
    ("shares", "numerics", "more"),
    [
        ({"+ mixup": [None] * 3}, None, {}),  # of an older release
        ({label: [0.5, 0.49, 0.47] for label in LABELS}, None, {}),  # as busy throughout
        ({"+ mixup": [0.3] * 3}, Numerics.named("exact", "cuda"), {}),
        ({"+ mixup": [0.3] * 3}, Numerics(threads=4), {}),
        ({"+ mixup": [0.92] * 3}, None, {}),
    ],
)
def test_what_may_be_compared_is(
    shares: Mapping[str, Sequence[float | None]], numerics: Numerics | None, more: dict[str, Any]
) -> None:
    found = made(shares, numerics, **more)
    assert busy(found) == []
    assert all(row.seconds is not None for row in found.rows)


def test_a_trial_whose_time_is_hidden_anyway_is_no_measure_of_quiet() -> None:
    """Of trials side by side on one device it is said that they were, and nothing else."""
    found = made({label: [0.3, 0.6, 1.0] for label in LABELS}, environment=GPU | {"profiled": True})
    assert busy(found) == []
    assert any("--profile" in note for note in found.notes)


WAITS = """
import time
from ablate import Trick, hookimpl

class Waits(Trick):
    @hookimpl
    def on_step_end(self, run, batch):
        if run.seed == 1:
            time.sleep(0.1)
"""


def test_a_training_that_waits_for_a_processor_is_told_from_its_record(tmp_path: Path) -> None:
    """One that sleeps looks like one that waits: it has no processor meanwhile."""
    (tmp_path / "waits.py").write_text(WAITS)
    text = STUDY.replace('["cosine", "mixup"]', '["waits"]\nplugins = ["waits.py"]')
    text = text.replace("epochs     = 1", "epochs     = 3")
    ready = session(tmp_path, text, overrides=["recipe.batch_size=64"])
    Runner(ready.resolved, ready.store, [Device("cpu", 1)], Silent()).run()
    (found,) = tables_of(ready.resolved, ready.store)
    assert len(busy(found)) == 1
    assert found.rows[1].seeds[1].epoch_seconds is None
    waited = ready.store.result(found.rows[1].seeds[1].key)
    assert waited is not None
    steps = waited.epochs[0]["steps"]
    for epoch in waited.epochs:
        # the trick sleeps for 0.1 s a step; other threads of the process may work meanwhile
        assert epoch["processor_seconds"] < epoch["seconds"] - 0.08 * steps
    share = waited.curves.processor_share
    assert share == np.median([e["processor_seconds"] / e["seconds"] for e in waited.epochs[1:]])
