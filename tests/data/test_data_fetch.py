"""Downloads from a real server on this machine, which can be made to misbehave."""

from __future__ import annotations

import hashlib
import http.server
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
from data_samples import WOOF, pack, write_images

from ablate.data.cache import ensure_cache
from ablate.data.catalogue import DatasetInfo, dataset_info
from ablate.data.fetch import fetch, fetch_edition
from ablate.errors import AblateError, DataError

NAME = "imagewoof2-160.tgz"


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`, with ranges. stop_after: bytes until it hangs up, once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.stop_after: int | None = None
        self.ranges = True
        self.asked: list[tuple[str, str | None]] = []  # path and Range of each request

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        data = self.server.files.get(self.path.rpartition("/")[2])
        if data is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and self.server.ranges:
            if start >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
            start = 0
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        stop, self.server.stop_after = self.server.stop_after, None
        self.wfile.write(data[start:][:stop])

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


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


def tar(members: list[tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = 0 if "linkname" in fields else 1
    for field, value in fields.items():
        setattr(info, field, value)
    return info


HOSTILE = {
    "upwards": member("imagewoof2-160/../../evil.JPEG"),
    "absolute": member("/tmp/evil.JPEG"),
    "elsewhere": member("other/train/a/x.JPEG"),
    "link": member("imagewoof2-160/x", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": member("imagewoof2-160/x", type=tarfile.LNKTYPE, linkname="../../evil"),
    "device": member("imagewoof2-160/x", type=tarfile.CHRTYPE, size=0),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archive_writes_nothing_outside(
    server: Server, get: Callable[..., Path], tmp_path: Path, kind: str
) -> None:
    server.files[NAME] = tar([HOSTILE[kind]])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="is not imagewoof: ") as caught:
        get()
    assert "\n" not in caught.value.message
    assert left(tmp_path) == []
    after = [p for p in sorted(tmp_path.rglob("*")) if (tmp_path / "root") not in (p, *p.parents)]
    assert after == before


def shortened(archive: bytes) -> bytes:
    return archive[:-2000]


def page(archive: bytes) -> bytes:
    return b"<html>please log in</html>"


def nothing(archive: bytes) -> bytes:
    return b""


def flipped(archive: bytes) -> bytes:
    middle = len(archive) // 2
    return archive[:middle] + bytes(64) + archive[middle + 64 :]


def no_val(archive: bytes) -> bytes:
    return tar([member("imagewoof2-160/train/n02086240/x.JPEG")])


@pytest.mark.parametrize("damage", [shortened, page, nothing, flipped, no_val])
def test_wrong_content(
    archive: bytes,
    server: Server,
    get: Callable[..., Path],
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
) -> None:
    server.files[NAME] = damage(archive)
    with pytest.raises(DataError, match="is not imagewoof: ") as caught:
        get()
    assert "\n" not in caught.value.message
    assert left(tmp_path) == []
    server.files[NAME] = archive
    get()


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
        "from pathlib import Path; from ablate.data.fetch import fetch\n"
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
