"""A cache and a data folder of a group: two users, every umask; what a stranger could put there."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from ablate.data import cache, fingerprint
from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info
from ablate.data.download import fetch_edition
from ablate.data.evaluation import EvalImages
from ablate.data.sources.base import Source
from ablate.errors import AblateError
from ablate.util import shared
from ablate.util.locks import locked
from tests.helpers.cli_process import STUDY, run_cli
from tests.helpers.data_samples import WOOF, pack, write_images
from tests.helpers.misbehaving import Server, serving
from tests.helpers.users import ANN, BOB, EVE, GROUP, as_user, need_root, shared_folder

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

UMASKS = (0o002, 0o022, 0o077)
NAME = "imagewoof2-160.tgz"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images that everybody can read."""
    return write_images(tmp_path / "animals", ("ant", "bee"), 3, 2)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    need_root()
    made = shared_folder(tmp_path / "shared")
    monkeypatch.setenv("ABLATE_CACHE", str(made / "cache"))
    return made


def used(images: Path) -> tuple[int, int]:
    """Decode, or take what is there; (images hashed, images decoded) by this process."""
    hashed, built = [], []
    measure, build = Source.fingerprint, cache.build

    def count_hashes(self: Source) -> str:
        hashed.append(self)
        return measure(self)

    def count_builds(*given: object) -> object:
        built.append(given)
        return build(*given)  # type: ignore[arg-type]

    Source.fingerprint, cache.build = count_hashes, count_builds  # type: ignore[assignment, method-assign]
    data = ensure_cache(f"imagefolder:{images}", None, 32)
    EvalImages(data, 16, 16, torch.device("cpu")).all()
    assert data.train.image(0).size
    return len(hashed), len(built)


@pytest.mark.parametrize("umask", UMASKS)
def test_one_index_and_one_cache_for_two_users(
    umask: int, place: Path, images: Path, tmp_path: Path, proved: Proved
) -> None:
    torch.set_num_threads(1)
    used(images)  # what is imported when it is needed: nobody else can read root's
    shutil.rmtree(place / "cache")
    assert as_user(ANN, umask, lambda: used(images)) == (1, 1)
    assert as_user(BOB, umask, lambda: used(images)) == (0, 0)
    # What the first one made, the second one replaces: the files are others now.
    os.utime(images / "train" / "ant" / "ant_0.JPEG", (1, 1))
    assert as_user(BOB, umask, lambda: used(images)) == (1, 0)
    assert as_user(ANN, umask, lambda: used(images)) == (0, 0)
    # A cache that is not whole is made again by whoever comes.
    (meta,) = (place / "cache").glob("imagefolder-*/meta.json")
    meta.write_text("{")
    assert as_user(BOB, umask, lambda: used(images)) == (0, 1)
    assert as_user(ANN, umask, lambda: used(images)) == (0, 0)
    made = [*(place / "cache").rglob("*")]
    assert len(made) > 7
    for path in made:
        status = path.stat()
        assert status.st_gid == GROUP, path
        wanted = 0o070 if path.is_dir() else 0o060
        assert status.st_mode & 0o070 == wanted, (path, oct(status.st_mode))
    with pytest.raises(AssertionError, match="Permission denied"):
        as_user(EVE, 0o022, lambda: used(images))
    proved(
        "store", "a cache that two users share",
        "two users of a group, umask 002, 022 and 077; index, pixels, locks, a cache not whole", 6,
        "nothing: hashed and decoded once, by whoever comes first",
    )  # fmt: skip


def test_a_folder_that_is_nobody_elses_is_as_the_umask_says(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "mine"))
    before = os.umask(0o077)
    try:
        ensure_cache(f"imagefolder:{images}", None, 32)
    finally:
        os.umask(before)
    made = [tmp_path / "mine", *(tmp_path / "mine").rglob("*")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in made)


