"""Runs of several stages from the outside: choosing settings, looks, Ctrl-C between, events."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ablate.console.live_view import LiveView
from ablate.console.output import Output
from ablate.console.tracker import Tracker
from ablate.core.trial import Trial
from ablate.execution.runner import Outcome
from ablate.session.session import Session
from ablate.store.store import Store
from tests.helpers.cli_process import ABLATE, STUDY, Cli, run_here
from tests.helpers.environment import environment
from tests.helpers.forked import Forked
from tests.helpers.planted_runs import ONCE, TUNED, Planted

SMALL = """\
[study]
datasets = ["digits"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8

[[ablation]]
name  = "main"
stack = ["mixup"]
tune  = { lr.factor = [1, 3] }
"""
LOOK = ("run", "small.toml", "--limit", "40", "--until", "resolved", "--max-seeds", "6")


def test_interrupted_while_choosing_then_chosen_and_looked_at_twice(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    process = Forked(
        [*ABLATE, *LOOK], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, encoding="utf-8",
    )  # fmt: skip
    assert process.stderr
    seen = next(line for line in process.stderr)
    said = "small: choosing lr on a held-out tenth of train, another for each seed: "
    assert f"{said}12 trials, 12 to train" in seen
    seen = next(line for line in process.stderr if " epoch " in line)
    trial = r"digits (baseline|\+ mixup) lr × [13] held out seed [012] epoch 1/1"
    assert re.search(rf"\[ *\d+/12\] {trial}", seen)
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=90)
    assert (process.returncode, out) == (130, "")
    done = re.search(r"Interrupted: (\d+) of 12 trials done", rest)
    assert done

    again = run_here(*LOOK, "--json", cwd=tmp_path)
    assert again.returncode in (0, 1), again.stderr
    assert again.stderr == ""
    events = [json.loads(line) for line in again.stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert (kinds[0], kinds[-1]) == ("study_start", "study_end")
    assert Counter(kinds)["study_start"] == Counter(kinds)["study_end"] == 1
    begun = [event for event in events if event["event"] == "stage_start"]
    chosen = [e for e in events if e["event"] == "stage_end" and e["stage"] == "tune"]
    for event in chosen:
        seeds = range(event["look"]["seeds"])
        assert [(choice["row"], choice["seed"]) for choice in event["choices"]] == [
            (row, seed) for row in ("baseline", "+ mixup") for seed in seeds
        ]
        assert all(choice["setting"]["lr"]["factor"] in (1, 3) for choice in event["choices"])
    tuned = [event["trials"] for event in begun if event["stage"] == "tune"]
    begun = [event for event in begun if event["stage"] == "look"]
    assert len(chosen) == len(tuned) == len(begun) - (done[1] == "12")
    assert [event["look"]["seeds"] for event in begun] in ([3], [3, 6])
    assert begun[0]["look"] == {"number": 1, "of": 2, "seeds": 3, "alpha": 0.005}
    ends = [event for event in events if event["event"] == "stage_end" and event["look"]]
    assert [end["more"] for end in ends][-1] is False
    trained = [event["key"] for event in events if event["event"] == "trial_end"]
    # each seed of two rows has two to choose by and one to be judged by
    assert len(trained) == len(set(trained)) == 6 * begun[-1]["look"]["seeds"] - int(done[1])
    last = events[-1]
    (table,) = last["tables"]
    assert table["until"]["look"] == begun[-1]["look"]["number"]
    assert table["alpha"] == begun[-1]["look"]["alpha"]
    assert [row["n"] for row in table["rows"]] == [begun[-1]["look"]["seeds"]] * 2

    # from the store, from the file, and by running it again: the same table
    shown = run_here("report", "small", cwd=tmp_path).stdout
    said = (
        "lr chosen of 1, 3 × 0.025 by each seed on a held-out tenth of train of its own: baseline"
    )
    assert said in " ".join(shown.split())
    assert run_here("report", "small.toml", "--limit", "40", cwd=tmp_path).stdout == shown
    once_more = run_here(*LOOK, cwd=tmp_path)
    assert once_more.stdout == shown
    assert "trials done, nothing to train" in once_more.stderr.splitlines()[-1]
    assert f"[{100 * (1 - table['alpha']):g}% interval]" in shown


@pytest.fixture
def planted_run(monkeypatch: pytest.MonkeyPatch) -> list[Planted]:
    """`run` in this process writes down what is planted; put a Planted in the list first."""
    one: list[Planted] = []

    def train(_: Any, session: Session) -> Outcome:
        return one[0]._train(session)

    monkeypatch.setattr("ablate.cli.training_stages.Training.stage", train)
    return one


def noise(trial: Trial) -> float:
    return random.Random(f"{trial.key}").uniform(-1e-4, 1e-4)


def worth(trial: Trial) -> float:
    """mixup is worth twenty points at any rate; its best rate is the highest."""
    mixed = any(spec.name == "mixup" for spec in trial.tricks)
    return 0.5 + 0.2 * mixed + 0.01 * float(trial.recipe.lr) + noise(trial)


def test_a_run_says_its_stages(cli: Cli, planted_run: list[Planted]) -> None:
    Path("study.toml").write_text(TUNED.replace('["mixup", "adam"]', '["mixup"]'))
    planted_run.append(Planted(worth))
    done = cli("run", "study.toml", "--until", "resolved")
    assert done.returncode == 0, done.stderr
    told = [line[9:] for line in done.stderr.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert told[0].startswith(
        "digits: lr chosen of 0.3, 1, 3 × 0.1 by each seed on a held-out tenth of train of its "
        "own: baseline 0.3, mixup 0.3"
    )
    assert told[1].startswith("digits: baseline, mixup: the largest lr there was to choose")
    assert told[2] == (
        "look 1 of 3 at 3 seeds, α = .005: 0 comparisons unresolved, nothing is open"
    )
    assert "99.5% interval" in done.stdout
    assert "▲ gain" in done.stdout
    plan = cli("plan", "study.toml", "--until", "resolved").stdout
    assert "until resolved, looks at 3, 6, 10 seeds" in plan
    assert "24 trials for the first look: ● 24 done, ○ 0 new" in plan
    assert "lr 0.3 chosen" in plan
    document = json.loads(cli("plan", "study.toml", "--until", "resolved", "--json").stdout)
    assert document["look"] == {"number": 1, "of": 3, "seeds": 3, "alpha": 0.005}
    (seen,) = document["smallest_detectable"]
    # against scipy's non-central t: the noncentrality with 80% power at the look's level
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    assert seen["stored"] == 6  # whose noise it is
    for seeds, alpha in ((3, 0.005), (6, 0.015), (10, 0.030)):
        df, at = seeds - 1, t.ppf(1 - alpha / 2, seeds - 1)
        delta = brentq(lambda d, at=at, df=df: nct.sf(at, df, d) - 0.8, 0, 30)
        points = delta * (2 / seeds) ** 0.5 * seen["noise"]
        assert seen["by_seeds"][str(seeds)] == pytest.approx(points, rel=1e-3)


def test_what_seeds_chose_is_in_diff_in_reports_and_in_queries(
    cli: Cli, planted_run: list[Planted]
) -> None:
    def apart(trial: Trial) -> float:
        """mixup's seed 1 would train at the lowest rate, every other at the highest."""
        mixed = any(spec.name == "mixup" for spec in trial.tricks)
        return 0.5 + (-0.1 if mixed and trial.seed == 1 else 0.1) * float(trial.recipe.lr)

    Path("study.toml").write_text(TUNED.replace('["mixup", "adam"]', '["mixup"]'))
    planted_run.append(Planted(apart))
    done = cli("run", "study.toml", "--seeds", "3")
    assert done.returncode == 0, done.stderr
    said = cli("diff", "study:baseline", "study:mixup").stdout
    assert re.search(r"lr +0\.3 → 0\.3 \(2 of 3 seeds\), 0\.03 \(1 of 3\)", said)
    one = cli("diff", "study:baseline/digits/1", "study:mixup/digits/1").stdout
    assert re.search(r"lr +0\.3 → 0\.03", one)
    assert "everything else is equal" in one
    document = json.loads(cli("diff", "study:baseline", "study:mixup", "--json").stdout)
    (change,) = [c for c in document["differences"][0]["settings"] if c["name"] == "lr"]
    assert change["before"] == pytest.approx([0.3] * 3)
    assert change["after"] == pytest.approx([0.3, 0.03, 0.3])
    assert not any("tuned anew" in note for note in document["differences"][0]["notes"])
    report = json.loads(cli("report", "study", "--json").stdout)
    (table,) = report["tables"]
    assert table["recipe"] == (
        "resnet8 · 1 epoch · batch 16 · lr tuned of 0.3, 1, 3 × 0.1 by each seed · 8 px"
    )
    assert table["rows"][1]["changes"].endswith("lr 0.3 (2 of 3 seeds), 0.03 (1 of 3) chosen")
    sql = "select label, seed, lr from trials where label not like '%held out%' order by all"
    rows = json.loads(cli("query", sql, "--json").stdout)["rows"]
    assert [row["lr"] if isinstance(row, dict) else row[2] for row in rows] == pytest.approx(
        [0.3, 0.3, 0.3, 0.3, 0.03, 0.3]
    )
    Path("once.toml").write_text(ONCE.replace('["mixup", "adam"]', '["mixup"]'))
    assert cli("run", "once.toml", "--seeds", "3").returncode == 0
    once = cli("diff", "once:baseline", "once:mixup")
    assert "baseline: settings were chosen once, for all seeds" in " ".join(once.stderr.split())


def test_trained_for_real_seeds_choose_apart_and_are_trained_with_what_they_chose(
    tmp_path: Path,
) -> None:
    """Rates so near each other that on a tenth of a hundred images luck decides."""
    text = SMALL.replace('stack = ["mixup"]', "stack = []").replace("epochs     = 1", "epochs = 2")
    text = text.replace("{ lr.factor = [1, 3] }", "{ lr = [0.01, 0.02, 0.04] }")
    (tmp_path / "small.toml").write_text(text.replace("= 16", "= 8"))
    done = run_here("run", "small.toml", "--limit", "100", "--seeds", "4", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    store = Store.open(tmp_path / "ablate-results", create=False)
    resolved = store.latest_study("small")
    assert resolved is not None
    (row,) = resolved.tables[0].rows
    rates = []
    for seed, (key, tried) in enumerate(zip(row.keys, row.tuning, strict=True)):
        best, rate = -1.0, 0.0
        for one in tried:  # as written in docs/tuning.md: the best, of equals the first
            trial, result = store.trial(one), store.result(one)
            assert trial is not None
            assert result is not None
            assert (trial.seed, trial.dataset.fold) == (seed, seed)
            if result.final["top1"] > best:
                best, rate = result.final["top1"], trial.recipe.lr
        trial = store.trial(key)
        assert trial is not None
        assert (trial.seed, trial.dataset.held_out, trial.recipe.lr) == (seed, None, rate)
        rates.append(rate)
    assert len(set(rates)) > 1
    assert f"0.0{100 * rates[0]:g} (" in " ".join(done.stdout.split())
    again = run_here("run", "small.toml", "--limit", "100", "--seeds", "4", cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "16 trials done, nothing to train" in again.stderr.splitlines()[-1]


def test_plan_counts_a_setting_that_diverged_once(cli: Cli, planted_run: list[Planted]) -> None:
    Path("study.toml").write_text(TUNED.replace('["mixup", "adam"]', '["mixup"]'))
    planted_run.append(Planted(lambda t: "diverged" if float(t.recipe.lr) > 0.2 else worth(t)))
    cli("run", "study.toml")
    shown = cli("plan", "study.toml").stdout
    # two rows of two seeds: 3 settings each, of which one diverged, and one trained with another
    assert "16 trials: ● 12 done, ✗ 4 failed, ○ 0 new" in shown


def test_plan_before_any_training_counts_what_tuning_takes(cli: Cli) -> None:
    Path("study.toml").write_text(TUNED)
    shown = cli("plan", "study.toml").stdout
    assert "32 trials: ● 0 done, ○ 32 new" in shown
    assert (
        "lr chosen of 0.3, 1, 3 × each row's own by each seed on a held-out tenth of train of its "
        "own: 24 of the trials, 3 for each of 2 seeds of 4 rows"
    ) in shown
    assert re.search(r"^0  baseline +lr not chosen yet +○○$", shown, re.M)
    document = json.loads(cli("plan", "study.toml", "--json").stdout)
    assert (document["trials"], len(document["new"]), document["coming"]) == (32, 24, 8)
    rows = document["tables"][0]["rows"]
    assert [(row["keys"], row["chosen"]) for row in rows] == [([None] * 2, [None] * 2)] * 4
    assert [[len(keys) for keys in row["tuning"]] for row in rows] == [[3, 3]] * 4
    Path("study.toml").write_text(ONCE)
    shown = cli("plan", "study.toml").stdout
    assert "20 trials: ● 0 done, ○ 20 new" in shown
    assert (
        "lr chosen of 0.3, 1, 3 × each row's own once on a held-out tenth of train: "
        "12 of the trials, 3 for each of 4 rows"
    ) in shown


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--until", "now"], "--until 'now': known: resolved"),
        (["--until", "resolved", "--seeds", "4"], "--seeds cannot be given with it"),
        (["--until", "resolved", "--max-seeds", "8"], "--max-seeds: at most 6 or 10 seeds, not 8"),
        (["--max-seeds", "6"], "--max-seeds belongs to --until resolved"),
    ],
)
def test_looks_that_do_not_fit_are_one_line(cli: Cli, options: list[str], said: str) -> None:
    Path("study.toml").write_text(STUDY)
    for name in ("run", "plan"):
        done = cli(name, "study.toml", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: {said}") or said in done.stderr.splitlines()[0]
        assert len(done.stderr.splitlines()) <= 2
    assert not Path("ablate-results").exists()


def test_the_live_view_draws_settings_while_they_are_chosen(tmp_path: Path) -> None:
    from tests.helpers.planted_runs import session

    first = session(tmp_path, TUNED)
    tracker = Tracker.begin(first.resolved, first.work.states, first.store, frozenset(), None)
    key = first.resolved.tables[0].rows[1].tuning[0][0]
    tracker.start(key)
    tracker.epoch(key, {"epoch": 1, "metrics": {"top1": 0.9}, "seconds": 1.0, "images": 90})
    tracker.end(key, "done", "")
    lines = [
        line if isinstance(line, str) else "".join(text for text, _ in line)
        for line in LiveView(Output(), tracker).lines(100, 40)
    ]
    drawn = {line[2:18].strip(): line[18:].split()[0] for line in lines[2:6]}
    none = "○" * 6
    assert drawn == {"baseline": none, "mixup": "●○○○○○", "lr 0.001 alone": none, "adam": none}
    assert not any("90.0" in line for line in lines)  # a setting's result is nobody's business yet
    assert "1/24 trials" in lines[-1]
