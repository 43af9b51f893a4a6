"""`ablate datasets fetch`: download an archive, check it, unpack it beside the other data sets.

What is half done is `NAME.part` or `NAME.….tmp` and never taken for a data set; the same command
continues an interrupted download.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path, PurePosixPath
from typing import IO

from ablate.data import catalogue
from ablate.data.catalogue import DatasetInfo, Edition
from ablate.data.sources import bounded_tar
from ablate.data.sources.base import Source
from ablate.data.sources.folder import FolderSource
from ablate.data.sources.tar import TarSource
from ablate.errors import AblateError, DataError, brief, did_you_mean
from ablate.util import paths, shared
from ablate.util.beneath import sync
from ablate.util.locks import locked
from ablate.util.paths import shown

# (bytes done, bytes in all or None where the server does not say)
Progress = Callable[[int, int | None], None]

_BLOCK = 2**18
_TIMEOUT = 30.0  # seconds without a byte
_WINDOW = 60.0  # seconds in which something has to come, lest a server that drips never ends
_DRIP = 60_000  # bytes, 1 kB/s
_SPARE = 64 << 20  # bytes that are left free
_OTHERS = 10_000  # files and folders beside images
_LOOK = 16 << 20  # bytes after which the disk is looked at again
_TIMES = 4  # the expected size, from a server that does not say how much it sends, and number


def fetch(
    name: str,
    variant: str = "",
    data_root: Path | None = None,
    *,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a data set's edition ("": the smallest) and return its folder or archive.

    `base_url` names a mirror, the folder that holds the archive. Raises AblateError for a name
    without a download, DataError for whatever keeps the data from being whole.
    """
    info = catalogue.dataset_info(name)
    downloads = {v: e for v, e in info.editions.items() if e.url}
    if not downloads:
        raise AblateError(
            f"{name} has no download", hint=f"see {info.source}" if info.source else None
        )
    variant = variant or next(iter(downloads))
    if variant not in downloads:
        close = did_you_mean(variant, list(downloads))
        raise AblateError(f"{name} has no size '{variant}'{close}")
    return fetch_edition(
        info, variant, paths.data_root(data_root), base_url=base_url, progress=progress
    )


def fetch_edition(
    info: DatasetInfo,
    variant: str,
    root: Path,
    *,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> Path:
    """`fetch` for a description of one's own."""
    edition = info.editions[variant]
    url = edition.url
    if base_url is not None:
        url = f"{base_url.rstrip('/')}/{edition.archive}"
    if not url.startswith(("http://", "https://")):
        raise AblateError(
            f"cannot download from '{url}': not an http address",
            hint="a mirror is given as --from https://HOST/FOLDER",
        )
    folder, archive = root / edition.folder, root / edition.archive
    with _writing(root):
        shared.make_folder(root)
        with locked(root / f".{edition.archive}.lock"):
            for there in (folder, archive):
                if there.exists():
                    return there
            part = archive.with_name(archive.name + ".part")
            _download(url, part, edition.megabytes, progress)
            _check_md5(info, url, part, edition)
            if not edition.unpack:
                if edition.md5 is None:
                    _check_counts(info, url, part, TarSource(info.name, part))
                shared.sync_file(part)
                part.rename(archive)
                sync(root)
                return archive
            _unpack(info, url, part, folder)
            part.unlink()
    return folder


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT, EFBIG):
            raise DataError(
                f"no space left in {shown(root)}", hint="--data DIR for a disk with space"
            ) from error
        raise DataError(
            f"cannot write to {shown(root)}: {error.strerror or error}", hint="--data DIR"
        ) from error