HOLD = """
import fcntl, sys
with open(sys.argv[1]) as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("mode", [0o660, 0o640])
def test_a_lock_that_a_colleague_holds_is_waited_for(place: Path, mode: int) -> None:
    """Also where his umask lets nobody write to it."""
    lock = place / "a.lock"
    lock.touch()
    os.chown(lock, ANN, GROUP)
    lock.chmod(mode)

    def take() -> bool:
        with locked(lock):
            return True

    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdin=pipe, stdout=pipe) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        waiting: list[object] = []
        thread = threading.Thread(target=lambda: waiting.append(as_user(BOB, 0o022, take)))
        thread.start()
        thread.join(0.3)
        assert waiting == []
        holder.stdin.write(b"\n")  # its end would wait for those that were forked, too
        holder.stdin.flush()
        thread.join(30)
    assert waiting == [True]


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def fetched(server: Server, root: Path, unpack: bool = True) -> Path:
    info = dataset_info("imagewoof")
    edition = replace(info.editions["160"], md5=None, unpack=unpack)
    small = replace(info, counts=(20, 10), editions={"160": edition})
    return fetch_edition(small, "160", root, base_url=server.url)


def test_what_one_fetches_the_other_reads(tmp_path: Path, place: Path, server: Server) -> None:
    folder = write_images(tmp_path / "published" / "imagewoof2-160", WOOF, 2, 1)
    data = pack(folder, tmp_path / NAME).read_bytes()
    server.files[NAME] = data
    for umask in UMASKS:
        root = shared_folder(place / f"data-{umask:o}")
        fetched(server, tmp_path / f"warm-{umask:o}")  # imports, as above
        # Begun by one, whose umask keeps it to himself, and ended by the other.
        (root / f"{NAME}.part").write_bytes(data[:1000])
        (root / f"{NAME}.part").chmod(0o600)
        os.chown(root / f"{NAME}.part", ANN, GROUP)
        there = as_user(BOB, umask, lambda root=root: fetched(server, root))
        found = as_user(
            ANN, umask, lambda there=there: [p.read_bytes() for p in there.rglob("*.JPEG")]
        )
        assert len(found) == 30


def test_links_in_a_shared_folder_are_not_followed(
    tmp_path: Path, images: Path, server: Server, monkeypatch: pytest.MonkeyPatch, proved: Proved
) -> None:
    """At every name that is written: a lock, a part, the index, files of the cache."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    folder = write_images(tmp_path / "published" / "imagewoof2-160", WOOF, 2, 1)
    server.files[NAME] = pack(folder, tmp_path / NAME).read_bytes()
    root = tmp_path / "root"
    root.mkdir()
    times = 0
    for target in (precious, tmp_path / "nothing"):
        (root / f"{NAME}.part").symlink_to(target)
        assert fetched(server, root).is_dir()
        times += 1
        shutil.rmtree(root / "imagewoof2-160")
        (root / f".{NAME}.lock").unlink()
        (root / f".{NAME}.lock").symlink_to(target)
        with pytest.raises(AblateError, match="cannot write to"):
            fetched(server, root)
        (root / f".{NAME}.lock").unlink()
        times += 1
        os.link(precious, root / f"{NAME}.part")  # another name of the same file
        assert fetched(server, root).is_dir()
        times += 1
        shutil.rmtree(root / "imagewoof2-160")
        identity = fingerprint.identify(f"imagefolder:{images}", image_size=32, root=None)
        index = fingerprint._index_file(images)
        index.unlink()
        index.symlink_to(target)
        fingerprint.identify(f"imagefolder:{images}", image_size=32, root=None)
        assert not index.is_symlink() or target == precious  # what it says is no index
        times += 1
        lock = identity.folder.with_name(identity.folder.name + ".lock")
        lock.unlink(missing_ok=True)
        lock.symlink_to(target)
        with pytest.raises(AblateError, match="cannot write decoded images"):
            ensure_cache(f"imagefolder:{images}", None, 32)
        lock.unlink()
        times += 1
        assert precious.read_text() == "mine"
        assert not (tmp_path / "nothing").exists()
    proved(
        "safety", "links in a shared cache or data folder, at the names that are written",
        "part, locks, index; to a file, to nothing, another name of a file", times,
        "none is followed",
    )  # fmt: skip


