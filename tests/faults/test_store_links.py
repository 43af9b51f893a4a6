"""Links that somebody laid into a store, beneath which nothing is read, written or removed through
one: `ablate` trains, reports, merges, exports and removes beside each."""

from __future__ import annotations

import ast
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.errors import AblateError
from ablate.store import attempt_reader, lease, log_file
from ablate.store.attempt_writer import Attempt
from ablate.store.store import Store
from ablate.util import beneath
from tests.helpers.cli_process import Done, run_cli
from tests.helpers.environment import ROOT
from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers, run, trained
from tests.helpers.gc_store import files_of
from tests.helpers.small_stores import make_study

KEY = "ab" * 32
SECRET = b"somebody's own\n" * 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the two trials of a study; the study's file is beside it."""
    return trained(tmp_path_factory.mktemp("links"), 1)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of the user's, with a file and an attempt's files in it."""
    folder = tmp_path / "own"
    inner = folder / "20261201T000000.000000Z-abcdef"
    inner.mkdir(parents=True)
    for name in ("notes.txt", "trial.json", "log.txt", "lease.json"):
        (folder / name).write_bytes(SECRET)
    for name in ("checkpoint-1.pt", "checkpoint-1.pt.sha256", ".checkpoint-1.pt.tmp", "log.txt"):
        (inner / name).write_bytes(SECRET)
    return folder


def linked(place: Path, target: Path) -> None:
    """A link in a file's or a folder's place."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(target)


def of_a_trial(store: Path) -> Path:
    return sorted((store / "trials").iterdir())[0]


def of_an_attempt(store: Path) -> Path:
    return next(iter(sorted(of_a_trial(store).glob("2*"))))


# name, the link's place, what of the user's it leads to
LINKS: list[tuple[str, Callable[[Path], Path], str]] = [
    ("trials", lambda s: s / "trials", "."),
    ("studies", lambda s: s / "studies", "."),
    ("looks", lambda s: s / "looks", "."),
    ("FORMAT", lambda s: s / "FORMAT", "notes.txt"),
    ("a trial's folder", of_a_trial, "."),
    ("a study's folder", lambda s: s / "studies" / "study", "."),
    ("trial.json", lambda s: of_a_trial(s) / "trial.json", "trial.json"),
    ("claim", lambda s: of_a_trial(s) / "claim", "."),
    ("an attempt", of_an_attempt, "20261201T000000.000000Z-abcdef"),
    ("another attempt", lambda s: of_a_trial(s) / "20261201T000000.000000Z-abcdef",
     "20261201T000000.000000Z-abcdef"),
    ("log.txt", lambda s: of_an_attempt(s) / "log.txt", "log.txt"),
    ("metrics.jsonl", lambda s: of_an_attempt(s) / "metrics.jsonl", "notes.txt"),
    ("done.json", lambda s: of_an_attempt(s) / "done.json", "notes.txt"),
    ("predictions.npz", lambda s: of_an_attempt(s) / "predictions.npz", "notes.txt"),
    ("environment.json", lambda s: of_an_attempt(s) / "environment.json", "notes.txt"),
    (".studies.lock", lambda s: s / ".studies.lock", "notes.txt"),
    (".looks.lock", lambda s: s / ".looks.lock", "notes.txt"),
    (".gc.lock", lambda s: s / ".gc.lock", "notes.txt"),
    (".removing", lambda s: s / ".removing", "."),
    (".gitignore", lambda s: s / ".gitignore", "notes.txt"),
]  # fmt: skip
WRITING = (
    ("run", "study.toml", "--limit", "20", "--retrain", "mixup"),
    ("gc", "--yes"),
    ("export", "study", "-o", "out.zip", "--force", "--predictions", "--weights"),
)
READING = (
    ("report", "study", "--format", "markdown"),
    ("status",),
    ("logs",),
    ("doctor", "--deep"),
)


