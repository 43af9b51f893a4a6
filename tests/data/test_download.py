"""Downloads from a real server on this machine, which can be made to misbehave."""

from __future__ import annotations

import hashlib
import io
import re
import resource
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.data.cache import ensure_cache
from ablate.data.catalogue import DatasetInfo, dataset_info
from ablate.data.download import fetch, fetch_edition
from ablate.errors import AblateError, DataError
from tests.helpers.data_samples import WOOF, pack, write_images
from tests.helpers.misbehaving import Server, serving

NAME = "imagewoof2-160.tgz"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def archive(tmp_path: Path, server: Server) -> bytes:
    folder = write_images(tmp_path / "published" / "imagewoof2-160", WOOF, 2, 1)
    server.files[NAME] = pack(folder, tmp_path / "published" / NAME).read_bytes()
    return server.files[NAME]


def small(**changes: object) -> DatasetInfo:
    """Imagewoof as the catalogue has it, but for the counts of the small archive."""
    return replace(dataset_info("imagewoof"), counts=(20, 10), **changes)  # type: ignore[arg-type]


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def get(info: DatasetInfo | None = None, **options: object) -> Path:
        return fetch_edition(
            info or small(),
            "160",
            tmp_path / "root",
            base_url=server.url,
            **options,  # type: ignore[arg-type]
        )

    return get


def left(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "root").iterdir() if not p.name.startswith("."))


def test_fetched_data_trains(archive: bytes, get: Callable[..., Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    folder = get(progress=lambda done, total: seen.append((done, total)))
    assert folder == tmp_path / "root" / "imagewoof2-160"
    assert seen[-1] == (len(archive), len(archive))
    assert left(tmp_path) == ["imagewoof2-160"]
    original = tmp_path / "published" / "imagewoof2-160"
    ours, theirs = (
        {p.relative_to(top): p.read_bytes() for p in top.rglob("*.JPEG")}
        for top in (folder, original)
    )
    assert ours == theirs
    assert ensure_cache("imagewoof", tmp_path / "root", 160).identity.counts == (20, 10)


def test_nothing_is_fetched_twice(archive: bytes, server: Server, get: Callable[..., Path]) -> None:
    assert get() == get()
    assert len(server.asked) == 1


def test_interrupted_download_continues(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path
) -> None:
    server.stop_after = 5000
    with pytest.raises(DataError, match="the download stopped after 0 of 0 MB") as caught:
        get()
    assert caught.value.hint == "the same command continues it"
    assert left(tmp_path) == [f"{NAME}.part"]
    assert (tmp_path / "root" / f"{NAME}.part").read_bytes() == archive[:5000]
    get()
    assert server.asked[1:] == [(f"/data/{NAME}", "bytes=5000-")]
    assert left(tmp_path) == ["imagewoof2-160"]


def test_server_without_ranges_sends_all_again(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path
) -> None:
    server.stop_after, server.ranges = 5000, False
    with pytest.raises(DataError, match="stopped"):
        get()
    get()
    assert left(tmp_path) == ["imagewoof2-160"]


@pytest.mark.parametrize("extra", [b"", b"what another file left"])
def test_whole_or_too_long_part(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path, extra: bytes
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / f"{NAME}.part").write_bytes(archive + extra)
    get()
    assert [asked for _, asked in server.asked] == [
        f"bytes={len(archive) + len(extra)}-",
        *([None] if extra else []),
    ]
    assert left(tmp_path) == ["imagewoof2-160"]


def test_published_counts_are_demanded(archive: bytes, server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch("imagewoof", "160", tmp_path / "root", base_url=server.url)
    assert caught.value.message == (
        f"{server.url}/{NAME} is not imagewoof: it has 20 training and 10 evaluation images, "
        "expected 9,025 and 3,929"
    )
    assert left(tmp_path) == []


def test_published_sums_are_demanded(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path
) -> None:
    server.files["imagenette2-160.tgz"] = archive
    with pytest.raises(
        DataError, match=r"is not imagenette: its MD5 is [0-9a-f]{32}, not e793b78cc"
    ):
        fetch("imagenette", data_root=tmp_path / "root", base_url=server.url)
    assert left(tmp_path) == []
    right = hashlib.md5(archive).hexdigest()
    edition = replace(dataset_info("imagewoof").editions["160"], md5=right)
    get(small(editions={"160": edition}))


def test_not_there(server: Server, get: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"{server.url}/{NAME} answered 404 Not Found")):
        get()
    assert left(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot reach http://127\.0\.0\.1:9/.*refused") as caught:
        fetch("imagewoof", "160", tmp_path, base_url="http://127.0.0.1:9")
    assert "check the network" in str(caught.value.hint)


def test_what_cannot_be_fetched(tmp_path: Path) -> None:
    with pytest.raises(AblateError, match="imagewoof has no size '16O'; did you mean '160'"):
        fetch("imagewoof", "16O", tmp_path)
    for name in ("digits", "imagenet"):
        with pytest.raises(AblateError, match=f"{name} has no download"):
            fetch(name, data_root=tmp_path)
    with pytest.raises(AblateError, match="not an http address"):
        fetch("imagewoof", "160", tmp_path, base_url="file:///etc")


def test_full_disk(archive: bytes, server: Server, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from ablate.data.download import fetch\n"
        "from ablate.errors import DataError\n"
        f"root = Path({str(tmp_path / 'root')!r})\n"
        f"try: fetch('imagewoof', '160', root, base_url={server.url!r})\n"
        "except DataError as error: print(error.message)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert done.stdout == f"no space left in {tmp_path / 'root'}\n", done.stderr


def test_two_at_once(archive: bytes, server: Server, get: Callable[..., Path]) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(get())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert len(server.asked) == 1


def test_records_stay_packed(server: Server, tmp_path: Path) -> None:
    info = dataset_info("cifar10")
    data = b"stands for the archive"
    edition = replace(info.editions[""], md5=hashlib.md5(data).hexdigest())
    server.files["cifar-10-python.tar.gz"] = data
    path = fetch_edition(
        replace(info, editions={"": edition}), "", tmp_path / "root", base_url=server.url
    )
    assert path == tmp_path / "root" / "cifar-10-python.tar.gz"
    assert path.read_bytes() == data


def places(tmp_path: Path) -> bytes:
    """The easy format: no compression, one top folder."""
    folder = write_images(tmp_path / "published" / "places365_standard", ("airfield", "zoo"), 2, 1)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        archive.add(folder, arcname="places365_standard")
    return buffer.getvalue()


def test_an_archive_without_a_published_sum_is_counted(server: Server, tmp_path: Path) -> None:
    info = dataset_info("places365")
    (name,) = (e.archive for e in info.editions.values() if e.url)
    server.files[name] = places(tmp_path)
    with pytest.raises(DataError, match="4 training and 2 evaluation images, expected 1,803"):
        fetch("places365", data_root=tmp_path / "root", base_url=server.url)
    assert left(tmp_path) == []
    path = fetch_edition(
        replace(info, counts=(4, 2)), "256", tmp_path / "root", base_url=server.url
    )
    assert path == tmp_path / "root" / name
    packed = ensure_cache("places365", tmp_path / "root", 224)
    assert packed.identity.classes == ("airfield", "zoo")
    unpacked = tmp_path / "published" / "places365_standard"
    assert packed.ref().fingerprint == (
        ensure_cache(f"imagefolder:{unpacked}", None, 224).ref().fingerprint
    )
