"""Who trains what: a trial is claimed by putting a directory with a lease in its place.

    trials/<key>/claim/lease.json       host, machine, pid, boot, started, study, token, taken

The directory is prepared under another name and renamed to `claim`; that fails if somebody's is
there, so exactly one contender gets it, and a claim without a lease never exists. The heartbeat is
the lease file's modification time. A dead claim is renamed to `.claim-<its token>`, a name that can
be taken once only: whoever is late finds it occupied and cannot carry off the successor's claim.

After `claim` look at the trial's state again: somebody may have finished it just before.

A coordinator that is killed leaves a process that trains for as long as it takes to notice. So a
trial is not given away while a process of this machine that has begun an attempt at it lives, and
who begins one looks afterwards whether its claim is still there: of two, one sees the other.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeGuard

from ablate.store.attempt_reader import attempts, trial_path
from ablate.store.journal import first_line
from ablate.util import beneath
from ablate.util.files import create, read_json, utc_now, write_json, writing

EXPIRY: Final = 600.0  # seconds without a heartbeat after which another machine's claim is dead
HEARTBEAT: Final = 30.0  # seconds between heartbeats, for those who call `Claim.heartbeat`

# Taken by a claim, or by what is none: a file, a link.
_OCCUPIED: Final = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.ELOOP})

# Lease file → (its modification time, monotonic time this process first saw it so).
_seen: dict[str, tuple[int, float]] = {}


@dataclass(frozen=True)
class Lease:
    """Who holds a claim.

    machine: tells apart machines and containers of one name; boot: of that machine; started: start
    time of the process, so that a reused pid is not mistaken for it; taken: UTC, ISO 8601.
    """

    host: str
    machine: str
    boot: str
    pid: int
    started: str
    study: str
    token: str
    taken: str

    @classmethod
    def of_this_process(cls, study: str) -> Lease:
        """A new lease for the calling process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            machine=_machine(),
            boot=_boot(),
            pid=pid,
            started=_started(pid) or "",
            study=study,
            token=secrets.token_hex(8),
            taken=utc_now(),
        )

    @classmethod
    def read(cls, directory: Path) -> Lease | None:
        """The lease in a claim directory, or None if there is none or it is damaged."""
        document: Mapping[str, Any] = read_json(directory / "lease.json") or {}
        try:
            lease = cls(**{name: document[name] for name in cls.__dataclass_fields__})
        except KeyError:
            return None
        texts = [value for name, value in vars(lease).items() if name != "pid"]
        valid = all(isinstance(text, str) for text in texts) and _is_pid(lease.pid)
        token = str(lease.token)  # a part of file names
        return lease if valid and len(token) <= 64 and token.isascii() and token.isalnum() else None


class Claim:
    """The right of this process to train one trial. A context manager that releases it."""

    def __init__(self, path: Path, lease: Lease) -> None:
        self.path = path  # of the claim directory
        self.key = path.parent.name
        self.lease = lease

    def heartbeat(self) -> bool:
        """Say "alive"; at least once a minute. False if the claim has been lost to another."""
        if not self.held():
            return False
        try:
            beneath.touch(self.path / "lease.json")
        except FileNotFoundError:
            return False
        return True

    def held(self) -> bool:
        """Whether the claim is still this one."""
        lease = Lease.read(self.path)
        return lease is not None and lease.token == self.lease.token

    def release(self) -> None:
        """Give the claim back; nothing happens if it has been lost or released before."""
        if self.lease.pid != os.getpid() or not self.held():  # a forked child does not own it
            return
        with contextlib.suppress(OSError):  # what cannot be given back expires with this process
            buried = _bury(self.path, self.lease.token)
            if buried is not None:
                beneath.remove_tree(buried, ignore_errors=True)

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def claim(store_path: Path, key: str, study: str) -> Claim | None:
    """Claim a trial for this process, or None if a live process holds it or still trains it.

    Raises AblateError if the store cannot be written.
    """
    trial = trial_path(store_path, key)
    place = trial / "claim"
    lease = Lease.of_this_process(study)
    prepared = trial / f".claiming-{lease.token}"
    if holder(store_path, key) is not None:  # to ask its attempts takes longer
        return None
    if _still_trained(store_path, key):
        return None
    with writing(trial):
        if beneath.kind(place) and not _clear(place):
            return None
        beneath.make_folder(trial, exist_ok=True)
        try:
            beneath.make_folder(prepared)
            write_json(prepared / "lease.json", vars(lease))
            beneath.rename(prepared, place)
        except OSError as error:
            # ENOENT: `ablate gc` has just removed a trial that nobody had claimed.
            if error.errno in _OCCUPIED or isinstance(error, FileNotFoundError):
                return None
            raise
        finally:
            beneath.remove_tree(prepared, ignore_errors=True)
    claimed = Claim(place, lease)
    if _still_trained(store_path, key):  # it began while the dead one's claim was cleared away
        claimed.release()
        return None
    return claimed


def holds(store_path: Path, key: str, token: str) -> bool:
    """Whether the claim with this token is still the one on a trial."""
    lease = Lease.read(trial_path(store_path, key) / "claim")
    return lease is not None and lease.token == token


