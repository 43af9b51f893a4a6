"""Captions are true of the table that they stand below."""

from __future__ import annotations

import re

import numpy as np
import pytest
import statsmodels.api as sm

from ablate.report import build_tables, render, render_methods, render_terminal
from tests.helpers.report_studies import State, cumulative, key, results, study, table

ROWS = cumulative("warmup", "mixup")
VALUES = {
    "baseline": (90.0, 91.2, 89.6),
    "+ warmup": (90.5, 91.7, 90.9),
    "+ mixup": (91.8, 94.0, 91.6),
}


def made(lost=(), status="diverged", **more):
    gone = {key(label, seed): State(status) for label, seed in lost}
    kept = {k: r for k, r in results(VALUES).items() if k not in gone}
    return build_tables(study(table(ROWS), **more), kept, gone)


def texts(tables):
    shown = render_terminal(tables, width=100, color=False, ascii=False)
    page = re.sub(r"<[^>]+>", "", render("html", tables))
    parts = shown, render("markdown", tables), page, render_methods(tables)
    return [" ".join(text.split()) for text in parts]


def test_a_difference_around_a_diverged_seed_is_the_fit_s_and_said_so():
    tables = made([("+ mixup", 1)])
    assert "+1.1 [" in render_terminal(tables, width=100, color=False, ascii=False)
    # statsmodels on row and seed dummies, without the cell; the loss, 1 − top-1, has no weights
    cells = [(i, s) for i in range(3) for s in range(3) if (i, s) != (2, 1)]
    design = np.array([[*(i == j for j in range(3)), s == 1, s == 2] for i, s in cells], float)
    fit = sm.OLS([VALUES[list(VALUES)[i]][s] for i, s in cells], design).fit()
    (loss,) = made([("+ mixup", 1)], metric="loss", margin=0.01)
    assert -100 * loss.rows[2].delta.delta == pytest.approx(fit.params[2] - fit.params[1])
    both = np.mean([VALUES["+ mixup"][s] - VALUES["+ warmup"][s] for s in (0, 2)])
    assert fit.params[2] - fit.params[1] > both + 0.05
    terminal, markdown, page, methods = texts(tables)
    assert "Δ over the same seeds, fitted where one diverged" in terminal
    assert "Δ: mean difference over the same seeds, fitted where one diverged" in markdown
    assert "Mean difference over the same 3 seeds, fitted where one diverged" in page
    assert "both variants have; where a training diverged they are those of the fit" in methods


@pytest.mark.parametrize("lost", [(), [("+ mixup", 1)]])
def test_means_over_the_seeds_that_both_have_are_called_no_more(lost):
    """Seeds that are not trained yet: the printed Δ is their mean, by hand."""
    tables = made(lost, "interrupted")
    for row, other in ((1, 0), (2, 1)):
        cells = zip(*(VALUES[tables[0].rows[i].label] for i in (row, other)), strict=True)
        apart = [a - b for s, (a, b) in enumerate(cells) if not (lost and row == 2 and s == 1)]
        assert 100 * tables[0].rows[row].delta.delta == pytest.approx(np.mean(apart))
    assert not any("fitted where" in text or "of the fit below" in text for text in texts(tables))


def test_a_difference_over_fewer_seeds_has_their_number_or_is_not_printed():
    tables = made([("+ mixup", 1)], "interrupted")
    text = render_terminal(tables, width=100, color=False, ascii=False)
    line = next(line for line in text.splitlines() if line.startswith("+ mixup"))
    assert "(n 2)" in line
    assert "on 2 seeds" in line
    assert "incomplete (2 of 3 seeds)" in line
    # what is left is the time: no Δ base without the number of its seeds
    assert line.split("seeds)")[1].split() == ["8.0", "s", "×1.00"]
    assert "on 2 seeds |" in next(
        line for line in render("markdown", tables).splitlines() if line.startswith("| + mixup")
    )


def test_rows_without_a_shared_seed_say_how_many_each_has():
    tables = made([("+ warmup", 0), ("+ mixup", 1), ("+ mixup", 2)], "interrupted")
    text = render_terminal(tables, width=100, color=False, ascii=False)
    lines = {line[:8]: line for line in text.splitlines()}
    assert "(n 2)" in lines["+ warmup"]
    assert "incomplete (2 of 3 seeds)" in lines["+ warmup"]
    assert "(n 1)" in lines["+ mixup "]
    assert "incomplete (1 of 3 seeds)" in lines["+ mixup "]
