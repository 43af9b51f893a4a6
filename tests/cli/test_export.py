"""`ablate export` against zipfile, tarfile, sha256sum and csv."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ablate.core.resolved_study import ResolvedStudy
from ablate.report.formats import BINARY, FORMATS
from ablate.store import attempt_reader
from ablate.store.store import Store
from tests.helpers.cli_process import Cli
from tests.helpers.small_stores import MACHINE, make_study, new_store, train

VALUES = {"baseline": [0.80, 0.81], "mixup": [0.85, None]}


@pytest.fixture
def small(tmp_path: Path) -> ResolvedStudy:
    return make_study(new_store(tmp_path / "ablate-results"), VALUES)


def unpacked(archive: Path, into: Path) -> Path:
    """The one folder of an archive."""
    shutil.unpack_archive(archive, into, filter="data" if archive.suffix != ".zip" else None)
    (folder,) = into.iterdir()
    return folder


@pytest.mark.parametrize("name", ["paper.zip", "paper.tar.gz"])
def test_the_archive_has_everything_and_checks(
    cli: Cli, small: ResolvedStudy, tmp_path: Path, name: str
) -> None:
    done = cli("export", "group", "-o", name)
    assert (done.returncode, done.stdout) == (0, "")
    told = rf"Wrote {name}: 1 study, 3 trials, {10 + len([*FORMATS, *BINARY])} files, \d+ kB\.\n"
    assert re.fullmatch(told, done.stderr)
    folder = unpacked(tmp_path / name, tmp_path / "out")
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert len(checked.stdout.splitlines()) == len(files) - 1, "each file is in the sums"
    assert {f"tables/group.{end}" for end in ("md", "csv", "json")} <= files
    assert len([f for f in files if f.startswith("tables/")]) == len([*FORMATS, *BINARY])
    for kind, end in (("markdown", "md"), ("csv", "csv")):
        shown = cli("report", "group", "--format", kind).stdout
        assert (folder / "tables" / f"group.{end}").read_text().rstrip() == shown.rstrip()

    with (folder / "results" / "trials.csv").open(newline="") as file:
        trials = list(csv.DictReader(file))
    measured = [(t["label"], t["status"], t["top1"]) for t in trials]
    assert measured == [
        ("digits · baseline · seed 0", "done", "0.8"),
        ("digits · baseline · seed 1", "done", "0.81"),
        ("digits · + mixup · seed 0", "done", "0.85"),
        ("digits · + mixup · seed 1", "new", ""),
    ]
    with (folder / "results" / "epochs.csv").open(newline="") as file:
        epochs = list(csv.DictReader(file))
    assert len(epochs) == 9
    last = [e["top1"] for e in epochs if e["epoch"] == "3"]
    assert last == ["0.8", "0.81", "0.85"]
    lines = (folder / "results" / "trials.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == list(small.order)
    saved = ResolvedStudy.model_validate_json(
        (folder / "studies" / "group" / "resolved.json").read_bytes()
    )
    assert saved == small
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["machines"][0]["torch"] == "2.8.0"
    assert provenance["machines"][0]["trials"] == 3


@pytest.mark.parametrize("end", ["zip", "tar.gz"])
def test_the_same_results_give_the_same_bytes(
    cli: Cli, small: ResolvedStudy, tmp_path: Path, end: str
) -> None:
    """Later, by another name, and from a copy of the store in another place."""
    assert cli("export", "-o", f"one.{end}", "--predictions").returncode == 0
    shutil.copytree(tmp_path / "ablate-results", tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        os.utime(path, (1e9, 1e9))
    time.sleep(1.1 if end == "tar.gz" else 0)  # gzip's own time has whole seconds
    more = ("--predictions", "--store", "elsewhere")
    assert cli("export", "-o", f"two.{end}", *more).returncode == 0
    assert (tmp_path / f"one.{end}").read_bytes() == (tmp_path / f"two.{end}").read_bytes()


def test_members_have_no_time_owner_or_odd_mode(
    cli: Cli, small: ResolvedStudy, tmp_path: Path
) -> None:
    assert cli("export", "-o", "a.zip").returncode == 0
    assert cli("export", "-o", "a.tgz").returncode == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None
        assert {m.date_time for m in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {m.external_attr >> 16 for m in archive.infolist()} == {0o100644}
        names = archive.namelist()
    with tarfile.open(tmp_path / "a.tgz") as packed:
        members = packed.getmembers()
    assert [m.name for m in members] == names == [*sorted(names[:-1]), "group/SHA256SUMS"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members} == {(0, 0, 0, "", "")}


def whole(archive: Path) -> str:
    """Every byte of every file, and the names."""
    with zipfile.ZipFile(archive) as opened:
        parts = [name.encode() + b"\n" + opened.read(name) for name in opened.namelist()]
    return b"\n".join(parts).decode("utf-8", "replace")


def test_places_and_people_stay_out(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/srv/homes/alice")
    store = new_store(tmp_path / "ablate-results")
    secret = MACHINE | {"host": "skylab-17", "note": f"{tmp_path}/x /home/bob/data"}
    resolved = make_study(
        store,
        {"baseline": [0.8, 0.7], "mixup": [0.85, None]},
        file="/home/carol/papers/secret/group.toml",
        machine=secret,
    )
    failed = resolved.tables[0].rows[1].keys[1]
    key = train(store, resolved.trials[failed], 0.1, status="failed", machine=secret)
    (attempt,) = attempt_reader.attempts(store.path, key)
    end = json.loads((attempt / "done.json").read_text())
    end["message"] = "skylab-17: cannot read /srv/homes/alice/data/img.png nor /scratch/dave/a.npy"
    (attempt / "done.json").write_text(json.dumps(end))

    assert cli("export", "-o", "plain.zip").returncode == 0
    text = whole(tmp_path / "plain.zip")
    for name in ("alice", "bob", "carol", str(tmp_path)):
        assert name not in text, name
    assert "skylab-17" in text
    assert "cannot read ~/data/img.png" in text
    assert "ablate run ~/papers/secret/group.toml" in text

    assert cli("export", "-o", "anonymous.zip", "--anonymous").returncode == 0
    text = whole(tmp_path / "anonymous.zip")
    for name in ("alice", "bob", "carol", "dave", "skylab", "secret", str(tmp_path)):
        assert name not in text, name
    assert "host-1: cannot read img.png nor a.npy" in text
    assert "https" not in text or "https://" in text
    with zipfile.ZipFile(tmp_path / "anonymous.zip") as archive:
        saved = ResolvedStudy.model_validate_json(archive.read("group/studies/group/resolved.json"))
    assert {trial.key for trial in saved.trials.values()} == set(resolved.trials)


def test_predictions_and_weights_only_when_asked_for(
    cli: Cli, small: ResolvedStudy, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "ablate-results", create=False)
    key = small.order[0]
    (attempt,) = attempt_reader.attempts(store.path, key)
    (attempt / "weights.pt").write_bytes(b"weights")
    digest = subprocess.run(
        ["sha256sum", "weights.pt"], cwd=attempt, capture_output=True, text=True
    ).stdout
    (attempt / "weights.pt.sha256").write_text(digest)
    assert cli("export", "-o", "a.zip").returncode == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [n for n in archive.namelist() if n.endswith((".npz", ".pt"))]
    assert cli("export", "-o", "b.zip", "--predictions", "--weights").returncode == 0
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.read(f"group/weights/{key}.pt") == b"weights"
        arrays = archive.read(f"group/predictions/{key}.npz")
        assert arrays == (attempt / "predictions.npz").read_bytes()
        assert np.load(io.BytesIO(arrays))["scores"].shape == (20, 10)
        assert len([n for n in archive.namelist() if n.endswith(".npz")]) == 3


def test_what_holds_no_predictions_is_left_out(
    cli: Cli, small: ResolvedStudy, tmp_path: Path
) -> None:
    """Another name of a private file, which nothing tells from a file of the store's but what is
    in it; one of a size that would take hours to pack; a pipe."""
    store = Store.open(tmp_path / "ablate-results", create=False)
    places = [
        attempt_reader.attempts(store.path, key)[0] / "predictions.npz" for key in small.order[:3]
    ]
    own = tmp_path / "private.txt"
    own.write_text("private")
    for place in places:
        place.unlink()
    os.link(own, places[0])
    places[1].touch()
    os.truncate(places[1], 1 << 40)
    os.mkfifo(places[2])
    done = cli("export", "-o", "a.zip", "--predictions")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is left out: it cannot be read as arrays") == 2
    assert "is left out: no plain file" in done.stderr
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert not [n for n in archive.namelist() if n.endswith(".npz")]


def test_study_files_keep_their_places_so_that_they_load(
    cli: Cli, small: ResolvedStudy, tmp_path: Path
) -> None:
    store = Store.open(tmp_path / "ablate-results", create=False)
    toml = {
        "studies/deep/er/group.toml": 'extends = "../_recipe.toml"\n[study]\nstack = ["mixup"]\n'
        'datasets = ["digits"]\nseeds = 2\n',
        "studies/deep/_recipe.toml": '[recipe]\nmodel = "resnet8"\n',
    }
    store.save_study(small.model_copy(update={"toml": toml, "file": "studies/deep/er/group.toml"}))
    assert cli("export", "group", "-o", "a.zip").returncode == 0
    folder = unpacked(tmp_path / "a.zip", tmp_path / "out")
    assert (folder / "studies/group/_recipe.toml").is_file()
    assert "`studies/group/er/group.toml`" in (folder / "README.md").read_text()
    checked = cli("check", folder / "studies/group/er/group.toml")
    assert checked.returncode == 0, checked.stderr


def test_refusals(cli: Cli, small: ResolvedStudy, tmp_path: Path) -> None:
    def said(*arguments: str) -> list[str]:
        done = cli("export", *arguments)
        assert done.returncode == 2, done
        return done.stderr.splitlines()

    (tmp_path / "there.zip").write_text("mine")
    assert said("-o", "there.zip") == [
        "error: there.zip is there already",
        "  --force writes over it",
    ]
    assert (tmp_path / "there.zip").read_text() == "mine"
    assert cli("export", "-o", "there.zip", "--force").returncode == 0
    assert zipfile.is_zipfile(tmp_path / "there.zip")
    assert said("-o", "a.rar")[0] == "error: a.rar: the name decides the kind of archive"
    assert said()[0] == "error: -o says where to write"
    assert said("grup", "-o", "b.zip")[0].endswith("; did you mean 'group'?")
    assert "No such file" in said("-o", "no/where.zip")[0]
    make_study(new_store(tmp_path / "empty"), {"baseline": [None]})
    assert said("-o", "c.zip", "--store", "empty") == [
        "error: none of group's trials is done",
        "  ablate run studies/group.toml",
    ]
    assert [p.name for p in tmp_path.iterdir() if "zip" in p.name] == ["there.zip"]


def test_its_csv_has_no_formula(cli: Cli, tmp_path: Path) -> None:
    """Host and message are other people's texts."""
    store = new_store(tmp_path / "ablate-results")
    make_study(store, {"baseline": [0.8]}, machine={**MACHINE, "host": "=cmd|' /C calc'!A0"})
    assert cli("export", "group", "-o", "a.zip").returncode == 0
    folder = unpacked(tmp_path / "a.zip", tmp_path / "out")
    texts = [file.read_text() for file in folder.rglob("*.csv")]
    cells = [cell for text in texts for row in csv.reader(io.StringIO(text)) for cell in row]
    assert "'=cmd|' /C calc'!A0" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]
