"""The paragraphs on methods: every fact is there, and none that the tables do not have."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from ablate.core.resolved_study import Tuning, Until
from ablate.errors import AblateError
from ablate.report import build_tables, render_methods
from tests.helpers.compared_studies import table4
from tests.helpers.latex_documents import (
    BEYOND,
    SPECIAL,
    compile_,
    hostile,
    incomplete,
    needs_latex,
    studies,
)
from tests.helpers.reference_tables import nette, one_seed, woof
from tests.helpers.report_blocks import ALL, ATTRIBUTION, FACTORIAL, below
from tests.helpers.report_studies import GPU, GROUP1, cumulative, results, study, table
from tests.helpers.set_studies import built, of_sets, planted, set_table

HOLM = "Holm, S. (1979). A simple sequentially rejective multiple test procedure."

PLAIN = """\
The tricks warmup, fp16, mixup and zero_gamma were added to a baseline one after another, in this \
order, and every variant was compared with the one before it; the last was also compared with the \
baseline. The baseline was resnet50_v1 (20 epochs, batch 64, lr 0.025, 160 px). Every variant was \
trained with the same n = 3 seeds (0–2), on imagenette (3,925 test images).

We report top-1 accuracy at the last of 20 epochs as mean and standard deviation over seeds; no \
epoch was selected. Differences are means over the seeds that both variants have. Their intervals \
come from a least-squares fit of the metric on variant and seed, weighted by a power of the \
variants' error rates that restricted maximum likelihood chose, and from each difference's own \
variance over seeds, moderated by the residual variance of all variants (Smyth, 2004; 5 degrees of \
freedom); they are 95% intervals for new seeds on these test images, not corrected for the number \
of comparisons. Differences were tested against zero at α = 0.05 with Holm's correction over 5 \
comparisons (Holm, 1979). A variant is called equivalent where the 90% interval of its \
difference lies within the declared margin of ±0.5 points, by two one-sided tests (Schuirmann, \
1987), and unresolved where neither test decides. The share of new seeds at which a variant \
would beat what it is compared with is Φ(Δ/σ), σ being the standard deviation of the difference \
over seeds, with an interval by the noncentral t distribution: \\> 99% \\[85, \\> 99\\] for \
zero_gamma and \\> 99% \\[96, \\> 99\\] for all 4 tricks. The smallest difference that these \
seeds would detect with 80% power at the corrected level is about 1.1 to 1.7 points; the margin \
of ±0.5 points would take 11 to 50 seeds.

Trainings ran on 1 × NVIDIA RTX 4090, in fast numerics, with torch 2.8.0 and ablate 0.1.0. Times \
per epoch are medians without the first epoch, and are compared on one kind of device only. The \
tables are made by: ablate run studies/group1.toml.

Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of \
Statistics 6, 65–70.

Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure and the power approach \
for assessing the equivalence of average bioavailability. Journal of Pharmacokinetics and \
Biopharmaceutics 15, 657–680.

