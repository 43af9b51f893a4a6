"""A disk of some hundred kilobytes, and one that can only be read: tmpfs, mounted for a test."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs mount: {done.stderr.strip()}")


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Path]:
    """An empty disk of this size at a folder that is made for it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "ablate-test", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@contextmanager
def seen_at(folder: Path, place: Path) -> Iterator[Path]:
    """A folder under another path too, which is no link (a bind mount)."""
    _mount("--bind", folder, place)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def resize(place: Path, kilobytes: int) -> None:
    _mount("-o", f"remount,size={kilobytes}k", place)


def make_read_only(place: Path) -> None:
    _mount("-o", "remount,ro", place)


def full(place: Path) -> bool:
    return os.statvfs(place).f_bavail == 0
