"""`ablate datasets fetch`: download an archive, check it, unpack it beside the other data sets.

What is half done is `NAME.part` or `NAME.….tmp` and never taken for a data set; the same command
continues an interrupted download.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from pathlib import Path, PurePosixPath

from ablate.data import catalogue, roots
from ablate.data.catalogue import DatasetInfo, Edition
from ablate.data.folder import FolderSource
from ablate.data.lock import locked
from ablate.data.packed import TarSource
from ablate.data.roots import shown
from ablate.data.source import Source
from ablate.errors import AblateError, DataError, did_you_mean

# (bytes done, bytes in all or None where the server does not say)
Progress = Callable[[int, int | None], None]

_BLOCK = 2**18
_TIMEOUT = 30.0  # seconds without a byte


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
        info, variant, roots.data_root(data_root), base_url=base_url, progress=progress
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
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{edition.archive}.lock"):
            for there in (folder, archive):
                if there.exists():
                    return there
            part = archive.with_name(archive.name + ".part")
            _download(url, part, progress)
            _check_md5(info, url, part, edition)
            if not edition.unpack:
                if edition.md5 is None:
                    _check_counts(info, url, part, TarSource(info.name, part))
                part.rename(archive)
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


def _download(url: str, part: Path, progress: Progress | None) -> None:
    """Into `part`, from where it ends."""
    have = part.stat().st_size if part.exists() else 0
    try:
        response = _request(url, have)
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server sends all of it
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing after what we have: all of it, or another file
            if error.headers.get("Content-Range") != f"bytes */{have}":
                part.unlink()
                _download(url, part, progress)
            return
        raise DataError(f"{url} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot reach {url}: {reason}",
            hint="check the network; or --data DIR if you have it elsewhere",
        ) from error
    with response, part.open("ab" if have else "wb") as file:
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        done = have
        try:
            while block := response.read(_BLOCK):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _stopped(done, total) from error
    if total is not None and done < total:
        raise _stopped(done, total)


def _request(url: str, have: int) -> http.client.HTTPResponse:
    """The file from byte `have` on, or all of it from a server that cannot do that."""
    headers = {"User-Agent": "ablate"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked: http(s) only
    response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
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
    making = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.", suffix=".tmp"))
    try:
        with tarfile.open(part, "r:gz") as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                if not (member.isfile() or member.isdir()) or parts[:1] != (folder.name,):
                    what = f"it holds {member.name!r}, which is no file in {folder.name}/"
                    raise _wrong(info, url, part, what)
                archive.extract(member, making, filter="data")
        _check_counts(info, url, part, FolderSource(info.name, making / folder.name))
        (making / folder.name).rename(folder)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _wrong(info, url, part, f"not a whole archive ({error})") from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


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