Smyth, G. K. (2004). Linear models and empirical Bayes methods for assessing differential \
expression in microarray experiments. Statistical Applications in Genetics and Molecular Biology \
3 (1), article 3.
"""


def made(kind, rows, **more):
    values = {label: (70.0 + i, 70.3 + i / 2, 71.0) for i, (label, *_) in enumerate(rows)}
    return build_tables(study(table(rows, 3, kind=kind, **more)), results(values), {})


def test_a_plain_study():
    assert render_methods(nette()) == PLAIN


def test_one_seed_is_no_finding():
    text = render_methods(one_seed())
    assert "Every variant was trained once, with seed 0" in text
    assert "no interval and no test" in text
    assert "differ by up to ±1.4 points from re-running alone" in text
    assert "it may be twice as much. No difference here is a finding" in text
    assert "lower bound" not in text
    for word in ("Holm", "Schuirmann", "standard deviation", "95% intervals for", "four times"):
        assert word not in text


def test_incomplete_and_diverged_rows_are_named():
    text = render_methods(nette() + woof())
    assert "gave a result, on imagewoof: + zero_gamma (2 of 3 seeds); such a variant" in text
    assert "imagenette (3,925 test images) and imagewoof (3,925 test images)" in text
    text = render_methods(incomplete())
    assert (
        "+ mixup (2 of 3 seeds), + cosine (diverged in 1 of 3, 95% interval 1–91%) and + distill "
        "(2 of 3 seeds)" in text
    )
    assert "distill was added to the last of these and not carried on." in text
    assert "2 epochs longer is a control" in text
    assert "Not every training" not in render_methods(nette())


@pytest.mark.parametrize(
    ("kind", "reference", "said"),
    [
        ("cumulative", "above", "The tricks warmup and mixup were added to a baseline one after"),
        ("one_at_a_time", "baseline", "The tricks warmup and mixup were each added alone"),
        ("leave_one_out", "full", "Each of the tricks warmup and mixup was left out of the full"),
        ("factorial", "baseline", "Every combination of the tricks warmup and mixup was trained"),
        ("orderings", "baseline", "several orders of warmup and mixup go through were trained"),
    ],
)
def test_designs(kind, reference, said):
    text = render_methods(made(kind, cumulative("warmup", "mixup"), reference=reference))
    assert said in text
    assert ("baseline one after another" in text) == (kind == "cumulative")


def test_leaving_out_names_what_is_left_out_and_what_all_rows_have():
    tricks = ("warmup", "mixup", "ema")
    sets = [tricks, *(tuple(t for t in tricks if t != out) for out in tricks)]
    left = set_table("leave_one_out", sets, tricks, base=("fp16",))
    values = planted({("warmup",): 0.02}, tricks, seeds=3, noise=0.002)
    text = render_methods(built(left, results=of_sets(values)))
    assert "Each of the tricks warmup, mixup and ema was left out of the full set in turn" in text
    assert "The recipe was resnet50_v1 (20 epochs, batch 64, lr 0.025, 160 px), with fp16." in text


def test_one_trick_alone_is_no_each():
    text = render_methods(made("one_at_a_time", cumulative("mixup"), reference="baseline"))
    assert "The trick mixup was added alone to a baseline" in text


def test_looks_are_told_with_their_levels():
    looks = Until(looks=((3, 0.005), (6, 0.015)), number=1)
    values = {label: (70.0 + i, 70.3 + i / 2, 71.0) for i, (label, *_) in enumerate(GROUP1)}
    text = render_methods(build_tables(study(table(GROUP1), until=looks), results(values), {}))
    assert (
        "at looks planned before any training, after 3 seeds (α = 0.005) and 6 seeds (α = 0.015), "
        "which share an error rate of 0.02; these are the results of look 1, at 3 seeds." in text
    )
    assert text.count("Seeds were added") == text.count("0.015") == 1
    assert "looks planned" not in render_methods(nette())


def test_a_limit_of_images_is_told():
    def limited(trial):
        dataset = trial.dataset.model_copy(update={"limit": 1500})
        return trial.model_copy(update={"dataset": dataset})

    resolved = study(table(GROUP1))
    some = resolved.model_copy(
        update={"trials": {k: limited(t) for k, t in resolved.trials.items()}}
    )
    values = {label: (70.0 + i, 70.3 + i / 2, 71.0) for i, (label, *_) in enumerate(GROUP1)}
    said = "Of every split at most 1,500 images were used, balanced over classes."
    assert said in render_methods(build_tables(some, results(values), {}))
    assert "Of every split" not in render_methods(build_tables(resolved, results(values), {}))


def test_a_choice_of_settings_is_told():
    options = ({"lr": 0.1}, {"lr": 0.3})
    labels = ("lr 0.1", "lr 0.3")
    chose = Tuning(options=options, labels=labels, words="lr of 0.1, 0.3", held_out=10)
    text = render_methods([replace(nette()[0], tuning=chose)])
    assert "among the same 2: lr of 0.1, 0.3, by its result on a tenth of the training" in text
    assert "the test images had no part in the choice" in text


def test_several_ablations_have_a_sentence_each():
    rows = cumulative("warmup", "mixup")
    tables = [
        table(rows, 2, ablation="main"),
        table(rows, 2, ablation="alone", kind="one_at_a_time", reference="baseline"),
    ]
    values = {label: (70.0 + i, 70.3 + i / 2) for i, (label, *_) in enumerate(rows)}
    text = render_methods(build_tables(study(*tables), results(values), {}))
    assert "Ablation main: The tricks warmup" in text
    assert "Ablation alone: The tricks warmup and mixup were each added alone" in text
    assert "Within each table, which is a family of its own, differences were tested" in text


def paragraphs(tables):
    return render_methods(tables).strip().split("\n\n")


def seen(table_):
    """Both ends where the least certain comparison sees less than the surest by half."""
    ends = [table_.detectable_best, table_.detectable]
    return " to ".join(f"{end:.1f}" for end in (ends if ends[1] > 1.5 * ends[0] else ends[1:]))


def test_what_differs_by_table_is_a_paragraph_of_its_own():
    tables = nette() + woof()
    design, analysis, by_table, lacking, *_ = paragraphs(tables)
    assert design.startswith("The tricks warmup")
    assert analysis.startswith("We report top-1 accuracy")
    assert "imagenette" not in analysis
    assert "imagewoof" not in analysis
    # the numbers are those of the tables, each in its own sentence
    for table_, said in zip(tables, by_table.split(". For "), strict=True):
        facts = (
            f"{table_.dataset}: {round(table_.df, 1):g} degrees of freedom, "
            f"differences from about {seen(table_)} points detected with 80% power"
        )
        assert facts in said
    assert lacking.startswith("Not every training gave a result, on imagewoof: + zero_gamma")
    # one table, or two that are alike, have them in the analysis
    twin = [replace(nette()[0], dataset="imagewoof")]
    for same in (nette(), nette() + twin):
        design, analysis, machines, *_ = paragraphs(same)
        assert f"{round(same[0].df, 1):g} degrees of freedom" in analysis
        assert "correction over 5 comparisons" in analysis
        assert machines.startswith("Trainings ran on")


def test_what_ablations_have_in_common_is_said_once():
    subsets_ = [(), ("a",), ("b",), ("a", "b")]
    kinds = {
        "one_at_a_time": [(), ("a",), ("b",)],
        "leave_one_out": [("a", "b"), ("b",), ("a",)],
        "factorial": subsets_,
    }
    tables = [set_table(kind, sets, ("a", "b")) for kind, sets in kinds.items()]
    values = planted({("a",): 0.02}, ("a", "b"), seeds=3, noise=0.002)
    made_ = built(*tables, results=of_sets(values))
    found = paragraphs(made_)
    assert "\n\n".join(found).count("The recipe was resnet50_v1") == 1
    assert found[0].count("Every variant was trained with the same n = 3 seeds") == 1
    assert [found[0].count(f"Ablation {kind}: ") for kind in kinds] == [1, 1, 1]
    # a block below a table is a paragraph
    blocks = [part for part in found if part.startswith("Also given: ")]
    titles = ["main effects and interactions", "each trick alone, and on top of all others"]
    assert [part.split(".")[0].split(",")[0] for part in blocks] == [
        f"Also given: {title.split(',')[0]}" for title in titles
    ]
    sentences = [s for part in found for s in part.split(". ")]
    assert len(sentences) == len(set(sentences))


def test_several_studies_are_named_and_what_differs_is_said():
    text = render_methods(studies())
    assert text.startswith("**group1.** The tricks")
    assert "\n\n**other_study.** The tricks" in text
    assert "Margins differ: ±0.5 points in group1, ±1 points in other_study." in text
    assert text.count(HOLM) == 1


def test_only_what_is_used_is_cited():
    assert "Shapley" not in render_methods(below(nette(), FACTORIAL))
    text = render_methods(below(nette(), ATTRIBUTION, FACTORIAL))
    assert "Shapley values after Shapley (1953)" in text
    assert "Shapley, L. S. (1953)." in text
    assert "“Main effects and pair interactions” is a family of 3 comparisons" in text
    assert "He et al. (2019)" in render_methods(table4())
    assert "He, T." not in render_methods(nette())


def test_a_baseline_alone_compares_nothing():
    text = render_methods(made("cumulative", cumulative()))
    assert "The baseline was" in text
    for word in ("Differences", "Holm", "compared with", "interval"):
        assert word not in text


def test_times_that_are_not_shown_are_not_described():
    done = results({label: (70.0, 71.0, 72.5) for label, *_ in GROUP1})
    shared = {
        k: type(v)(v.final, v.epochs, v.epoch_seconds, GPU | {"shared_device": True})
        for k, v in done.items()
    }
    assert "Times per epoch" not in render_methods(build_tables(study(table(GROUP1)), shared, {}))


@pytest.mark.parametrize("make", [nette, one_seed, lambda: hostile("a|b`c<img src=x>*_d_ #")])
def test_markdown_is_prose(make):
    html = MarkdownIt("commonmark").render(render_methods(make()))
    assert set(re.findall(r"</?(\w+)", html)) <= {"p", "strong"}


@needs_latex
def test_latex_compiles(tmp_path):
    parts = [nette() + woof(), one_seed(), studies(), hostile(SPECIAL), below(nette(), *ALL)]
    text = "\n\n".join(render_methods(part, "latex") for part in parts)
    assert "Overfull" not in compile_(text, tmp_path)
    text = render_methods(hostile(BEYOND), "latex")
    assert text.isascii()
    compile_(text, tmp_path)


def test_other_formats_are_refused():
    with pytest.raises(AblateError, match="the methods are prose, not csv; known: markdown, latex"):
        render_methods(nette(), "csv")
