"""Looking again through the real command line: what each look is judged at, and what is suggested.

Every trial is planted beforehand, so that a command trains nothing and prints its table.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from ablate.api import Study
from ablate.cli.next_steps import more_seeds
from ablate.cli.selection import Selection
from ablate.core.trial import Trial
from ablate.session.judged_tables import tables_of
from ablate.store import ledger
from ablate.store.store import Store
from tests.helpers.cli_process import Done, run_here
from tests.helpers.planted_runs import STUDY, Planted, null, session

TWICE = STUDY.replace('["cosine", "mixup"]', '["cosine"]').replace(
    "seeds    = 2", "seeds    = 3\nnumerics = 'exact'"
)
FADING = (
    0.080,
    0.081,
    0.079,
    -0.05,
    0.04,
    -0.03,
    0.02,
    -0.06,
    0.05,
    -0.01,
)


def fading(trial: Trial) -> float:
    """A difference that the first three seeds show and the others do not."""
    return 0.5 + (FADING[trial.seed] if trial.tricks else 0.0)


def planted(folder: Path, measure: object = null, *, seeds: int = 20, text: str = TWICE) -> Path:
    """A folder with study.toml and a store in which so many seeds of every row are done."""
    Planted(measure).run(session(folder, text, seeds=seeds))  # type: ignore[arg-type]
    return folder


def ablate(folder: Path, *words: str, code: int = 0) -> Done:
    done = run_here(*words, "--store", "store", cwd=folder)
    assert done.returncode == code, done.stderr
    return done


def caption(done: Done) -> str:
    return " ".join(done.stdout.split())


def kept(folder: Path) -> list[ledger.KeptLook]:
    return [look for path in ledger.paths(folder / "store") if (look := ledger.read(path))]


def suggested(folder: Path, *options: str) -> list[tuple[str, str]]:
    """(why, command) of the lines that `run` with these options would end in."""
    seeds = int(options[1]) if options else None
    now = session(folder, TWICE, **({"seeds": seeds} if seeds else {}))
    selection = Selection.of("study.toml", seeds, (), None, ())
    tables = tables_of(now.resolved, now.store)
    return [(why, command) for why, command, _ in more_seeds(now, selection, tables)]


def test_what_the_tool_suggests_is_judged_at_the_levels_that_are_left(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    done = ablate(folder, "run", "study.toml")
    assert "95% interval" in caption(done)
    assert "look" not in caption(done).replace("at look 2", "")
    options: tuple[str, ...] = ()
    told = {2: ("10", ".0025", "99.75%", "first at 3 seeds")}
    told[3] = ("20", ".00125", "99.875%", "before at 3 and 10 seeds")
    for number, (seeds, level, interval, earlier) in told.items():
        ((why, command),) = suggested(folder, *options)
        assert why == f"settle open rows: look {number}, judged at {level}"
        assert command == f"ablate run study.toml --seeds {seeds}"
        options = ("--seeds", seeds)
        done = ablate(folder, *shlex.split(command)[1:])
        assert f"{interval} interval" in caption(done)
        said = f"look {number} of this table ({earlier}): judged at {level}; over all looks at most"
        assert f"{said} 5.5% of tables of useless tricks claim something" in caption(done)
        document = json.loads(
            ablate(folder, "report", "study.toml", *options, "--format", "json").stdout
        )
        (table,) = document["tables"]
        assert table["alpha"] == float(level)
        assert (table["look"]["number"], table["look"]["kept"]) == (number, True)
        # by scipy: the paired t of these values, at this level
        a, b = ([trial["value"] for trial in row["trials"]] for row in table["rows"])
        low, high = scipy_stats.ttest_rel(b, a).confidence_interval(1 - float(level))
        delta = table["rows"][1]["delta"]
        assert (delta["low"], delta["high"]) == pytest.approx((low, high), rel=1e-3)
    assert suggested(folder, *options) == []
    assert [(len(look.seeds), look.alpha) for look in sorted(kept(folder), key=lambda k: k.at)] == [
        (3, 0.05),
        (10, 0.0025),
        (20, 0.00125),
    ]


def test_the_same_report_twice_is_one_look(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    first = ablate(folder, "report", "study.toml", "--seeds", "5")
    second = ablate(folder, "report", "study.toml", "--seeds", "5")
    assert first.stdout == second.stdout
    for kind in ("markdown", "latex", "csv", "html"):
        ablate(folder, "report", "study.toml", "--seeds", "5", "--format", kind)
    Study.load(folder / "study.toml", seeds=5).results(store=folder / "store")
    assert [(len(look.seeds), look.alpha) for look in kept(folder)] == [(5, 0.05)]
    # an old look that is printed again is at its own level
    ablate(folder, "report", "study.toml", "--seeds", "7")
    assert ablate(folder, "report", "study.toml", "--seeds", "5").stdout == first.stdout
    assert sorted(look.alpha for look in kept(folder)) == [0.0025, 0.05]


def test_every_format_says_which_look_it_is(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    ablate(folder, "report", "study.toml")
    for kind in ("terminal", "markdown", "latex", "html"):
        done = ablate(folder, "report", "study.toml", "--seeds", "10", "--format", kind)
        text = re.sub(r"<[^>]+>|[{}$\\]", "", caption(done))
        assert re.search(r"ook 2 of this table \(first at 3 seeds\): judged at \.0025", text), kind
    done = ablate(folder, "report", "study.toml", "--seeds", "10", "--methods")
    assert "judged before, α = 0.05 at 3 seeds; this is look 2, at α = 0.0025" in caption(done)


def test_status_and_one_seed_are_no_looks(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    ablate(folder, "status")
    ablate(folder, "status", "--json")
    ablate(folder, "plan", "study.toml")
    ablate(folder, "run", "study.toml", "--seeds", "1")
    assert kept(folder) == []


def test_what_a_reader_asks_besides_spends_nothing(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    said = "this look is not kept: it is exploratory"
    for asked in (("--metric", "loss"), ("--baseline", "baseline")):
        assert said in caption(ablate(folder, "report", "study.toml", *asked))
    assert kept(folder) == []


def test_a_verdict_that_no_longer_stands_is_told(tmp_path: Path) -> None:
    folder = planted(tmp_path, fading, seeds=10)
    assert "▲ gain" in ablate(folder, "run", "study.toml").stdout
    done = ablate(folder, "run", "study.toml", "--seeds", "10")
    assert "○ unresolved" in done.stdout
    assert "+ cosine: called gain at look 1 (3 seeds)" in caption(done)


def test_until_is_refused_after_a_look_that_left_too_little(tmp_path: Path) -> None:
    folder = planted(tmp_path, seeds=3)
    planned = ablate(folder, "plan", "study.toml", "--until", "resolved")
    assert "look" in planned.stdout
    ablate(folder, "report", "study.toml")
    for command in ("run", "plan"):
        done = ablate(folder, command, "study.toml", "--until", "resolved", code=2)
        error, hint = done.stderr.strip().splitlines()
        assert error == (
            "error: --until resolved: study was judged at 3 seeds before (main digits); looks are "
            "planned before the first"
        )
        assert hint.strip() == "ablate run study.toml --seeds 10: look 2, judged at 0.0025"
    assert [len(look.seeds) for look in kept(folder)] == [3]


def test_planned_looks_are_kept_as_what_they_are(tmp_path: Path) -> None:
    from ablate.stats import LOOKS

    Planted(null).run(session(tmp_path, TWICE, looks=LOOKS))
    done = ablate(tmp_path, "report", "study.toml")
    assert "look 3 of 3 at 10 seeds, α = .030" in caption(done)
    assert "of this table" not in caption(done)  # nothing but what was planned
    levels = [(len(look.seeds), look.alpha, look.planned) for look in kept(tmp_path)]
    assert sorted(levels) == [(3, 0.005, True), (6, 0.015, True), (10, 0.030, True)]
    # a look of one's own has what is left, and the planned ones may be gone on with
    done = ablate(tmp_path, "report", "study.toml", "--seeds", "5")
    assert "look 4 of this table (before at 3, 6 and 10 seeds): judged at .000625" in caption(done)
    ablate(tmp_path, "run", "study.toml", "--until", "resolved")


def test_two_stores_have_both_ledgers(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    shutil.copytree(folder / "store", folder / "other")
    ablate(folder, "report", "study.toml")
    elsewhere = run_here("report", "study.toml", "--seeds", "5", "--store", "other", cwd=folder)
    assert "95% interval" in caption(elsewhere)
    done = ablate(folder, "merge", "other")
    assert "1 look" in done.stdout
    assert sorted((len(look.seeds), look.alpha) for look in kept(folder)) == [(3, 0.05), (5, 0.05)]
    done = ablate(folder, "report", "study.toml", "--seeds", "10")
    assert "look 3 of this table (before at 3 and 5 seeds): judged at .00125" in caption(done)
    assert "over all looks up to 10.1%" in caption(done)
    assert "nothing new" in ablate(folder, "merge", "other").stdout


def test_a_store_that_is_read_only_reports_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = planted(tmp_path)
    ablate(folder, "report", "study.toml")
    store = folder / "store"
    if os.geteuid() == 0:  # whom no mode stops

        def refused(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(ledger, "keep", refused)
    else:
        store.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        again = ablate(folder, "report", "study.toml")
        assert "not kept" not in again.stdout  # that look is known
        done = ablate(folder, "report", "study.toml", "--seeds", "10")
    finally:
        store.chmod(stat.S_IRWXU)
    assert "this look is not kept: the store is read-only" in caption(done)
    assert "look 2 of this table (first at 3 seeds): judged at .0025" in caption(done)
    assert [len(look.seeds) for look in kept(folder)] == [3]


def test_a_store_of_before_tells_by_its_runs(tmp_path: Path) -> None:
    folder = planted(tmp_path, seeds=3)
    Planted(null).run(session(folder, TWICE, seeds=5))
    store = Store.open(folder / "store", create=False)
    shutil.rmtree(store.path / "looks")  # as an older ablate left it
    Planted(null).run(session(folder, TWICE, seeds=10))
    done = ablate(folder, "report", "study.toml", "--seeds", "20", code=0)
    assert "incomplete" in done.stdout
    done = ablate(folder, "report", "study.toml", "--seeds", "7")
    said = "look 4 of this table (before at 3, 5 and 10 seeds): judged at .000625; over all looks"
    assert f"{said} up to 15.1% of tables" in caption(done)
    assert sorted(len(look.seeds) for look in kept(folder)) == [3, 5, 7, 10]
    # what they printed is the look that it was
    done = ablate(folder, "report", "study.toml", "--seeds", "3")
    assert "95% interval" in caption(done)
    assert "of this table" not in caption(done)


def test_plan_tells_the_levels_that_are_left(tmp_path: Path) -> None:
    folder = planted(tmp_path, seeds=3)
    before = ablate(folder, "plan", "study.toml").stdout
    assert "α =" not in before
    assert "as 6 stored trials have it" in before
    ablate(folder, "report", "study.toml")
    after = ablate(folder, "plan", "study.toml").stdout
    assert "3 seeds, α = .050" in after
    assert "10 seeds, α = .0025" in after


def test_plan_takes_the_noise_that_is_stored(tmp_path: Path) -> None:
    """Of two rows: the standard deviation of their differences over √2, by NumPy."""
    folder = planted(tmp_path, seeds=3)
    done = ablate(folder, "report", "study.toml", "--format", "json")
    (table,) = json.loads(done.stdout)["tables"]
    a, b = ([trial["value"] for trial in row["trials"]] for row in table["rows"])
    for options, stored in (((), 6), (("--seeds", "2"), 6), (("--seeds", "10"), 6)):
        document = json.loads(ablate(folder, "plan", "study.toml", *options, "--json").stdout)
        (seen,) = document["smallest_detectable"]
        assert seen["stored"] == stored  # also of seeds that this plan does not have
        assert seen["noise"] == pytest.approx(np.std(np.subtract(b, a), ddof=1) / 2**0.5)
    (folder / "empty").mkdir()
    session(folder / "empty", TWICE)
    document = json.loads(ablate(folder / "empty", "plan", "study.toml", "--json").stdout)
    (seen,) = document["smallest_detectable"]
    assert seen["stored"] == 0
    assert seen["noise"] == pytest.approx(100 * (0.1 / (2 * seen["images"])) ** 0.5)


def test_gc_and_doctor_know_the_ledger(tmp_path: Path) -> None:
    folder = planted(tmp_path)
    ablate(folder, "report", "study.toml")
    before = sorted(ledger.paths(folder / "store"))
    done = ablate(folder, "gc", "--json")
    assert "looks" not in done.stdout
    assert sorted(ledger.paths(folder / "store")) == before
    before[0].write_text(before[0].read_text().replace("0.05", "0.01"))
    done = ablate(folder, "doctor", code=1)
    assert "a look that was kept cannot be read: looks/" in " ".join(done.stdout.split())
