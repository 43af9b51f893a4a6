"""Doing something as another user of this machine, in a fork that has given up root."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ANN, BOB, EVE = 61001, 61002, 61003  # Ann and Bob are in a group, Eve is a stranger
GROUP = 61100


def need_root() -> None:
    """Skip where one cannot become somebody else."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to be two users")


def as_user(user: int, umask: int, function: Callable[[], Any]) -> Any:
    """What the function returns, called in a process of this user; AssertionError if it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            os.setgroups([] if user == EVE else [GROUP])
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            said = pickle.dumps((True, function()))
        except BaseException:  # noqa: BLE001 - told to the test
            said = pickle.dumps((False, traceback.format_exc()))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(said)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        worked, value = pickle.loads(pipe.read())
    os.waitpid(child, 0)
    assert worked, value
    return value


def shared_folder(path: Path, mode: int = 0o2770) -> Path:
    """A folder of the group's, that everybody can get to."""
    path.mkdir()
    os.chown(path, ANN, GROUP)
    path.chmod(mode)
    for above in path.parents:
        if above.stat().st_uid == 0 and str(above) != "/" and above.stat().st_mode & 0o001 == 0:
            above.chmod(above.stat().st_mode | 0o011)
    return path
