"""Servers and archives that mean harm: nothing is written beside the data, nothing goes on for
ever, and only what has the published sums and counts becomes a data set."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ablate.data import download as fetching
from ablate.data.catalogue import dataset_info
from ablate.data.download import fetch_edition
from ablate.errors import AblateError, DataError
from tests.helpers.data_samples import WOOF, pack, write_images
from tests.helpers.misbehaving import Server, member, serving, tar

if TYPE_CHECKING:
    from tests.helpers.fault_table import Proved

NAME = "imagewoof2-160.tgz"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    folder = write_images(tmp_path / "published" / "imagewoof2-160", WOOF, 2, 1)
    return pack(folder, tmp_path / "published" / NAME).read_bytes()


@pytest.fixture
def get(server: Server, tmp_path: Path) -> Callable[..., Path]:
    def get(md5: str | None = None, **changes: object) -> Path:
        info = dataset_info("imagewoof")
        edition = replace(info.editions["160"], md5=md5, **changes)  # type: ignore[arg-type]
        small = replace(info, counts=(20, 10), editions={"160": edition})
        return fetch_edition(small, "160", tmp_path / "root", base_url=server.url)

    return get


def left(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "root").iterdir() if not p.name.startswith("."))


def outside(tmp_path: Path) -> list[Path]:
    root = tmp_path / "root"
    return [p for p in sorted(tmp_path.rglob("*")) if root not in (p, *p.parents)]


def bomb() -> bytes:
    """Zeros: a thousandth of them as an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as written:
        huge = tarfile.TarInfo("imagewoof2-160/train/n02086240/x.JPEG")
        huge.size = 80 << 20
        written.addfile(huge, io.BytesIO(bytes(huge.size)))
    return buffer.getvalue()


