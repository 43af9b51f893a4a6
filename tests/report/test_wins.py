"""How often a row wins a new seed, in every format: the non-central t of scipy."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import optimize
from scipy import stats as scipy_stats

from ablate.report import build_tables, render, render_methods
from ablate.report.formats.html import render_html
from ablate.report.model import ReportTable
from ablate.sql.effects import effects
from tests.helpers.html_reading import by_id, parsed, words
from tests.helpers.html_reading import tables as tables_of
from tests.helpers.moderated import Rule, Told
from tests.helpers.reference_tables import NETTE, nette, one_seed, show, woof
from tests.helpers.report_studies import GROUP1, results, study, table
from tests.helpers.small_stores import IMAGES as SMALL
from tests.helpers.small_stores import make_study, new_store

Shares = tuple[float, float, float]
LOSSES = {
    "baseline": (0.402, 0.396, 0.401),
    "+ warmup": (0.402, 0.385, 0.394),
    "+ fp16": (0.391, 0.398, 0.399),
    "+ mixup": (0.290, 0.287, 0.295),
    "+ zero_gamma": (0.352, 0.349, 0.355),
}


def share(told: Told, seeds: int, better: float = 1.0) -> Shares:
    """Φ(Δ/σ) of new seeds, and its ends by the effect sizes that t = Δ/se does not refuse."""
    t = better * told.estimate / told.se

    def below(shift: float) -> float:
        found = float(scipy_stats.nct.cdf(t, told.df, shift))
        return found if np.isfinite(found) else float(shift < t)  # scipy has no far tails

    ends = [optimize.brentq(lambda nc, p=p: below(nc) - p, t - 60, t + 60) for p in (0.975, 0.025)]
    low, high = scipy_stats.norm.cdf(np.array(ends) / seeds**0.5)
    return float(scipy_stats.norm.cdf(t / seeds**0.5)), float(low), float(high)


def wanted() -> dict[str, Shares]:
    rule = Rule({name: np.array(line) / 100 for name, line in NETTE.items()}, 3925)
    found = {name: share(rule.difference(name, above), 3) for above, name in pairwise(NETTE)}
    names = list(NETTE)
    return found | {"all 4 tricks": share(rule.difference(names[-1], names[0]), 3)}


def of_loss() -> tuple[list[ReportTable], dict[str, Shares]]:
    done = results(dict.fromkeys(LOSSES, (50.0, 50.0, 50.0)))
    for name, line in LOSSES.items():
        for seed, loss in enumerate(line):
            (key,) = (row.keys[seed] for row in table(GROUP1).rows if row.label == name)
            done[key].final["loss"] = loss
    made = build_tables(study(table(GROUP1), metric="loss", margin=0.01), done, {})
    rule = Rule(LOSSES, None)
    return made, {n: share(rule.difference(n, above), 3, -1.0) for above, n in pairwise(LOSSES)}


def percent(value: float) -> str:
    rounded = round(100 * value)
    return "< 1" if rounded < 1 else "> 99" if rounded > 99 else str(rounded)


def printed(shares: Shares) -> str:
    middle, low, high = map(percent, shares)
    return f"{middle}% [{low}, {high}]"


def test_the_shares_are_told_apart() -> None:
    """Else a column of one text would do."""
    assert len({printed(shares) for shares in wanted().values()}) >= 4
    assert printed(wanted()["+ zero_gamma"]).startswith("> 99% [")


def test_json_has_them_as_fractions() -> None:
    (document,) = json.loads(render("json", nette()))["tables"]
    found = {row["row"]: row["delta"] for row in document["rows"][1:]}
    found["all 4 tricks"] = document["total"]["delta"]
    assert list(found) == list(wanted())
    for name, shares in wanted().items():
        told = [found[name]["wins"][k] for k in ("share", "low", "high")]
        assert told == pytest.approx(shares, abs=1e-5)


def test_json_of_a_loss_counts_what_is_lower() -> None:
    made, shares = of_loss()
    (document,) = json.loads(render("json", made))["tables"]
    for row in document["rows"][1:]:
        told = [row["delta"]["wins"][k] for k in ("share", "low", "high")]
        assert told == pytest.approx(shares[row["row"]], abs=1e-5)
    assert shares["+ mixup"][0] > 0.99
    assert shares["+ zero_gamma"][0] < 0.05


def test_csv_has_three_columns() -> None:
    reader = csv.DictReader(io.StringIO(render("csv", nette())))
    lines = {line["row"].removeprefix("'"): line for line in reader}
    for name, shares in wanted().items():
        told = [float(lines[name][k]) for k in ("wins", "wins_low", "wins_high")]
        assert told == pytest.approx(shares, abs=1e-5)
    assert lines["baseline"]["wins"] == ""


@pytest.mark.parametrize(
    ("write", "caption"),
    [
        (lambda made, columns: show(made, 200, columns=columns), False),
        (lambda made, columns: render("markdown", made, columns=columns), True),
    ],
    ids=["terminal", "markdown"],
)
def test_text_has_them_with_all_columns(write: Any, caption: bool) -> None:
    text = write(nette(), "all")
    lines = {name: line for line in text.splitlines() for name in wanted() if name in line}
    for name, shares in wanted().items():
        assert printed(shares) in lines[name]
    assert "new seed [95%]" in text
    assert ("how often the row would beat the row above, both trained once more" in text) == caption
    assert "new seed" not in write(nette(), "auto")
    assert "new seed" not in write(one_seed(), "all")


def test_a_row_short_of_seeds_has_none() -> None:
    (document,) = json.loads(render("json", woof()))["tables"]
    *whole, short = [row["delta"]["wins"] for row in document["rows"][1:]]
    assert all(whole)
    assert short is None
    line = next(x for x in show(woof(), 200, columns="all").splitlines() if "zero_gamma" in x)
    assert "%" not in line


def test_the_page_has_a_column_and_a_clause() -> None:
    tree = parsed(render_html(nette()))
    rows = tables_of(by_id(tree, "numbers"))["imagenette"]
    at = rows[0].index("wins a new seed [95%]")
    found = {row[0].replace("\u00a0", " "): row[at] for row in rows[1:]}
    assert found == {"baseline": ""} | {name: printed(s) for name, s in wanted().items()}
    assert "how often the row would beat the row above" in words(by_id(tree, "numbers"))
    said = " ".join(words(by_id(tree, "verdict")).replace("\u00a0", " ").split())
    assert "zero_gamma +1.2 [+0.7, +1.8], wins nearly all new seeds" in said
    assert "new seed" not in words(parsed(render_html(one_seed())).find("body"))


def test_the_page_says_of_a_loss_how_many_it_loses() -> None:
    values = {
        "baseline": (80.0, 80.6, 80.1, 80.4, 80.2, 80.3),
        "+ warmup": (81.0, 80.9, 81.3, 80.8, 81.4, 81.0),
        "+ mixup": (80.1, 80.3, 80.0, 80.4, 79.9, 80.5),
    }
    made = build_tables(study(table([*GROUP1[:2], ("+ mixup", "step", 1)], 6)), results(values), {})
    rule = Rule({name: np.array(line) / 100 for name, line in values.items()}, 3925)
    wins = share(rule.difference("+ warmup", "baseline"), 6)[0]
    lost = 1 - share(rule.difference("+ mixup", "+ warmup"), 6)[0]
    assert max(wins, lost) < 0.99
    said = " ".join(words(by_id(parsed(render_html(made)), "verdict")).split())
    assert f", wins about {round(100 * wins)}% of new seeds" in said
    assert f", loses about {round(100 * lost)}% of new seeds" in said


def test_methods_say_what_the_share_is() -> None:
    said = "The share of new seeds at which a variant would beat what it is compared with is Φ(Δ/σ)"
    assert said in render_methods(nette())
    assert said not in render_methods(one_seed())


def test_queries_have_three_columns(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    names = [name.removeprefix("+ ") for name in NETTE]
    fractions = [tuple(v / 100 for v in line) for line in NETTE.values()]
    make_study(store, dict(zip(names, fractions, strict=True)))
    rule = Rule(dict(zip(names, fractions, strict=True)), SMALL)
    found = [row for row in effects(store, pytest.fail) if row.get("delta") is not None]
    assert len(found) == 8  # four steps, three of them to the baseline as well, and the total
    for row in found:
        name = names[-1] if row["role"] == "total" else row["label"].removeprefix("+ ")
        shares = share(rule.difference(name, row["reference"].removeprefix("+ ")), 3)
        told = [row[k] for k in ("wins", "wins_low", "wins_high")]
        assert told == pytest.approx(shares, abs=1e-5)
