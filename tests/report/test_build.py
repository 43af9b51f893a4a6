"""What a table may say: families, missing and diverged cells, equal rows, times, kinds of table."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from ablate.core.trial import Numerics
from ablate.errors import AblateError
from ablate.report import build_tables, render_markdown, render_terminal
from tests.helpers.moderated import Rule
from tests.helpers.report_studies import (
    GPU,
    GROUP1,
    Result,
    State,
    cumulative,
    key,
    results,
    study,
    table,
)

V1 = {
    "baseline": (90.0, 90.4, 90.2),
    "+ warmup": (90.5, 90.7, 90.9),
    "+ mixup": (91.8, 92.0, 91.6),
    "+ cosine": (91.7, 92.2, 91.8),
}
V1_ROWS = cumulative("warmup", "mixup", "cosine")


def build(rows, values, states=None, *, drop=(), seeds=None, **more):
    done = results(values)
    for each in drop:
        done.pop(each)
    seeds = seeds or len(next(iter(values.values())))
    options = {k: more.pop(k) for k in ("margin", "metric") if k in more}
    (made,) = build_tables(study(table(rows, seeds, **more), **options), done, states or {})
    return made


def show(*tables, width=100):
    return render_terminal(tables, width=width, color=False, ascii=False)


def test_v1_through_the_report():
    made = build(V1_ROWS, V1, margin=1.0, total=False)
    deltas = [row.delta.effect for row in made.rows[1:]]
    assert [100 * e.delta for e in deltas] == pytest.approx([0.5, 1.1, 0.1], abs=1e-9)
    rule = Rule({label: np.array(line) / 100 for label, line in V1.items()}, 3925)
    told = [rule.difference(row, above) for above, row in pairwise(V1)]
    corrected = multipletests([each.p for each in told], method="holm")[1]
    assert [e.p_holm for e in deltas] == pytest.approx(corrected)
    inner = [100 * end for each in told for end in each.interval(0.9)]
    assert max(map(abs, inner[:2])) < 1 < max(map(abs, inner[2:4]))
    assert max(corrected[:2]) < 0.05 < corrected[2]
    assert [row.verdict for row in made.rows] == ["", "gain, negligible", "gain", "equivalent"]
    assert (made.comparisons, made.decimals) == (3, 1)
    assert made.df == made.df_most == pytest.approx(told[0].df)


def test_the_total_is_one_more_comparison_of_the_family():
    made = build(V1_ROWS, V1)
    assert made.total.label == "all 3 tricks"
    assert made.comparisons == 4
    raw = [row.delta.effect.p for row in made.rows[1:]] + [made.total.delta.effect.p]
    adjusted = [row.delta.effect.p_holm for row in made.rows[1:]]
    adjusted.append(made.total.delta.effect.p_holm)
    assert adjusted == pytest.approx(multipletests(raw, method="holm")[1])
    assert made.rows[2].base.effect.p_holm is None  # the other column is unadjusted
    assert made.rows[2].base.effect.verdict is None


def test_one_trick_has_no_total_and_is_the_paired_t_test():
    made = build(V1_ROWS[:2], {k: V1[k] for k in ("baseline", "+ warmup")}, total=False)
    assert made.comparisons == 1
    test = scipy_stats.ttest_rel(V1["+ warmup"], V1["baseline"])
    effect = made.rows[1].delta.effect
    assert effect.p == pytest.approx(test.pvalue)
    assert effect.p_holm == pytest.approx(test.pvalue)


def test_a_diverged_seed_is_fitted_around_and_never_gets_a_verdict():
    lost = key("+ mixup", 1)
    made = build(V1_ROWS, V1, {lost: State("diverged")}, drop=[lost], margin=0.5, total=False)
    effects = [row.delta.effect for row in made.rows[1:]]
    values = {label: np.array(line) / 100 for label, line in V1.items()}
    values["+ mixup"][1] = np.nan
    rule = Rule(values, 3925)
    told = [rule.difference(row, above) for above, row in pairwise(V1)]
    assert [e.delta for e in effects] == pytest.approx([each.estimate for each in told])
    assert [e.se for e in effects] == pytest.approx([each.se for each in told])
    corrected = multipletests([each.p for each in told], method="holm")[1]
    assert [e.p_holm for e in effects] == pytest.approx(corrected)
    assert made.rows[2].verdict == "diverged (1 of 3)"
    assert [round(100 * end, 1) for end in told[1].interval()] == [0.5, 1.7]
    text = show(made)
    assert "+ mixup     91.7 (n 2)  +1.1 [+0.5, +1.7]  ↯ diverged (1 of 3)" in text
    assert "! + mixup: seed 1 diverged (1 of 3, 95% interval 1–91%), left out of mean" in text


@pytest.mark.parametrize("lost", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_counts_as_diverged(lost):
    values = V1 | {"+ cosine": (91.7, lost, 91.8)}
    made = build(V1_ROWS, values)
    assert made.rows[3].verdict == "diverged (1 of 3)"
    assert made.rows[3].n == 2
    assert made.total.verdict == "diverged (1 of 3)"


def test_a_row_with_all_seeds_diverged_leaves_the_others_alone():
    lost = {key("+ mixup", s): State("diverged") for s in range(3)}
    made = build(V1_ROWS, V1, lost, drop=lost)
    assert made.rows[2].verdict == "diverged (3 of 3)"
    assert made.rows[3].verdict == "reference diverged (3 of 3)"
    three = build(
        [*V1_ROWS[:2], ("+ cosine", "step", 1)], {k: V1[k] for k in V1 if "mixup" not in k}
    )
    assert made.rows[1].delta.effect.se == pytest.approx(three.rows[1].delta.effect.se)
    assert made.total.delta.effect.delta == pytest.approx(three.total.delta.effect.delta)
    assert "(n 0)" in show(made)


def by_p(effect):
    return effect.p


def test_missing_seeds_have_no_verdict_on_both_sides_and_count_in_the_family():
    gone = key("+ warmup", 2)
    made = build(V1_ROWS, V1, {gone: State("interrupted")}, drop=[gone])
    assert made.rows[1].verdict == "incomplete (2 of 3 seeds)"
    assert made.rows[2].verdict == "reference incomplete (2 of 3 seeds)"
    # + cosine and the total, whose rows are complete, are corrected for all four all the same:
    # who looks on while rows come in would else test each as if it were the last
    assert made.comparisons == 4
    smaller, larger = sorted((made.rows[3].delta.effect, made.total.delta.effect), key=by_p)
    assert smaller.p_holm == pytest.approx(min(1, 4 * smaller.p))
    assert larger.p_holm == pytest.approx(min(1, max(4 * smaller.p, 3 * larger.p)))
    both = np.subtract(V1["+ mixup"], V1["+ warmup"])[:2].mean()
    assert 100 * made.rows[2].delta.delta == pytest.approx(both)
    assert made.rows[2].delta.effect is None


def test_nothing_done_yet():
    made = build(V1_ROWS, V1, drop=[key(r, s) for r in V1 for s in range(3)])
    assert {row.verdict for row in made.rows[1:]} == {"incomplete (0 of 3 seeds)"}
    text = show(made)
    assert text.count("(n 0)") == 4
    assert "nan" not in text + render_markdown([made])


def test_no_effect_is_a_verdict_and_a_line():
    lost = key("+ mixup", 0)
    made = build(V1_ROWS, V1, {lost: State("no_effect", "0 batches mixed")}, drop=[lost])
    assert made.rows[2].verdict == "no effect"
    assert "∅ no effect" in show(made)
    assert "! + mixup: no effect: 0 batches mixed" in show(made)


def test_equal_trials_are_fitted_once_and_print_an_equals_sign():
    rows = cumulative("linear_scaling", "warmup", "mixup", "cosine")
    values = {k.replace("+ linear_scaling", "baseline"): v for k, v in V1.items()}
    made = build(rows, values, keys={"+ linear_scaling": "baseline"})
    alone = build(V1_ROWS, V1)
    line = next(line for line in show(made).splitlines() if "linear" in line)
    assert line.split() == ["+", "linear_scaling", "90.2", "±0.2", "=", "8.0", "s"]
    assert (made.rows[1].verdict, made.rows[1].delta, made.rows[1].base) == ("=", None, None)
    assert made.comparisons == alone.comparisons
    assert made.df == alone.df
    assert made.rows[2].delta.effect == alone.rows[1].delta.effect


def test_bit_identical_curves_are_reported():
    values = V1 | {"+ warmup": V1["baseline"]}
    made = build(V1_ROWS, values)
    said = "+ warmup and baseline have bit-identical curves"
    assert [note for note in made.notes if said in note]
    assert made.rows[1].delta.delta == 0.0
    assert not [note for note in build(V1_ROWS, V1).notes if "identical" in note]


def test_seeds_that_agree_exactly_claim_nothing():
    rows = cumulative("warmup")
    made = build(rows, {"baseline": (90.0, 91.0), "+ warmup": (90.5, 91.5)})
    assert made.rows[1].verdict == "unresolved"
    assert "the seeds agree exactly" in show(made)


def test_times_of_different_devices_are_not_compared():
    done = results(V1)
    other = key("+ mixup", 1)
    done[other] = Result(
        done[other].final,
        done[other].epochs,
        done[other].epoch_seconds,
        GPU | {"device_name": "NVIDIA RTX 3090"},
    )
    (made,) = build_tables(study(table(V1_ROWS)), done, {})
    assert all(row.seconds is None and row.ratio is None for row in made.rows)
    text = show(made)
    assert "! times not compared: NVIDIA RTX 3090 and NVIDIA RTX 4090" in text
    assert text.splitlines()[3].endswith("–")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"environment": GPU | {"shared_device": True}}, "side by side"),
        ({"environment": GPU | {"profiled": True}}, "trained with --profile"),
        ({"summary": {"examples": 3925, "precision": "float16"}}, "fp16 on a CPU"),
    ],
)
def test_times_that_mean_nothing_are_not_shown(more, said):
    resolved = study(table(V1_ROWS))
    cpu = Numerics.named("exact", "cpu")
    trials = {k: t.model_copy(update={"numerics": cpu}) for k, t in resolved.trials.items()}
    resolved = resolved.model_copy(update={"trials": trials})
    done = results(V1) | results({"+ mixup": V1["+ mixup"]}, **more)
    (made,) = build_tables(resolved, done, {})
    assert made.rows[2].seconds is None
    assert made.rows[3].ratio is None
    assert made.rows[1].ratio.ratio == pytest.approx(1.0)
    assert any(said in note for note in made.notes)


def test_time_ratio_leaves_the_first_epoch_out():
    done = results(V1, seconds={"+ warmup": 4.0})
    (made,) = build_tables(study(table(V1_ROWS)), done, {})
    assert made.rows[1].ratio.ratio == pytest.approx(0.5)
    assert made.rows[1].seconds == pytest.approx(4.0)


def test_rows_of_the_same_trials_are_one_row_of_the_fit_of_times():
    """The ratio of two rows is the paired t of their logarithms, also if one is printed twice."""
    rows = [*cumulative("warmup"), ("+ mixup", "step", 1)]
    resolved = study(table(rows, keys={"+ mixup": "+ warmup"}))
    done, seconds = {}, {"baseline": (8.0, 8.2, 7.9), "+ warmup": (4.1, 4.0, 4.2)}
    for label, times in seconds.items():
        for seed, time in enumerate(times):
            one = results({label: V1[label]}, seconds={label: time})
            done[key(label, seed)] = one[key(label, seed)]
    (made,) = build_tables(resolved, done, {})
    log = scipy_stats.ttest_rel(np.log(seconds["+ warmup"]), np.log(seconds["baseline"]))
    ratio = made.rows[1].ratio
    assert (ratio.low, ratio.high) == pytest.approx(np.exp(log.confidence_interval(0.95)))
    assert made.rows[2].mark == "="
    assert made.rows[2].ratio is None


def test_mixed_numerics_are_refused():
    resolved = study(table(V1_ROWS))
    first = next(iter(resolved.trials))
    trials = dict(resolved.trials)
    trials[first] = trials[first].model_copy(update={"numerics": Numerics()})
    with pytest.raises(AblateError, match="mixes numerics"):
        build_tables(resolved.model_copy(update={"trials": trials}), {}, {})


def test_a_metric_that_was_not_measured():
    with pytest.raises(AblateError, match="'top5' was not measured"):
        build(V1_ROWS, V1, metric="top5")


def test_a_loss_is_better_lower():
    made = build(V1_ROWS, V1, metric="loss", margin=0.001)
    assert made.rows[2].verdict == "gain"
    assert made.rows[2].delta.delta == pytest.approx(-0.011)
    text = show(made)
    assert "points" not in text
    assert "loss" in text.splitlines()[0]
    assert "−0.011" in text
    assert "not shown at this width: top-1, time" in show(made, width=76)


def test_branches_and_controls():
    rows = [
        ("baseline", "baseline", None),
        ("+ cosine", "step", 0),
        ("+ distill", "branch", 1),
        ("+ epochs 200 alone", "control", 1),
        ("+ mixup", "branch", 3),
    ]
    rng = np.random.default_rng(3)
    values = {r[0]: tuple(80 + i + rng.normal(0, 0.2, 3)) for i, r in enumerate(rows)}
    made = build(rows, values, total=False)
    assert [row.delta.reference for row in made.rows[1:]] == [0, 1, 1, 3]
    assert made.comparisons == 4
    assert made.total is None


def test_leave_one_out():
    rows = [
        ("all 3 tricks", "baseline", None),
        ("without warmup", "step", 0),
        ("without mixup", "step", 0),
        ("without cosine", "step", 0),
    ]
    values = dict(zip([r[0] for r in rows], reversed(list(V1.values())), strict=True))
    made = build(rows, values, kind="leave_one_out", reference="full", total=False)
    assert made.rows[3].verdict == "loss"
    assert not made.has_base
    head = show(made).splitlines()[0]
    assert "Δ full set" in head
    assert "Δ full set [95%]" in render_markdown([made])
    assert "base" not in show(made).splitlines()[1]


def test_one_at_a_time():
    rows = [("baseline", "baseline", None)] + [(n, "step", 0) for n in ("a", "b", "c")]
    values = dict(zip([r[0] for r in rows], V1.values(), strict=True))
    made = build(rows, values, kind="one_at_a_time", reference="baseline", total=False)
    assert [row.delta.reference for row in made.rows[1:]] == [0, 0, 0]
    assert [round(100 * row.delta.delta, 4) for row in made.rows[1:]] == [0.5, 1.6, 1.7]
    assert "Δ baseline" in show(made).splitlines()[0]
    assert "× is against the baseline." in render_markdown([made])


def test_transposed_columns_are_lines_and_families_of_their_own():
    rows = cumulative("efficient")
    tables, done = [], {}
    for model, shift in (("resnet50_v1", 0.0), ("inception_v3", 2.0)):
        column = f"model {model}"
        tables.append(table(rows, column=column, transpose=True, total=False))
        values = {k: tuple(v + shift for v in V1[k]) for k in ("baseline", "+ warmup")}
        values["+ efficient"] = values.pop("+ warmup")
        done |= results(values, column=column)
    made = build_tables(study(*tables), done, {})
    lines = show(*made).splitlines()
    assert lines[0].split() == ["imagenette", "baseline", "+", "efficient", "Δ", "+", "efficient"]
    assert lines[3].startswith("model resnet50_v1     90.2 ±0.2")
    assert lines[4].startswith("model inception_v3    92.2 ±0.2")
    assert [table.comparisons for table in made] == [1, 1]
    assert "| model inception_v3 | 92.2 ± 0.2 | 92.7 ± 0.2 | +0.5 [" in render_markdown(made)


def test_decimals_follow_the_standard_error():
    close = {k: tuple(90 + (v - 90) / 10 for v in line) for k, line in V1.items()}
    made = build(V1_ROWS, close)
    assert made.decimals == 2
    assert "+0.11 [" in show(made)


def test_signs_are_those_of_the_unrounded_number():
    from ablate.report.numbers import signed

    assert [signed(x, 1) for x in (0.04, -0.04, 0.0, 1234.56)] == [
        "+0.0",
        "−0.0",
        "0.0",
        "+1,234.6",
    ]


def test_two_fits_of_one_difference_read_alike():
    from ablate.report.numbers import fixed, signed

    nearly = (2.75, 2.7499999999999996, 2.750000000000002)
    assert {signed(x, 1) for x in nearly} == {"+2.8"}
    assert {fixed(x, 1) for x in nearly} == {"2.8"}
    assert signed(-1.4e-14, 1) == "0.0"


def test_without_the_number_of_test_images_one_seed_has_no_band():
    done = results({k: v[:1] for k, v in V1.items()}, summary={})
    (made,) = build_tables(study(table(V1_ROWS, 1)), done, {})
    text = show(made)
    assert "inside" not in text
    assert "One seed: no interval and no verdict." in text
    assert "N =" not in text


def test_columns_and_ablations_are_named():
    a = table(GROUP1[:2], column="batch_size 256", ablation="table4")
    b = table(GROUP1[:2], column="batch_size 1024", ablation="table4")
    c = table(GROUP1[:3], ablation="table5")
    text = show(*build_tables(study(a, b, c), {}, {}))
    lines = text.splitlines()
    assert lines[0] == "table4"
    assert lines[1].startswith("imagenette, batch_size 256")
    assert "table5" in lines
    assert lines.count("table4") == 1