def test_nothing_is_read_written_or_removed_through_a_link(
    whole: Path, own: Path, tmp_path: Path, long: bool, proved: Proved
) -> None:
    shutil.copyfile(whole.parent / "study.toml", tmp_path / "study.toml")
    before, commands, refused = files_of(own), 0, 0
    for number, (name, place, target) in enumerate(LINKS):
        store = tmp_path / f"store-{number}"
        shutil.copytree(whole, store)
        linked(place(store), (own / target).resolve())
        for command in (*WRITING, *(READING if long else ())):
            done: Done = run_cli(*command, "--store", store, cwd=tmp_path)
            assert "Traceback" not in done.stderr + done.stdout, (name, command, done.stderr)
            assert "bug:" not in done.stderr, (name, command, done.stderr)
            assert done.returncode in (0, 1, 2), (name, command, done.stderr)
            assert files_of(own) == before, (name, command)
            archive = tmp_path / "out.zip"
            if archive.exists():
                with zipfile.ZipFile(archive) as opened:
                    kept = [opened.read(each) for each in opened.namelist()]
                assert not any(SECRET in each for each in kept), (name, command)
                archive.unlink()
            commands, refused = commands + 1, refused + (done.returncode == 2)
        shutil.rmtree(store)
    proved(
        "safety",
        "links in the places of a store's folders and files",
        f"{len(LINKS)} places; run --retrain, gc, export; in full report, status, logs, doctor",
        commands,
        f"nothing behind one is read, written or removed; {refused} times refused in a line",
    )


def test_a_training_beside_links_measures_what_it_always_does(
    whole: Path, own: Path, tmp_path: Path
) -> None:
    """Links that stand where nothing has to be: in a trial, as attempts, beside what is written."""
    shutil.copyfile(whole.parent / "study.toml", tmp_path / "study.toml")
    store = tmp_path / "store"
    Store.open(store, create=True)
    for key in Store.open(whole, create=False).keys():  # noqa: SIM118 - a store is no dict
        trial = store / "trials" / key
        trial.mkdir()
        for inner in own.iterdir():
            if inner.is_dir():
                (trial / inner.name).symlink_to(inner)
                (trial / f"retired-{inner.name}").symlink_to(inner)
                (trial / f".merging-{inner.name}").symlink_to(inner)
    before = files_of(own)
    done = run(tmp_path, str(store))
    assert done.returncode == 0, done.stderr
    assert numbers(store) == numbers(whole)
    assert files_of(own) == before