def this_process() -> dict[str, Any]:
    """What tells the calling process apart from all others of this machine, for `is_running`."""
    pid = os.getpid()
    return {"machine": _machine(), "boot": _boot(), "pid": pid, "started": _started(pid) or ""}


def is_running(process: Mapping[str, Any]) -> bool:
    """Whether what said `this_process` is a live process of this machine."""
    pid = process.get("pid")
    if (process.get("machine"), process.get("boot")) != (_machine(), _boot()):
        return False
    started = _started(pid) if _is_pid(pid) else None
    return started is not None and started in ("", process.get("started"))


def _is_pid(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 < value < 2**31


def _still_trained(store_path: Path, key: str) -> bool:
    """Whether another process writes an attempt at a trial: it does not know that its coordinator
    is dead."""
    for attempt in attempts(store_path, key):
        if beneath.kind(attempt / "done.json"):
            continue
        process = first_line(attempt / "metrics.jsonl").get("process")
        if isinstance(process, dict) and process.get("pid") != os.getpid() and is_running(process):
            return True
    return False


def holder(store_path: Path, key: str) -> Lease | None:
    """The lease of the live process that holds a trial, or None."""
    place = trial_path(store_path, key) / "claim"
    lease = Lease.read(place)
    return lease if lease is not None and _alive(lease, place) else None


def is_dead(directory: Path) -> bool:
    """Whether the process whose lease is in a claim, or in one being prepared, is gone for sure."""
    lease = Lease.read(directory)
    return lease is not None and not _alive(lease, directory)


def _clear(place: Path) -> bool:
    """Move a dead claim aside. False if it is alive or somebody else was faster."""
    lease = Lease.read(place)
    if lease is None:
        # Claims appear with their lease inside: this one was released just now, or damaged (then
        # nothing tells whose it is, and its age has to decide).
        kind = beneath.kind(place)
        if kind is None:
            return True
        if kind == "link":  # no process holds one: claims are folders
            return _bury(place, f"link-{secrets.token_hex(4)}") is not None
        if _age(place) < EXPIRY:
            return False
        return _bury(place, f"damaged-{beneath.about(place).st_mtime_ns}") is not None
    if _alive(lease, place):
        return False
    return _bury(place, lease.token) is not None


def _bury(place: Path, token: str) -> Path | None:
    """Rename a claim to the one name its token allows; None if it is no longer that claim.

    A grave stays where its claim was taken over: removing it would let a contender that has judged
    the same claim, and slept since, carry off a living one.
    """
    grave = place.with_name(f".claim-{token}")
    try:
        beneath.rename(place, grave)
    except OSError as error:
        if error.errno in _OCCUPIED or isinstance(error, FileNotFoundError):
            return None
        raise
    return grave


# ------------------------------------------------------------------------------- dead or alive


def _alive(lease: Lease, place: Path) -> bool:
    if (lease.host, lease.machine) != (socket.gethostname(), _machine()):
        return _age(place / "lease.json") < EXPIRY
    if lease.boot != _boot():
        return False
    return is_running(vars(lease))


def _age(path: Path) -> float:
    """Seconds since a file changed, by the file system's own clock.

    That clock is asked by making a file, so the clocks of two machines need not agree. Where it was
    set back, the age is the time this process has watched the file not change.
    """
    try:
        changed = beneath.about(path).st_mtime_ns
    except FileNotFoundError:
        return 0.0
    now = time.monotonic()
    seen, since = _seen.get(str(path), (changed, now))
    if seen != changed:
        since = now
    _seen[str(path)] = (changed, since)
    return max(now - since, (_filesystem_now(path.parent.parent) - changed) / 1e9)


def _filesystem_now(directory: Path) -> int:
    """The file system's time in nanoseconds; this machine's if the store is read-only."""
    probe = directory / f".clock-{secrets.token_hex(4)}"
    try:
        create(probe).close()
        return beneath.about(probe).st_mtime_ns
    except OSError:
        return time.time_ns()
    finally:
        with contextlib.suppress(OSError):
            beneath.remove(probe)


@functools.cache
def _machine() -> str:
    """Tells apart machines, and containers on one machine, that share a host name."""
    try:
        identity = Path("/etc/machine-id").read_text("utf-8").strip()
    except (OSError, ValueError):
        identity = ""
    if not identity:
        import uuid

        identity = f"{uuid.getnode():012x}"
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # a pid means nothing in another namespace
    except OSError:
        space = 0
    return f"{identity}-{space}"


@functools.cache
def _boot() -> str:
    """An identifier of the machine's current uptime; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
    except (OSError, ValueError):
        pass
    if sys.platform == "darwin":
        return _output("/usr/sbin/sysctl", "-n", "kern.boottime")
    return ""


def _started(pid: int) -> str | None:
    """When a process began, in a form to compare.

    None if there is no such process, or a zombie; empty if it may not be looked at.
    """
    if Path("/proc/self/stat").exists():
        try:
            text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        except OSError:  # gone, or hidden (/proc mounted with hidepid)
            return "" if _hidden(pid) else None
        fields = text.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
        return None if fields[0] in "ZX" else fields[19]
    return _output("/bin/ps", "-o", "lstart=", "-p", str(pid)) or None


def _hidden(pid: int) -> bool:
    """Whether a process of another user exists."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
