"""What the plan warned of, in the tables that it is about; rows that stand out or cannot be told
apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from ablate.design import resolve
from ablate.report import build_tables, render_terminal
from ablate.report.tables.notes import known_before
from ablate.study import load_study
from tests.helpers.report_studies import GROUP1, cumulative, results, study, table
from tests.helpers.set_studies import built, of_sets, set_table, subsets

STUDY = """\
[study]
datasets = ["digits"]
seeds = 2

[recipe]
model = "resnet8"
epochs = 3
batch_size = 64
lr = 0.1
image_size = 8

[tricks]
averaged = { use = "ema", decay = 0.9999 }
warmup = { epochs = 2 }
adam = { set.lr = 0.1 }

[[ablation]]
name = "sizes"
stack = ["averaged", "cosine"]
over = { batch_size = [64, 128] }

[[ablation]]
name = "rates"
stack = ["warmup", "adam"]
"""


def notes(folder: Path) -> dict[str, list[str]]:
    file = folder / "mine.toml"
    file.write_text(STUDY, encoding="utf-8")
    resolved = resolve(load_study(file), data_root=None, command="")
    tables = {f"{t.ablation} {t.column}".strip(): t for t in resolved.tables}
    return {name: known_before(resolved, table) for name, table in tables.items()}


def test_each_table_has_those_of_its_own_rows_and_each_of_them_once(tmp_path: Path) -> None:
    found = notes(tmp_path)
    for column, steps in (("64", 54), ("128", 27)):  # of 1,198 images
        [said] = found[f"sizes batch_size {column}"]  # not again for the row that keeps it
        assert said.startswith(f"+ averaged: {0.9999**steps:.1%} of the average")
        assert f"over {steps} steps" in said
    begins = [
        "warmup of 2 epochs is cut to 1.5, half of the 3 trained",
        "adam trains at the recipe's lr 0.1",
        "+ warmup: warmup: the learning rate never reaches the recipe's 0.1",
    ]
    for begin in begins:
        assert [text.startswith(begin) for text in found["rates"]].count(True) == 1
    assert len(found["rates"]) == 3


def rows_of_noise(rng: np.random.Generator, noisy: float) -> dict[str, np.ndarray]:
    """Losses of five rows over five seeds, the last row's noise so many times that of the rest."""
    luck = rng.normal(0, 0.01, 5)
    sd = [0.004] * 4 + [0.004 * noisy]
    return {row: 0.3 + luck + rng.normal(0, sd[i], 5) for i, (row, *_) in enumerate(GROUP1)}


def said_of(losses: dict[str, np.ndarray]) -> list[str]:
    done = results({row: 100 * (1 - line) for row, line in losses.items()})
    (made,) = build_tables(study(table(GROUP1, 5), metric="loss", margin=0.01), done, {})
    found = [note for note in made.notes if "its seeds differ" in note]
    text = " ".join(render_terminal([made], width=100, color=False, ascii=False).split())
    assert all(note in text for note in found)
    return found


def test_a_row_whose_seeds_differ_more_than_the_others_is_named() -> None:
    losses = rows_of_noise(np.random.default_rng(1), 9)
    (note,) = said_of(losses)
    y = np.array(list(losses.values()))  # two-way residuals by hand: rows are equally noisy by law
    residual = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    squares = np.sum(residual**2, axis=1)
    times = (squares[4] / squares[:4].mean()) ** 0.5
    assert times > 3
    assert note == (
        f"+ zero_gamma: its seeds differ {times:.2g} times as much as those of the other rows; "
        "what is compared with it is less certain than the rest"
    )


def test_rows_of_equal_noise_are_not() -> None:
    rng = np.random.default_rng(2)
    named = {
        noisy: sum(bool(said_of(rows_of_noise(rng, noisy))) for _ in range(40)) for noisy in (1, 9)
    }
    assert named[9] >= 38
    assert named[1] <= 5  # tested at 5%


ROWS = cumulative("warmup", "mixup")
CEILING = "all rows are within one image of 100%: the test set cannot tell them apart"


def told(values: dict[str, Any], **more: Any) -> list[str]:
    """Of a table on 3,925 images of 10 classes."""
    (made,) = build_tables(study(table(ROWS), **more), results(values), {})
    return [note for note in made.notes if "chance" in note or "100%" in note]


def test_rows_within_an_image_of_100_are_not_told_apart() -> None:
    image = 100 / 3925
    all_right = (100.0, 100.0, 100.0)
    near = {"baseline": (100.0, 100 - image, 100.0), "+ warmup": all_right, "+ mixup": all_right}
    assert told(near) == [CEILING]
    near["+ mixup"] = (100.0, 100 - 2 * image, 100 - 2 * image)
    assert told(near) == []


def test_equivalent_at_chance_says_that_nothing_was_learned() -> None:
    values = {"baseline": (10.0, 10.1, 9.9), "+ warmup": (10.1, 9.9, 10.05)}
    values["+ mixup"] = (60.0, 60.2, 59.9)
    assert told(values, margin=1.0) == [
        "baseline, + warmup: no better than chance (10%): equivalent says there that neither has "
        "learned, not that a trick does nothing"
    ]
    values["+ warmup"] = (14.0, 14.2, 13.9)  # a gain of one that learns a little
    values["+ mixup"] = (14.0, 14.2, 13.9)
    assert told(values, margin=1.0) == []


@pytest.mark.parametrize("far", [0.9, 1.1])
def test_chance_is_what_so_many_guesses_come_to(far: float) -> None:
    """95% of what guessing 3,925 images of 10 classes gives, by scipy's binomial."""
    high = binom.ppf(0.975, 3925, 0.1) / 3925 - 0.1
    value = 100 * (0.1 + far * high)
    values = {label: (value, value + 0.01, value - 0.01) for label, *_ in ROWS}
    values["+ warmup"] = (value, value - 0.01, value + 0.02)
    assert bool(told(values, margin=1.0)) == (far < 1)


def test_a_factorial_at_chance() -> None:
    values = {m: [0.1 + 0.0003 * s for s in (1, -1, len(m))] for m in subsets("ab")}
    (made,) = built(set_table("factorial", subsets("ab"), "ab"), results=of_sets(values), margin=2)
    said = "baseline, a, b, a + b: no better than chance (10%)"
    assert [note.startswith(said) for note in made.notes] == [True]


def test_other_metrics_have_no_chance_and_no_ceiling() -> None:
    values = {label: (100.0, 99.9, 100.0) for label, *_ in ROWS}
    assert told(values, metric="loss", margin=1.0) == []