def test_a_log_is_cut_only_where_it_is_a_file_of_its_own(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    with Attempt.begin(store.path, KEY) as attempt:
        trial = attempt.path.parent
    mine = tmp_path / "diary.txt"
    for make in (os.symlink, os.link):
        mine.write_bytes(b"x" * 5000)
        (attempt.path / "log.txt").unlink(missing_ok=True)
        make(mine, attempt.path / "log.txt")
        assert not log_file.bound(trial, most=1000, head=300, tail=200)
        log_file.add(attempt.path, "a line")
        assert mine.read_bytes() == b"x" * 5000
    (attempt.path / "log.txt").unlink()
    (attempt.path / "log.txt").write_bytes(b"y" * 5000)
    assert log_file.bound(trial, most=1000, head=300, tail=200)
    assert 500 < (attempt.path / "log.txt").stat().st_size < 1000


def test_what_is_written_first_has_a_name_that_nobody_can_guess(tmp_path: Path) -> None:
    """In a store that a group writes, a file under the temporary name would be written through."""
    store = Store.open(tmp_path / "store", create=True)
    seen: set[str] = set()

    def look(file: object) -> None:
        seen.update(each.name for each in attempt.path.iterdir() if each.name.endswith(".tmp"))

    with Attempt.begin(store.path, KEY) as attempt:
        for _ in range(3):
            attempt.save_checkpoint(1, look)
            attempt.save_weights(look)
    assert len(seen) == 6, "each time another"


def test_beneath_a_held_folder_no_part_of_a_path_may_be_a_link(tmp_path: Path, own: Path) -> None:
    folder = tmp_path / "held"
    (folder / "real").mkdir(parents=True)
    (folder / "link").symlink_to(own)
    (folder / "file").symlink_to(own / "notes.txt")
    root = beneath.hold(folder)
    before = files_of(own)
    acts: list[Callable[[], object]] = [
        lambda: beneath.open_file(folder / "file", os.O_RDONLY),
        lambda: beneath.open_file(folder / "file", os.O_WRONLY | os.O_TRUNC),
        lambda: beneath.open_file(folder / "link" / "notes.txt", os.O_RDONLY),
        lambda: beneath.open_file(folder / "link" / "new", os.O_WRONLY | os.O_CREAT),
        lambda: beneath.entries(folder / "link"),
        lambda: beneath.make_folder(folder / "link" / "new"),
        lambda: beneath.make_folder(folder / "link", exist_ok=True),
        lambda: beneath.rename(folder / "real", folder / "link" / "real"),
        lambda: beneath.rename(folder / "link" / "notes.txt", folder / "notes.txt"),
        lambda: beneath.remove(folder / "link" / "notes.txt"),
        lambda: beneath.remove_tree(folder / "link"),
        lambda: beneath.touch(folder / "link" / "notes.txt"),
        lambda: beneath.sync(folder / "link"),
    ]
    for act in acts:
        with pytest.raises(OSError):  # noqa: PT011 - a link is told, or that it is no folder
            act()
        assert files_of(own) == before
    assert beneath.kind(folder / "link") == "link"
    assert beneath.kind(folder / "link" / "notes.txt") is None
    assert [name for name, _ in beneath.entries(folder)] == ["file", "link", "real"]
    del root


def test_a_held_folder_is_reached_wherever_it_was_moved(tmp_path: Path) -> None:
    folder = tmp_path / "held"
    (folder / "inner").mkdir(parents=True)
    root = beneath.hold(folder)
    folder.rename(tmp_path / "moved")
    folder.mkdir()
    assert not root.is_there
    assert root.moved_to == tmp_path / "moved"
    beneath.make_folder(folder / "inner" / "new")
    os.close(beneath.open_file(folder / "inner" / "file", os.O_CREAT | os.O_WRONLY))
    assert sorted(p.name for p in (tmp_path / "moved" / "inner").iterdir()) == ["file", "new"]
    assert [*folder.iterdir()] == []
    shutil.rmtree(tmp_path / "moved")
    assert root.is_removed
    assert root.moved_to is None


def test_a_claim_behind_a_link_is_refused(tmp_path: Path, own: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    (store.path / "trials" / KEY).symlink_to(own)
    before = files_of(own)
    with pytest.raises(AblateError, match="none is followed in a store"):
        lease.claim(store.path, KEY, "mine")
    with pytest.raises(AblateError, match="none is followed in a store"):
        Attempt.begin(store.path, KEY)
    assert attempt_reader.attempts(store.path, KEY) == []
    assert files_of(own) == before


# What touches the file system by itself, in packages that work in a store.
_CALLS = frozenset(
    {"mkdir", "makedirs", "unlink", "rmdir", "rmtree", "touch", "utime", "scandir", "listdir"}
    | {"walk", "glob", "rglob", "iterdir", "read_bytes", "read_text", "write_bytes", "write_text"}
    | {"stat", "lstat", "is_file", "is_dir", "is_symlink", "exists", "copytree", "copyfile"}
    | {"symlink_to", "hardlink_to", "link", "symlink", "chmod", "samefile"}
)
_OURS = frozenset({"beneath", "files"})
_ALLOWED = {
    # the path of the store itself, which is a person's own, links and all
    "ablate/store/format_version.py": {"mkdir", "listdir"},
    "ablate/store/store.py": {"is_dir"},
    # /proc and /etc of the machine, the user's own cache
    "ablate/store/lease.py": {"read_text", "exists", "stat"},
    "ablate/execution/executor.py": {"listdir"},
    "ablate/execution/state_guard.py": {"glob", "read_text", "read_bytes"},
    # what is in the store's folder itself, which DuckDB opens by its path: looked at with lstat
    "ablate/index/database.py": {"glob", "is_dir", "is_symlink", "unlink"},
    "ablate/index/lock.py": {"is_symlink", "unlink"},
    "ablate/index/vetting.py": {"unlink", "lstat"},
    "ablate/index/inspector.py": {"stat"},
    "ablate/index/known.py": {"lstat", "unlink", "exists", "mkdir", "glob", "iterdir", "stat"}
    | {"read_text", "scandir", "listdir", "write_text"},
}


def test_whoever_works_in_a_store_goes_through_what_follows_no_link() -> None:
    found = {}
    for package in ("store", "index", "execution"):
        for path in (ROOT / "ablate" / package).rglob("*.py"):
            name = path.relative_to(ROOT).as_posix()
            called = {
                node.func.attr
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and not (isinstance(node.func.value, ast.Name) and node.func.value.id in _OURS)
            }
            left = (called & _CALLS) - _ALLOWED.get(name, set())
            if left:
                found[name] = left
    assert found == {}


def test_a_link_in_a_locks_place_is_named(tmp_path: Path, own: Path) -> None:
    store = Store.open(tmp_path / "store", create=True)
    linked(store.path / ".studies.lock", own / "notes.txt")
    with pytest.raises(AblateError, match=r"cannot write \S+/\.studies\.lock: it is a link"):
        make_study(store, {"baseline": [0.8]})
