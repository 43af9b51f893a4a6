"""`ablate diff` through the real command line, its numbers against scipy's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact, gmean, ttest_rel
from statsmodels.stats.proportion import proportion_confint

from ablate.store import attempt_reader
from ablate.store.store import Store
from tests.helpers.cli_process import Cli
from tests.helpers.moderated import Rule
from tests.helpers.small_stores import IMAGES, MACHINE, make_study, make_trial, new_store, train

V1 = {  # DESIGN's test vector, table of four rows and three seeds
    "baseline": [0.9000, 0.9040, 0.9020],
    "warmup": [0.9050, 0.9070, 0.9090],
    "mixup": [0.9180, 0.9200, 0.9160],
    "zero_gamma": [0.9170, 0.9220, 0.9180],
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return new_store(tmp_path / "ablate-results")


def document(cli: Cli, *arguments: str) -> dict[str, Any]:
    done = cli("diff", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["differences"]
    return found


def metric(found: dict[str, Any], name: str = "top1") -> dict[str, Any]:
    return next(each for each in found["metrics"] if each["metric"] == name)


def test_rows_of_one_table_have_its_moderated_interval(cli: Cli, store: Store) -> None:
    make_study(store, V1)
    rule, names = Rule(V1, IMAGES), list(V1)
    for rows, places in [
        (("baseline", "warmup"), (0, 1)),
        (("warmup", "mixup"), (1, 2)),
        (("2", "3"), (2, 3)),
        (("3", "baseline"), (3, 0)),
    ]:
        found = metric(document(cli, *(f"group:{row}" for row in rows)))
        told = rule.difference(names[places[1]], names[places[0]])
        assert found["method"] == "moderated"
        assert [found[k] for k in ("delta", "se", "df", "p")] == pytest.approx(
            [told.estimate, told.se, told.df, told.p]
        )
        assert (found["low"], found["high"]) == pytest.approx(told.interval())
    # and the very numbers of the report
    report = json.loads(cli("report", "group", "--json").stdout)
    effect = report["tables"][0]["rows"][2]["delta"]
    found = metric(document(cli, "group:warmup", "group:mixup"))
    for name in ("low", "high"):
        assert 100 * found[name] == pytest.approx(effect[name])


def test_rows_of_two_studies_have_the_paired_t(cli: Cli, store: Store) -> None:
    """Of other recipes, with three seeds here and five there: the shared ones count."""
    make_study(store, V1, name="one")
    five = {"baseline": [0.88, 0.91, 0.90, 0.5, 0.6]}
    make_study(store, five, name="two", file="two.toml", batch_size=128, lr=0.1)
    found = document(cli, "one:mixup", "two:0")
    a, b = np.array(V1["mixup"]), np.array(five["baseline"][:3])
    test = ttest_rel(b, a)
    interval = test.confidence_interval(0.95)
    top1 = metric(found)
    assert top1["shared_seeds"] == [0, 1, 2]
    assert (top1["method"], top1["df"]) == ("paired", 2)
    assert top1["delta"] == pytest.approx((b - a).mean())
    assert (top1["low"], top1["high"]) == pytest.approx((interval.low, interval.high))
    assert top1["p"] == pytest.approx(test.pvalue)
    assert (top1["before"], top1["after"]) == pytest.approx((a.mean(), b.mean()))
    said = [(c["name"], c["text"]) for c in found["settings"]]
    assert said == [
        ("trick", "warmup (epochs 2) → none"),
        ("trick", "mixup (alpha 0.2) → none"),
        ("batch size", "64 → 128"),
        ("lr", "0.025 → 0.1"),
    ]
    loss = metric(found, "loss")
    other = ttest_rel(2 - b, 2 - a).confidence_interval(0.95)
    assert (loss["low"], loss["high"]) == pytest.approx((other.low, other.high))


def test_the_layout_is_the_references(cli: Cli, store: Store) -> None:
    make_study(store, V1)
    done = cli("diff", "group:warmup", "group:mixup")
    told = Rule(V1, IMAGES).difference("mixup", "warmup")
    assert (done.returncode, done.stderr) == (
        0,
        "Interval from their own seeds and the noise of all rows of their table "
        f"({told.df:.1f} df); of this comparison alone, no verdict.\n",
    )
    low, high = told.interval()
    top1 = f"{100 * low:+.1f}, {100 * high:+.1f}"
    losses = {row: [2 - value for value in line] for row, line in V1.items()}
    low, high = Rule(losses, None).difference("mixup", "warmup").interval()
    loss = f"{low:.3f}, {high:.3f}".replace("-", "−")
    settings = "settings     trick  none → mixup (alpha 0.2)"
    assert done.stdout.splitlines() == [
        settings + "everything else is equal".rjust(100 - len(settings)),
        f"top-1 %      90.7 → 91.8   Δ +1.1 [{top1}], unadjusted 95%, 3 shared seeds",
        f"loss         1.093 → 1.082   Δ −0.011 [{loss}], unadjusted 95%, 3 shared seeds",
        "train loss   0.500 → 0.500   Δ 0.000, 3 shared seeds",
        "time/epoch   3.0 s → 4.0 s (×1.33)",
    ]
    assert "gain" not in done.stdout + done.stderr, "no verdict"


def test_one_shared_seed_has_the_band_of_re_running(cli: Cli, store: Store) -> None:
    make_study(store, V1)
    found = document(cli, "group:0/digits/1", "group:3/digits/1")
    top1 = metric(found)
    band = 1.96 * np.sqrt(((1 - 0.904) + (1 - 0.922)) / (2 * IMAGES))
    assert top1["band"] == pytest.approx(band, rel=1e-4)
    assert (top1["low"], top1["method"]) == (None, None)
    done = cli("diff", "group:0/digits/1", "group:3/digits/1")
    assert f"Δ +1.8, inside ±{100 * band:.1f}, seed 1 alone" in done.stdout
    assert (
        f"differs by up to ±{100 * band:.1f} points (95%; sd ≈ √(error/2N), N = 20)" in done.stderr
    )


def test_trials_by_their_keys_and_a_row_on_several_data_sets(cli: Cli, store: Store) -> None:
    resolved = make_study(store, V1, datasets=("digits", "woof"))
    keys = [row.keys[0] for row in resolved.tables[0].rows[:2]]
    found = document(cli, keys[0][:12], keys[1][:12])
    assert [c["text"] for c in found["settings"]] == ["none → warmup (epochs 2)"]
    both = cli("diff", "group:0", "group:1").stdout
    assert [line for line in both.splitlines() if line in ("digits", "woof")] == ["digits", "woof"]
    woof = document(cli, "group:0", "group:1", "--dataset", "woof")
    assert metric(woof)["before"] == pytest.approx(np.mean(V1["baseline"]) - 0.01)
    # other images: side by side, no difference
    done = cli("diff", "group:0/digits", "group:0/woof")
    assert "data set  digits → woof" in done.stdout
    assert "top-1 %      90.2 → 89.2\n" in done.stdout
    assert done.stderr == "Other test images: no difference is computed.\n"


def test_times_and_what_is_recorded(cli: Cli, store: Store) -> None:
    make_study(store, V1, seconds=2.0)
    gpu = MACHINE | {"device_name": "NVIDIA RTX 4090", "torch": "2.9.0"}
    other = {"baseline": [0.91, 0.92, 0.93]}
    make_study(store, other, name="two", file="two.toml", machine=gpu, epochs=4)
    done = cli("diff", "group:0", "two:0")
    assert "time/epoch   –   times not compared: EPYC and RTX 4090\n" in done.stdout
    recorded = "recorded     torch 2.8.0 → 2.9.0 · device AMD EPYC → NVIDIA RTX 4090\n"
    assert recorded in done.stdout
    assert "every other setting is equal" in done.stdout
    assert "everything else is equal" not in done.stdout
    ratio = document(cli, "group:0", "group:3")["epoch_seconds"]
    assert ratio["before"] == pytest.approx(gmean([2.0] * 3))
    assert ratio["ratio"] == pytest.approx(5.0 / 2.0)


def test_times_of_a_busy_machine_are_not_compared(cli: Cli, store: Store) -> None:
    shares = {row: [1.0, 0.98, 0.97] for row in V1} | {"mixup": [0.99, 0.52, 1.0]}
    make_study(store, V1, shares=shares)
    said = "times not compared: the machine was busy"
    assert f"time/epoch   –   {said}\n" in cli("diff", "group:warmup", "group:mixup").stdout
    found = document(cli, "group:warmup", "group:mixup")["epoch_seconds"]
    assert (found["ratio"], found["low"], found["high"], found["why"]) == (None, None, None, said)
    assert "time/epoch   2.0 s → 3.0 s (×1.50)\n" in cli("diff", "group:0", "group:1").stdout


def test_a_ratio_of_times_has_its_interval(cli: Cli, store: Store) -> None:
    before, after = [2.0, 2.1, 1.9], [3.0, 3.3, 2.9]
    for seed in range(3):
        train(store, make_trial(seed), 0.9, seconds=before[seed])
        train(store, make_trial(seed, "warmup"), 0.91 + seed / 100, seconds=after[seed])
    make_study(store, {name: V1[name] for name in ("baseline", "warmup")})
    low, high = np.exp(ttest_rel(np.log(after), np.log(before)).confidence_interval(0.95))
    found = document(cli, "group:0", "group:1")["epoch_seconds"]
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    ratio = gmean(after) / gmean(before)
    said = f"time/epoch   2.0 s → 3.1 s (×{ratio:.2f} [{low:.2f}, {high:.2f}])\n"
    assert said in cli("diff", "group:0", "group:1").stdout


def test_seeds_that_are_not_done_are_left_out_and_told(cli: Cli, store: Store) -> None:
    values = {"baseline": [0.90, 0.91, 0.92], "mixup": [0.93, None, 0.92]}
    resolved = make_study(store, values)
    lost = resolved.tables[0].rows[1].keys[1]
    train(store, resolved.trials[lost], 0.1, status="diverged")
    found = document(cli, "group:0", "group:1")
    top1 = metric(found)
    interval = ttest_rel([0.93, 0.92], [0.90, 0.92]).confidence_interval(0.95)
    assert (top1["low"], top1["high"]) == pytest.approx((interval.low, interval.high))
    assert (top1["method"], top1["shared_seeds"]) == ("paired", [0, 2])
    assert found["notes"] == [
        "group:1: seed 1 is diverged and left out",
        "group:1: diverged in 1 of 3, 95% interval 1–91%; only the others are compared",
    ]
    low, high = proportion_confint(1, 3, method="beta")
    p = fisher_exact([[0, 3], [1, 2]]).pvalue
    share = {"count": 1, "of": 3, "low": pytest.approx(low), "high": pytest.approx(high)}
    assert found["diverged"] == {"before": None, "after": share, "p": pytest.approx(p)}


def test_the_same_row_twice_and_other_seeds(cli: Cli, store: Store) -> None:
    make_study(store, V1)
    done = cli("diff", "group:mixup", "group:2")
    assert done.stdout.splitlines()[0] == "settings     the same trials"
    assert "Δ" not in done.stdout
    done = cli("diff", "group:mixup/digits/0", "group:mixup/digits/2")
    assert "seed  0 → 2" in done.stdout
    assert done.stderr == "No seed is shared: no difference is computed.\n"


def test_names_of_others_are_escaped(cli: Cli, store: Store) -> None:
    key = train(store, make_trial(0, "x\x1b[31m\u202e"), 0.8)
    other = train(store, make_trial(0), 0.8)
    done = cli("diff", other, key)
    assert "none → x\\u001b[31m\\u202e" in done.stdout
    assert "\x1b" not in done.stdout


def test_two_checkpoints_by_mcnemar(cli: Cli, store: Store) -> None:
    """Against scipy's binomial test on the images that only one gets right."""
    make_study(store, V1)
    pair = ("group:0/digits/0", "group:1/digits/2")
    right = []
    for address in pair:
        row, seed = int(address[6]), int(address[-1])
        key = make_study(store, V1).tables[0].rows[row].keys[seed]
        (attempt,) = attempt_reader.attempts(store.path, key)
        with np.load(attempt / "predictions.npz") as arrays:
            right.append(arrays["scores"].argmax(1) == arrays["labels"])
    only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
    assert only[0] + only[1] > 0, "else nothing is tested"
    found = document(cli, *pair, "--mcnemar")["mcnemar"]
    assert (found["only_before"], found["only_after"], found["images"]) == (*only, IMAGES)
    assert found["p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    told = cli("diff", *pair, "--mcnemar").stdout
    assert f"images       {only[0]} right in the first only, {only[1]} in the second" in told
    done = cli("diff", "group:0", "group:1", "--mcnemar")
    assert done.returncode == 2
    assert done.stderr == (
        "error: --mcnemar compares two checkpoints, and group:0 has 3\n"
        "  name one trial of each: group:0/digits/0\n"
    )


def test_refusals(cli: Cli, store: Store) -> None:
    make_study(store, {"baseline": [0.9], "mixup": [None]}, datasets=("digits", "woof"))

    def said(*arguments: str) -> str:
        done = cli("diff", *arguments)
        assert done.returncode == 2, done
        return done.stderr.splitlines()[0]

    assert said("group:0", "group:mixup") == (
        "error: group:mixup on digits: nothing is measured yet (new)"
    )
    assert said("group:0", "group:mixp").endswith("no row 'mixp'; did you mean 'mixup'?")
    assert said("grup:0", "group:0").endswith("; did you mean 'group'?")
    assert said("group", "group:0") == "error: 'group' is a study; diff takes rows"
    assert said("zzz", "group:0") == "error: no trial starts with 'zzz'"
    assert said("group:0", "group:0", "--dataset", "woff") == (
        "error: --dataset woff; did you mean 'woof'?"
    )
    assert said("group:0/woof", "group:0", "--dataset", "digits") == (
        "error: --dataset digits: only one of the two is trained on it"
    )
    assert said("group:0") == "error: missing argument 'B'"