def sparse() -> bytes:
    """A hole of a terabyte, in the form that GNU tar gives it."""
    made = tarfile.TarInfo("imagewoof2-160/train/n02086240/x.JPEG")
    made.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(made.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % (1 << 32)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def linked(target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    return member("imagewoof2-160/x", type=kind, linkname=target)


INSIDE = "imagewoof2-160/train/n02086240/x.JPEG"
HOSTILE: dict[str, Callable[[], bytes]] = {
    "upwards": lambda: tar([member("imagewoof2-160/../../evil.JPEG")]),
    "absolute": lambda: tar([member("/tmp/evil.JPEG")]),
    "elsewhere": lambda: tar([member("other/train/a/x.JPEG")]),
    "another case": lambda: tar([member("ImageWoof2-160/train/a/x.JPEG")]),
    "backslashes": lambda: tar([member("imagewoof2-160\\..\\..\\evil.JPEG")]),
    "a link": lambda: tar([linked("/etc/passwd")]),
    "a link, and a file through it": lambda: tar([
        linked("../.."),
        member("imagewoof2-160/x/evil.JPEG"),
    ]),
    "a hard link": lambda: tar([linked("../../e", tarfile.LNKTYPE)]),
    "a device": lambda: tar([member("imagewoof2-160/x", type=tarfile.CHRTYPE, size=0)]),
    "a pipe": lambda: tar([member("imagewoof2-160/x", type=tarfile.FIFOTYPE, size=0)]),
    "a long name": lambda: tar([member(f"elsewhere/{'x' * 5000}")]),
    "a bomb": bomb,
    "a hole": sparse,
}  # fmt: skip


def test_hostile_archives(
    server: Server, get: Callable[..., Path], tmp_path: Path, proved: Proved
) -> None:
    for kind, make in HOSTILE.items():
        server.files[NAME] = make()
        before = outside(tmp_path)
        with pytest.raises(DataError, match="is not imagewoof: ") as caught:
            get()
        assert "\n" not in caught.value.message, kind
        assert len(caught.value.message) < 600, kind
        assert left(tmp_path) == [], kind
        assert outside(tmp_path) == before, kind
    proved(
        "safety", "an archive that leads out of its folder, holds links, devices, a bomb",
        "sent by a server", len(HOSTILE), "nothing is written outside, the archive is removed",
    )  # fmt: skip


def cut(archive: bytes) -> bytes:
    return archive[:-2000]


def page(archive: bytes) -> bytes:
    return b"<html>please log in</html>"


def nothing(archive: bytes) -> bytes:
    return b""


def flipped(archive: bytes) -> bytes:
    middle = len(archive) // 2
    return archive[:middle] + bytes(64) + archive[middle + 64 :]


def no_val(archive: bytes) -> bytes:
    return tar([member(INSIDE)])


def test_wrong_content(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path, proved: Proved
) -> None:
    """Also of a part that is continued: what is there counts only with the whole's sum."""
    damages = (cut, page, nothing, flipped, no_val)
    for damage in damages:
        server.files[NAME] = damage(archive)
        with pytest.raises(DataError, match="is not imagewoof: ") as caught:
            get()
        assert "\n" not in caught.value.message
        assert left(tmp_path) == []
    server.files[NAME] = archive
    (tmp_path / "root" / f"{NAME}.part").write_bytes(b"x" * 5000)  # another server's beginning
    with pytest.raises(DataError, match="its MD5 is"):
        get(md5=hashlib.md5(archive).hexdigest())
    assert left(tmp_path) == []
    get(md5=hashlib.md5(archive).hexdigest())
    assert server.asked[-2][1] == "bytes=5000-"
    assert left(tmp_path) == ["imagewoof2-160"]
    proved(
        "safety", "a download with other content: cut, a log-in page, empty, flipped, continued",
        "sent by a server", len(damages) + 1, "no data set is made of it; the next fetch is whole",
    )  # fmt: skip


def test_servers_that_misbehave(
    archive: bytes, server: Server, get: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, proved: Proved,
) -> None:  # fmt: skip
    secret = tmp_path / "secret.tgz"
    secret.write_bytes(archive)
    monkeypatch.setattr(fetching, "_WINDOW", 0.3)
    cases: list[tuple[str, dict[str, object], str]] = [
        ("sends to a file", {"redirect": f"file://{secret}"}, "302"),
        ("sends to ftp", {"redirect": "ftp://127.0.0.1/x.tgz"}, "302"),
        ("sends to no address", {"redirect": "http://[bad/"}, "cannot reach|302"),
        ("sends to itself", {"redirect": f"{server.url}/{NAME}"}, "302|cannot reach"),
        ("is none of the web", {"raw": b"SSH-2.0-OpenSSH\r\n\r\n"}, "cannot reach"),
        ("says too much", {"said": 10**6}, "the download stopped"),
        ("says more than the disk has", {"said": 10**15}, "GB are free"),
        ("says no number", {"said": "many"}, "is not imagewoof|stopped|sends more"),
        ("drips", {"drip": 0.05, "said": 10**6}, "the download stopped"),
        ("never ends", {"said": None, "endless": True}, "sends more than"),
    ]
    times = 0
    for what, behaviour, told in cases:
        server.files[NAME] = b"x" * 1000
        for name, value in behaviour.items():
            setattr(server, name, value)
        with pytest.raises(AblateError, match=told) as caught:
            get(megabytes=1)
        assert "\n" not in caught.value.message, what
        assert not (tmp_path / "root" / "imagewoof2-160").exists(), what
        server.redirect, server.raw, server.said = "", b"", -1
        server.drip, server.endless = 0.0, False
        for part in (tmp_path / "root").glob("*.part"):
            assert part.stat().st_size < 5_000_000, what
            part.unlink()
        times += 1
    server.files[NAME] = archive
    get()
    proved(
        "safety", "a server that sends elsewhere, lies about lengths, drips, never ends",
        "a server on 127.0.0.1", times, "nothing: one line, and no data set",
    )  # fmt: skip


def test_https_is_never_left() -> None:
    """urllib's own handler would follow to http, where anybody in between answers."""
    import email.message
    import urllib.error
    import urllib.request

    handler = fetching._Redirects()
    headers = email.message.Message()
    for asked, sent, follows in (
        ("https://a.org/x", "https://b.org/y", True),
        ("https://a.org/x", "http://b.org/y", False),
        ("https://a.org/x", "HTTP://b.org/y", False),
        ("https://a.org/x", "file:///etc/passwd", False),
        ("http://a.org/x", "https://b.org/y", True),
        ("http://a.org/x", "file:///etc/passwd", False),
    ):
        request = urllib.request.Request(asked)
        try:
            made = handler.redirect_request(request, io.BytesIO(), 302, "Found", headers, sent)  # type: ignore[arg-type]
        except urllib.error.HTTPError:
            made = None
        assert (made is not None) == follows, (asked, sent)