def test_compiled_code_of_strangers_is_refused(tmp_path: Path, place: Path, proved: Proved) -> None:
    """Where they could put it, and where it is a colleague's, one's own is beside it."""
    root = place / "cache"
    times = 0
    for mode, compiled, owner, told in (
        (0o777, 0o755, ANN, "cache is no place for compiled code.*everybody can write to it"),
        (0o2775, 0o777, ANN, "compiled is no place for compiled code.*everybody can write to it"),
        (0o1777, 0o755, EVE, "compiled is no place .*user 61003 made it"),
        (0o1777, 0o1777, ANN, None),
        (0o2770, 0o2770, BOB, None),
        (0o2770, None, BOB, None),
    ):
        root.mkdir()
        os.chown(root, ANN, GROUP)
        root.chmod(mode)
        if compiled is not None:
            (root / "compiled").mkdir()
            os.chown(root / "compiled", owner, EVE if owner == EVE else GROUP)
            (root / "compiled").chmod(compiled)

        def checked() -> str:
            try:
                shared.check_code(root / "compiled")
            except AblateError as error:
                return error.message
            return ""

        said = as_user(ANN, 0o022, checked)
        if told is None:
            assert said == ""
            mine = as_user(ANN, 0o002, lambda: private(root, tmp_path))
            theirs = as_user(BOB, 0o002, lambda: private(root, tmp_path))
            assert mine == as_user(ANN, 0o002, lambda: private(root, tmp_path))
            assert mine != theirs
            for folder, user in ((mine, ANN), (theirs, BOB)):
                assert folder.parent == root / "compiled"
                assert folder.stat().st_uid == user
                assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o700
                folder.rmdir()
        else:
            assert re.search(told, said), said
            assert "\n" not in said
        if (root / "compiled").exists():
            (root / "compiled").rmdir()
        root.rmdir()
        times += 1
    proved(
        "safety", "compiled code in a cache that strangers can write to, or made",
        "rights and owners of the folders", times,
        "refused in a line; in a group's cache everyone has a folder of his own",
    )  # fmt: skip


def private(root: Path, elsewhere: Path) -> Path:
    return shared.private_folder(root / "compiled" / "torch-1", elsewhere / "nowhere")


def test_a_run_that_compiles_is_refused_in_such_a_cache(tmp_path: Path) -> None:
    cache_root = tmp_path / "cache"
    cache_root.mkdir()
    cache_root.chmod(0o777)
    env = {"ABLATE_CACHE": str(cache_root)}
    (tmp_path / "study.toml").write_text(STUDY.replace("seeds ", 'numerics = "fast"\nseeds '))
    done = run_cli("run", "study.toml", "--limit", "40", cwd=tmp_path, env=env)
    assert done.returncode == 2, done.stderr
    assert "cache is no place for compiled code" in done.stderr
    assert "Traceback" not in done.stderr


def test_archives_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order: the file, its name, the folder that has the name."""
    done: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(path: Path, target: Path) -> Path:
        done.append("name")
        return rename(path, target)

    folder = write_images(tmp_path / "published" / "imagewoof2-160", WOOF, 2, 1)
    server.files[NAME] = pack(folder, tmp_path / NAME).read_bytes()
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "sync", lambda: done.append("all files"))
    monkeypatch.setattr(Path, "rename", renamed)
    fetched(server, tmp_path / "root")
    assert done == ["all files", "name", "folder"]
    done.clear()
    monkeypatch.setattr("ablate.data.download._check_counts", lambda *given: None)
    monkeypatch.setattr("ablate.data.download.TarSource", lambda *given: None)
    fetched(server, tmp_path / "packed", unpack=False)
    assert done == ["file", "name", "folder"]
    np.testing.assert_equal((tmp_path / "packed" / NAME).read_bytes(), server.files[NAME])
