"""The ledger of looks: kept once, by whoever comes first; damaged, foreign and merged ones."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.errors import AblateError
from ablate.session.judged_tables import tables_of
from ablate.store import ledger
from ablate.store.ledger import KeptLook
from ablate.store.merge import carry_out, survey
from ablate.store.store import Store
from tests.helpers.cli_process import run_cli
from tests.helpers.planted_runs import STUDY, Planted, null, session
from tests.helpers.small_stores import make_study, new_store

TABLE = "a" * 64


def look(**more: object) -> KeptLook:
    told = {"study": "s", "title": "main digits", "metric": "top1", "margin": 0.5}
    settings = {"table": TABLE, "seeds": (0, 1, 2), "alpha": 0.05, "at": "2026-01-01T00:00:00Z"}
    return KeptLook(**(told | settings | more))  # type: ignore[arg-type]


def kept(store: Store) -> list[KeptLook]:
    return [found for path in ledger.paths(store.path) if (found := ledger.read(path))]


def test_a_look_is_written_once_and_read_back(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    first = look(verdicts=(("+ mixup", "gain"),))
    ledger.keep(store.path, first)
    text = ledger.place(store.path, first).read_bytes()
    ledger.keep(store.path, look(verdicts=(("+ mixup", "gain"),), at="2026-02-02T00:00:00Z"))
    assert ledger.place(store.path, first).read_bytes() == text
    assert kept(store) == ledger.looks(store.path, TABLE) == [first]


def test_verdicts_that_come_later_are_the_same_look(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    ledger.keep(store.path, look(verdicts=(("a", "gain"),)))
    later = look(verdicts=(("a", "gain"), ("b", "loss")), at="2026-02-02T00:00:00Z")
    ledger.keep(store.path, later)
    ledger.keep(store.path, look(seeds=(0, 1), alpha=0.0025, at="2026-03-03T00:00:00Z"))
    three, two = ledger.history(ledger.looks(store.path, TABLE))
    assert (three.seeds, three.alpha) == ((0, 1, 2), 0.05)
    assert dict(three.verdicts) == {"a": "gain", "b": "loss"}
    assert (two.seeds, two.alpha) == ((0, 1), 0.0025)


def test_of_the_same_seeds_at_two_levels_the_higher_was_spent() -> None:
    planned = look(alpha=0.005, planned=True)
    (found,) = ledger.history([planned, look(at="2026-02-02T00:00:00Z")])
    assert (found.alpha, found.planned) == (0.05, False)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b'"alpha": 0.05', b'"alpha": 0.01'),  # not what the checksum says
        lambda text: text[:50],
        lambda text: b"",
        lambda text: b'{"format": 1}',
    ],
)
def test_a_damaged_look_is_left_out(tmp_path: Path, change: object) -> None:
    store = new_store(tmp_path / "store")
    ledger.keep(store.path, look())
    path = ledger.place(store.path, look())
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    assert ledger.looks(store.path, TABLE) == []
    ledger.keep(store.path, look())  # judged again, it is mended
    assert ledger.looks(store.path, TABLE) == [look()]


@pytest.mark.parametrize(
    "odd",
    [{"seeds": (0,)}, {"seeds": (0, 0)}, {"alpha": 1.5}, {"alpha": 0.0}, {"at": "yesterday"}],
)
def test_what_cannot_be_a_look_is_none(odd: dict[str, object]) -> None:
    found = look(**odd)
    path = Path(ledger.FOLDER) / found.table / f"{found.name}.json"
    assert ledger.parse(found.model_dump_json(), path) is None
    elsewhere = path.with_name(f"{'d' * 64}.json")
    assert ledger.parse(look().model_dump_json(), elsewhere) is None


def test_a_look_of_a_newer_ablate_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"format": 2}))
    with pytest.raises(AblateError, match="newer"):
        ledger.read(path)


def test_reports_at_the_same_time_share_the_levels(tmp_path: Path) -> None:
    text = STUDY.replace("seeds    = 2", "seeds    = 3")
    Planted(null).run(session(tmp_path, text, seeds=6))
    asked = [3, 3, 4, 6]
    with ThreadPoolExecutor(len(asked)) as pool:
        commands = [("report", "study.toml", "--seeds", str(n), "--store", "store") for n in asked]
        done = list(pool.map(lambda words: run_cli(*words, cwd=tmp_path, fresh=True), commands))
    assert [one.returncode for one in done] == [0] * len(asked)
    looks = kept(Store.open(tmp_path / "store", create=False))
    assert sorted(len(one.seeds) for one in looks) == [3, 4, 6]
    assert sorted(one.alpha for one in looks) == [0.00125, 0.0025, 0.05]


def test_a_merge_takes_looks_and_leaves_odd_ones(tmp_path: Path) -> None:
    store, other = new_store(tmp_path / "store"), new_store(tmp_path / "other")
    ledger.keep(store.path, look())
    for one in (look(), look(seeds=(0, 1))):
        ledger.keep(other.path, one)
    folder = ledger.place(other.path, look()).parent
    (folder / f"{'b' * 64}.json").symlink_to(ledger.place(other.path, look()))
    (folder / f"{'c' * 64}.json").write_bytes(ledger.place(other.path, look()).read_bytes())
    found = survey(store, other.path)
    assert [one.seeds for one in found.looks] == [(0, 1)]
    assert found.left_out == [("look aaaaaa/cccccc", "it cannot be read")]
    carry_out(store, found)
    assert sorted(one.seeds for one in kept(store)) == [(0, 1), (0, 1, 2)]
    (tmp_path / "linked").mkdir()
    linked = new_store(tmp_path / "third")
    (linked.path / "looks").rmdir()
    (linked.path / "looks").symlink_to(tmp_path / "linked")
    with pytest.raises(AblateError, match="is a link"):
        survey(store, linked.path)


def test_a_merged_store_of_before_tells_by_its_runs(tmp_path: Path) -> None:
    store, other = new_store(tmp_path / "store"), new_store(tmp_path / "other")
    make_study(other, {"baseline": [0.80, 0.81, 0.82], "mixup": [0.83, 0.85, 0.86]})
    (other.path / "looks").rmdir()
    carry_out(store, survey(store, other.path))
    assert [(len(one.seeds), one.alpha) for one in kept(store)] == [(3, 0.05)]


def test_a_table_of_which_nothing_is_complete_is_no_look(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    resolved = make_study(store, {"baseline": [0.80, 0.81], "mixup": [0.83, None]})
    (table,) = tables_of(resolved, store)
    assert table.rows[1].mark == "incomplete"
    assert kept(store) == []
