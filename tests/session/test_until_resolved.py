"""`--until resolved`: looks at 3, 6 and 10 seeds, at their levels, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ablate.core.trial import Trial
from ablate.errors import AblateError
from ablate.planning.looks import looks_of
from ablate.report import (
    render,
    render_json,
    render_latex,
    render_markdown,
    render_methods,
    render_terminal,
)
from ablate.session.judged_tables import tables_of
from ablate.session.lookup import from_file, from_store
from ablate.sql.effects import effects
from ablate.stats import LOOKS
from ablate.store.store import Store
from ablate.study import load_study
from tests.helpers.planted_runs import STUDY, Planted, noise, null, session

TWICE = STUDY.replace('["cosine", "mixup"]', '["cosine"]')


def huge(trial: Trial) -> float:
    """Each trick is worth 20 points; re-running a tenth of a point."""
    return 0.3 + 0.2 * len(trial.tricks) + noise(trial, 0.001)


def run(folder: Path, measure: object, text: str = STUDY, **options: object) -> Planted:
    planted = Planted(measure)  # type: ignore[arg-type]
    planted.run(session(folder, text, looks=LOOKS, **options))
    return planted


def seeds_of(planted: Planted) -> list[tuple[str, int]]:
    return [(kind, len(keys)) for kind, keys in planted.stages]


def test_a_huge_effect_is_settled_at_the_first_look(tmp_path: Path) -> None:
    planted = run(tmp_path, huge)
    assert seeds_of(planted) == [("look", 9)]  # three rows, three seeds, whatever the study says
    assert planted.told == [("look 1 of 3 at 3 seeds, α = .005", False)]


def test_nothing_to_find_takes_all_looks(tmp_path: Path) -> None:
    planted = run(tmp_path, null)
    assert seeds_of(planted) == [("look", 9), ("look", 9), ("look", 12)]
    store = Store.open(tmp_path / "store", create=False)
    resolved = from_store("study", store).resolved
    assert (resolved.seeds, resolved.until.number) == (tuple(range(10)), 3)  # type: ignore[union-attr]
    assert any(row.mark == "unresolved" for t in tables_of(resolved, store) for row in t.judged)
    # run again: the last look once more, and nothing trained
    again = Planted(null)
    ran = again.run(session(tmp_path, STUDY, looks=LOOKS))
    assert (again.stages, ran.session.resolved.tables) == ([], resolved.tables)
    assert ran.session.resolved.until == resolved.until


def test_max_seeds_drops_the_last_look_and_a_later_run_takes_it(tmp_path: Path) -> None:
    planted = Planted(null)
    planted.run(session(tmp_path, STUDY, looks=LOOKS[:2]))
    assert seeds_of(planted) == [("look", 9), ("look", 9)]
    assert planted.told[-1] == ("look 2 of 2 at 6 seeds, α = .015", False)
    more = run(tmp_path, null)
    assert seeds_of(more) == [("look", 12)]


def test_each_looks_numbers_are_at_its_level(tmp_path: Path) -> None:
    """Two rows and n seeds: the paired t, by scipy, at the level of the look."""
    from scipy import stats as scipy_stats

    text = TWICE.replace("seeds    = 2", "seeds    = 2\nnumerics = 'exact'")
    planted = Planted(null, stop_after=None)
    levels = {3: 0.005, 6: 0.015, 10: 0.030}
    told = {}
    for count in (1, 2, 3):
        first = session(tmp_path, text, looks=LOOKS[:count])
        ran = planted.run(first)
        (table,) = tables_of(ran.session.resolved, ran.session.store)
        told[len(table.seeds)] = table
    for seeds, level in levels.items():
        table = told[seeds]
        effect = table.rows[1].delta.effect  # type: ignore[union-attr]
        a, b = ([cell.values["top1"] for cell in row.seeds] for row in table.rows)
        paired = scipy_stats.ttest_rel(b, a)
        low, high = paired.confidence_interval(1 - level)
        assert (effect.low, effect.high) == pytest.approx((low, high), rel=1e-3)  # type: ignore[union-attr]
        assert table.alpha == level
        assert table.rows[1].mark == ("unresolved" if paired.pvalue >= level else "gain")
        percent = f"{100 * (1 - level):g}%"
        words = f"look {list(levels).index(seeds) + 1} of {list(levels).index(seeds) + 1}"
        terminal = " ".join(render_terminal([table], width=100, color=False, ascii=False).split())
        markdown = render_markdown([table])
        for text_ in (terminal, markdown):
            assert f"{percent} interval" in text_
            assert f"{words} at {seeds} seeds, α = {level:.3f}".replace("0.", ".") in text_
            assert "95%" not in text_
        assert f'"alpha": {level}' in render_json([table])
        latex, page = render_latex([table]), render("html", [table])
        assert f"{percent} interval".replace("%", "\\%") in latex
        assert f"{percent} interval" in page
        for text_ in (latex, page):
            assert f"{words} at {seeds} seeds" in text_
        methods = render_methods([table])
        assert f"at α = {level:g} with Holm's correction" in methods
        assert "look" in methods
        assert "after 3 seeds (α = 0.005)" in methods
        assert "95\\%" not in latex
        assert not re.search(r"95\s?% (interval|CI)", page)
        # the last invocation of the study is this one
        if seeds == max(levels):
            view = {row["label"]: row for row in effects(ran.session.store, pytest.fail)}
            step = view[table.rows[1].label]
            assert (step["alpha"], step["low"]) == (level, pytest.approx(100 * low, rel=1e-3))


def test_reports_show_the_look_and_not_another_test(tmp_path: Path) -> None:
    run(tmp_path, null)
    store = Store.open(tmp_path / "store", create=False)
    study = load_study(tmp_path / "study.toml")

    def alpha(**options: bool) -> tuple[int, float]:
        found = from_file(study, store, data_root=None, command="report", **options)
        (table,) = tables_of(found.resolved, store)
        return len(table.seeds), table.alpha

    assert alpha() == (10, 0.030)
    # who asks for other seeds looks again: look 4, after the three that were planned
    assert alpha(seeds_asked=True) == (2, 0.000625)
    # another data set, limit or setting was never run with looks
    other = load_study(tmp_path / "study.toml", limit=40)
    with pytest.raises(AblateError, match="is done"):
        from_file(other, store, data_root=None, command="report")
    # the last run decides
    Planted(null).run(session(tmp_path, STUDY))
    assert alpha() == (2, 0.000625)


def test_an_interrupted_run_goes_on_at_its_look(tmp_path: Path) -> None:
    part = Planted(null, stop_after=13)
    assert part.run(session(tmp_path, STUDY, looks=LOOKS)).outcome.exit_code == 130
    assert seeds_of(part) == [("look", 9), ("look", 4)]
    rest = run(tmp_path, null)
    assert seeds_of(rest) == [("look", 5), ("look", 12)]


def test_more_seeds_than_the_first_look_are_refused(tmp_path: Path) -> None:
    Planted(null).run(session(tmp_path, STUDY, seeds=5))
    with pytest.raises(AblateError, match="more than 3 seeds of study are there already") as caught:
        session(tmp_path, STUDY, looks=LOOKS)
    assert "--seeds 4" in (caught.value.hint or "")


def test_three_seeds_that_are_there_are_the_first_look(tmp_path: Path) -> None:
    Planted(huge).run(session(tmp_path, STUDY, seeds=3))
    planted = run(tmp_path, huge)
    assert planted.stages == []
    assert planted.told == [("look 1 of 3 at 3 seeds, α = .005", False)]


def test_a_baseline_that_another_study_trained_shows_no_comparison(tmp_path: Path) -> None:
    other = STUDY.replace('["cosine", "mixup"]', '["label_smoothing"]')
    Planted(null).run(session(tmp_path, other, name="other", seeds=5))
    assert seeds_of(run(tmp_path, null))[0] == ("look", 6)  # two rows; the baseline is there
    # but five seeds of two of its rows are a comparison that somebody saw
    (tmp_path / "two").mkdir()
    Planted(null).run(session(tmp_path / "two", TWICE, name="other", seeds=5))
    with pytest.raises(AblateError, match="already"):
        session(tmp_path / "two", STUDY, looks=LOOKS)


def test_seeds_added_besides_the_looks_are_refused_afterwards(tmp_path: Path) -> None:
    run(tmp_path, huge)
    Planted(huge).run(session(tmp_path, STUDY, seeds=5))
    with pytest.raises(AblateError, match="already"):
        session(tmp_path, STUDY, looks=LOOKS)


def test_failed_trials_are_tried_once_a_run(tmp_path: Path) -> None:
    def failing(trial: Trial) -> float | str:
        return "failed" if trial.tricks and trial.seed == 1 else null(trial)

    planted = Planted(failing)
    ran = planted.run(session(tmp_path, STUDY, looks=LOOKS))
    assert ran.outcome.exit_code == 1
    assert len(planted.trained) == len(set(planted.trained))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("always", None, None), "--until 'always': known: resolved"),
        (("resolved", None, 5), "--seeds cannot be given with it"),
        (("resolved", 7, None), "--max-seeds: at most 6 or 10 seeds, not 7"),
        (("resolved", 3, None), "--max-seeds: at most 6 or 10 seeds, not 3"),
        ((None, 6, None), "--max-seeds belongs to --until resolved"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: tuple[str | None, int | None, int | None], said: str
) -> None:
    with pytest.raises(AblateError, match=r"until|max-seeds") as caught:
        looks_of(*arguments)
    assert said in caught.value.message


def test_looks_are_the_declared_ones() -> None:
    declared = [(3, 0.005), (6, 0.015), (10, 0.030)]
    assert [(look.seeds, look.alpha) for look in looks_of("resolved", None, None)] == declared
    assert [(look.seeds, look.alpha) for look in looks_of("resolved", 6, None)] == declared[:2]
    assert looks_of(None, None, 5) == ()


def test_tuning_comes_before_the_first_look(tmp_path: Path) -> None:
    from tests.helpers.planted_runs import ONCE, TUNED

    (tmp_path / "once").mkdir()
    once = run(tmp_path / "once", null, ONCE)
    assert seeds_of(once) == [("tune", 12), ("look", 12), ("look", 12), ("look", 16)]
    planted = run(tmp_path, null, TUNED)
    # later looks let their new seeds choose first, and those that chose keep what they have
    assert seeds_of(planted) == [
        *[("tune", 4 * 3 * 3), ("look", 4 * 3)],
        *[("tune", 4 * 3 * 3), ("look", 4 * 3)],
        *[("tune", 4 * 3 * 4), ("look", 4 * 4)],
    ]
    assert len(set(planted.trained)) == len(planted.trained)
