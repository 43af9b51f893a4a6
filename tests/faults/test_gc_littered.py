"""`ablate gc`: reports stay what they were, whatever is removed, and whatever is in the store."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ablate.cli.main import main
from ablate.errors import AblateError
from ablate.index import database
from ablate.store import collect
from ablate.store.collect import KINDS, carry_out, survey
from ablate.store.lease import Lease, claim
from ablate.store.store import Store
from ablate.util import files
from tests.helpers.cli_process import Cli, Done
from tests.helpers.gc_store import Littered, files_of, littered, reports
from tests.helpers.small_stores import make_trial, train

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Littered:
    """One littered store, to copy."""
    return littered(tmp_path_factory.mktemp("made"))


@pytest.fixture
def store(made: Littered, tmp_path: Path) -> Store:
    """A copy; its links lead to the same folder."""
    shutil.copytree(made.store.path, tmp_path / "store", symlinks=True)
    return Store.open(tmp_path / "store", create=False)


def digests(path: Path, names: frozenset[str]) -> dict[str, str]:
    plain = (name for name in names if not (path / name).is_symlink())
    return {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in plain}


def rows(store: Store) -> list[tuple[object, ...]]:
    with database.connect(store.path) as connection:
        return connection.execute(
            "SELECT key, status, attempt, top1, message FROM trials ORDER BY key"
        ).fetchall()


def test_what_no_study_needs_goes_and_reports_stay(
    made: Littered, store: Store, proved: Proved
) -> None:
    kept = digests(store.path, made.needed)
    before, queried = reports(store, every=True), rows(store)
    listed = files_of(store.path)
    looked = frozenset(name for name in listed if "looks" in name)  # by those reports
    assert len(looked) > 1
    found = survey(store)
    assert files_of(store.path) == listed, "looking has changed something"
    assert {piece.kind for piece in found.pieces} == set(KINDS), "not every kind is tried"
    done = carry_out(found)
    assert not done.left
    assert files_of(store.path) == made.needed | looked
    assert digests(store.path, made.needed) == kept
    assert reports(store, every=True) == before
    orphans = {piece.key for piece in found.of("trials")}
    assert len(orphans) == 3
    assert rows(store) == [row for row in queried if row[0] not in orphans]
    assert [p.name for p in made.outside.iterdir()] == ["precious.txt"], "a link was followed"
    assert not survey(store).pieces, "the first gc has left something"
    proved(
        "store", "gc in a store with failures, retired attempts, a teacher",
        f"{len(before)} reports and states compared, {len(kept)} files by content",
        len(done.pieces), "nothing that a report, a query or a rerun reads",
    )  # fmt: skip


def test_each_kind_alone_leaves_the_others(store: Store) -> None:
    found = survey(store)
    for kind in KINDS:
        carry_out(survey(store), [kind])
        left = {piece.paths for piece in survey(store).pieces}
        wanted = {piece.paths for piece in found.of(kind)}
        assert wanted
        assert not wanted & left
    assert not left


def test_latest_drops_what_earlier_runs_alone_named(store: Store) -> None:
    """A quick try with one seed more, then the study again: the try's trials go, no other."""
    group = store.latest_study("group")
    assert group is not None
    extra = make_trial(5, "warmup")
    train(store, extra, 0.8)
    tried = {**group.trials, extra.key: extra}
    store.save_study(group.model_copy(update={"trials": tried, "order": tuple(tried)}))
    store.save_study(group)
    carry_out(survey(store))
    assert extra.key in set(store.keys())
    assert not survey(store).pieces
    before = reports(store)
    found = survey(store, latest=True)
    assert [piece.key for piece in found.of("trials")] == [extra.key]
    assert [piece.kind for piece in found.pieces] == ["runs", "trials"]
    carry_out(found)
    assert extra.key not in set(store.keys())
    assert reports(store) == before