def _download(url: str, part: Path, megabytes: int, progress: Progress | None) -> None:
    """Into `part`, from where it ends. megabytes: expected in all, 0 if that is not known."""
    have = _begun(part)
    try:
        response = _request(url, have)
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server sends all of it
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what we have: all of it, or another file
            if error.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()
                _download(url, part, megabytes, progress)
            return
        reason = " ".join(str(error.reason).split())[:200]  # the server's words, or several lines
        raise DataError(f"{url} answered {error.code} {reason}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        # ValueError: an address that is none, to which it redirects.
        reason = getattr(error, "reason", None) or brief(error)
        raise DataError(
            f"cannot reach {url}: {reason}",
            hint="check the network; or --data DIR if you have it elsewhere",
        ) from error
    if not have:
        part.unlink(missing_ok=True)
    with response, shared.append(part) if have else shared.create(part) as file:
        length = response.headers.get("Content-Length", "")
        total = have + int(length) if length.isdecimal() and len(length) < 19 else None
        _check_space(url, part, (total or have) - have)
        # A server that does not say how much there is does not send without end.
        room = min(_free(part), _TIMES * megabytes * 1_000_000 or _free(part))
        most = total if total is not None else have + room
        done = have
        try:
            for block in _blocks(response):
                if done + len(block) > most:
                    raise DataError(f"{url} sends more than {done / 1e6:,.0f} MB, without end")
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _stopped(done, total) from error
    if total is not None and done < total:
        raise _stopped(done, total)


def _begun(part: Path) -> int:
    """Bytes of what an earlier fetch has left, 0 for what cannot be continued: a link, for one."""
    try:
        with shared.append(part) as file:
            return os.fstat(file.fileno()).st_size
    except OSError:  # a colleague's that we cannot write to, too
        return 0


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What comes, as it comes. Raises TimeoutError where it only drips."""
    began, came = time.monotonic(), 0
    while block := response.read1(_BLOCK):
        yield block
        came += len(block)
        now = time.monotonic()
        if now - began > _WINDOW:
            if came < _DRIP:
                raise TimeoutError(f"{came:,} bytes in {now - began:.0f} s")
            began, came = now, 0


def _free(path: Path) -> int:
    return max(0, shutil.disk_usage(path.parent).free - _SPARE)


def _check_space(what: str, path: Path, size: int) -> None:
    free = _free(path)
    if size > free:
        raise DataError(
            f"{what} needs {size / 1e9:,.1f} GB in {shown(path.parent)}; {free / 1e9:,.1f} GB are "
            "free",
            hint="free some space, or --data DIR for another disk",
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Never from https to anything else, and to files never."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
        headers: http.client.HTTPMessage, newurl: str,
    ) -> urllib.request.Request | None:  # fmt: skip
        allowed = ("https://",) if req.full_url.startswith("https://") else ("http://", "https://")
        if not newurl.lower().startswith(allowed):
            scheme = newurl.partition(":")[0]
            raise urllib.error.HTTPError(
                req.full_url,
                code,
                f"and sends elsewhere, to {scheme}, which is refused",
                headers,
                fp,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _request(url: str, have: int) -> http.client.HTTPResponse:
    """The file from byte `have` on, or all of it from a server that cannot do that."""
    headers = {"User-Agent": "ablate"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked: http(s) only
    opener = urllib.request.build_opener(_Redirects)
    response: http.client.HTTPResponse = opener.open(request, timeout=_TIMEOUT)
    return response


def _stopped(done: int, total: int | None) -> DataError:
    of = f" of {total / 1e6:,.0f}" if total else ""
    return DataError(
        f"the download stopped after {done / 1e6:,.0f}{of} MB", hint="the same command continues it"
    )


def _wrong(info: DatasetInfo, url: str, part: Path, what: str) -> DataError:
    part.unlink(missing_ok=True)  # a further attempt must not continue it
    return DataError(f"{url} is not {info.name}: {what}", hint="try again, or another mirror")


def _check_md5(info: DatasetInfo, url: str, part: Path, edition: Edition) -> None:
    if edition.md5 is None:
        return
    with part.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != edition.md5:
        raise _wrong(info, url, part, f"its MD5 is {digest}, not {edition.md5}")


def _unpack(info: DatasetInfo, url: str, part: Path, folder: Path) -> None:
    """Unpack into a folder beside, look whether it is whole, then rename."""
    for stale in folder.parent.glob(f"{folder.name}.*.tmp"):  # of a fetch that was killed
        shutil.rmtree(stale, ignore_errors=True)
    making = shared.new_folder(folder)
    try:
        unpacked, next_look = 0, 0
        most = _TIMES * sum(info.counts or (1 << 40,)) + _OTHERS
        for number, (archive, member) in enumerate(bounded_tar.entries(part, packed=True)):
            if number > most:
                raise _wrong(info, url, part, f"it holds more than {most:,} files")
            parts = PurePosixPath(member.name).parts
            if not (member.isfile() or member.isdir()) or parts[:1] != (folder.name,):
                what = f"it holds {_named(member)}, which is no file in {folder.name}/"
                raise _wrong(info, url, part, what)
            unpacked += member.size
            if unpacked > next_look:
                _check_space(url, making, member.size)
                next_look = unpacked + _LOOK
            archive.extract(member, making, filter="data")
        _check_counts(info, url, part, FolderSource(info.name, making / folder.name))
        for place, folders, files in os.walk(making):
            for name in (*folders, *files):
                shared.share(Path(place, name))
        if hasattr(os, "sync"):  # thousands of files in one go
            os.sync()
        (making / folder.name).rename(folder)
        sync(folder.parent)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _wrong(info, url, part, f"not a whole archive ({error})") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _named(member: tarfile.TarInfo) -> str:
    name = repr(member.name)
    return name if len(name) < 200 else f"{name[:200]}…"


def _check_counts(info: DatasetInfo, url: str, part: Path, source: Source) -> None:
    try:
        counts = (source.count("train"), source.count("eval"))
    except DataError as error:
        raise _wrong(info, url, part, error.message) from error
    if info.folders and source.classes != info.folders:
        raise _wrong(info, url, part, "it has other classes")
    if info.counts is not None and counts != info.counts:
        expected = f"expected {info.counts[0]:,} and {info.counts[1]:,}"
        what = f"it has {counts[0]:,} training and {counts[1]:,} evaluation images, {expected}"
        raise _wrong(info, url, part, what)