def test_what_cannot_be_told_keeps_every_trial(
    made: Littered, store: Store, proved: Proved
) -> None:
    """A saved run that is damaged, a link, unreadable, or gone: its trials may be a study's."""
    runs = store.path / "studies" / "nested" / "other"
    (run,) = runs.glob("*.json")
    whole = run.read_bytes()
    orphans = {piece.key for piece in survey(store).of("trials")}

    def truncated() -> None:
        run.write_bytes(whole[: len(whole) // 2])

    def linked() -> None:
        (made.outside / "run.json").write_bytes(whole)
        run.unlink()
        run.symlink_to(made.outside / "run.json")

    def folder_linked() -> None:
        shutil.rmtree(runs.parent)
        runs.parent.symlink_to(made.outside)

    def huge() -> None:
        with run.open("wb") as file:
            file.truncate(1 << 30)

    def gone() -> None:
        shutil.rmtree(store.path / "studies")

    times = 0
    for damage in (truncated, huge, linked, folder_linked, gone):
        damage()
        trials = set(os.listdir(store.path / "trials"))
        done = carry_out(survey(store))
        assert set(os.listdir(store.path / "trials")) == trials, damage.__name__
        assert orphans <= trials
        assert all(piece.kind not in ("trials", "runs") for piece in done.pieces) or times == 0
        times += 1
    (made.outside / "run.json").unlink()
    proved(
        "store", "a saved run damaged, a link, huge or gone, then gc", "the file replaced",
        times, "no trial: gc says why they stay",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["trials", "studies", ".removing", ".gc.lock", ".studies.lock"])
def test_a_link_in_a_folder_s_place_is_refused(store: Store, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    place = store.path / name
    if place.is_dir():
        place.rename(target)
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(target)
    before = files_of(store.path), target.exists() and files_of(target)
    with pytest.raises(AblateError):
        carry_out(survey(store))
    assert (files_of(store.path), target.exists() and files_of(target)) == before


def test_what_a_process_holds_stays(store: Store) -> None:
    found = survey(store)
    orphan = found.of("trials")[0].key
    littered_trial = found.of("checkpoints")[0].key
    with claim(store.path, orphan, "mine"), claim(store.path, littered_trial, "mine"):  # type: ignore[union-attr]
        now = survey(store)
        assert {orphan, littered_trial}.isdisjoint(piece.key for piece in now.pieces)
        assert any(orphan in place and "held by pid" in why for place, why in now.left)
        done = carry_out(found)  # the survey is from before the claims
        assert {orphan, littered_trial}.isdisjoint(piece.key for piece in done.pieces)
        assert orphan in set(store.keys())
        assert Lease.read(store.path / "trials" / orphan / "claim") is not None
    carry_out(survey(store))
    assert orphan not in set(store.keys())


def test_a_run_saved_meanwhile_keeps_its_trials(store: Store) -> None:
    found = survey(store)
    group = store.latest_study("group")
    assert group is not None
    wanted = found.of("trials")[0].key
    trial = store.trial(wanted)
    assert trial is not None
    store.save_study(group.model_copy(update={"trials": {**group.trials, wanted: trial}}))
    done = carry_out(found)
    assert wanted in set(store.keys())
    assert [why for place, why in done.left if wanted in place] == [
        "a run that names it was saved just now"
    ]


def test_two_at_once(store: Store) -> None:
    with files.locked(store.path / collect.LOCK), pytest.raises(AblateError, match="another"):
        carry_out(survey(store))


# ------------------------------------------------------------------------------- the command


@pytest.fixture
def command(
    store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Cli:
    monkeypatch.setenv("ABLATE_STORE", str(store.path))

    def run(*arguments: str | Path) -> Done:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Done(code, *capfd.readouterr())

    return run


def test_nothing_is_removed_unasked(store: Store, command: Cli) -> None:
    before = files_of(store.path)
    shown = command("gc")
    assert shown.returncode == 0
    assert "3  trials of no study" in shown.stdout
    assert "figures.pdf: no file of a store" in shown.stdout
    assert shown.stderr == "Nothing was removed. ablate gc --yes removes it.\n"
    document = json.loads(command("gc", "--json").stdout)
    assert not document["removed"]
    assert len(document["found"]) == len(survey(store).pieces)
    assert sum(piece["bytes"] for piece in document["found"]) == document["bytes"] > 0
    assert command("gc", "--only", "nonsense").returncode == 2
    assert files_of(store.path) == before
    removed = json.loads(command("gc", "--json", "--yes").stdout)
    assert all(piece["removed"] for piece in removed["found"])
    assert command("gc").stdout.startswith(f"{store.path}: everything is needed\n")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "fork"), reason="needs POSIX permissions")
def test_a_store_that_cannot_be_written(
    made: Littered, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        path = Path(directory) / "store"
        shutil.copytree(made.store.path, path, symlinks=True)
        for folder in (path, *(p for p in path.rglob("*") if p.is_dir() and not p.is_symlink())):
            folder.chmod(0o555)
        monkeypatch.chdir(directory)
        main(["gc", "--store", str(path)])  # imports what the other user may not read
        before = files_of(path)
        capfd.readouterr()
        pid = os.fork()
        if pid == 0:  # another user, where this one is root, whom no permission stops
            if os.getuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            code = main(["gc", "--store", str(path)])
            os._exit(10 * code + main(["gc", "--yes", "--store", str(path)]))
        _, status = os.waitpid(pid, 0)
        out, err = capfd.readouterr()
        assert files_of(path) == before
        for folder in (path, *(p for p in path.rglob("*") if p.is_dir() and not p.is_symlink())):
            folder.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 2
    assert "trials of no study" in out
    told = [line for line in err.splitlines() if line.startswith("error:")]
    assert len(told) == 1
    assert "cannot write" in told[0]
