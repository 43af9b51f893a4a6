"""Bounded forms that take turns: each run does a part of what `--long` does, another every day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")


def todays(items: Sequence[T], parts: int) -> list[T]:
    """Every so-manieth, so that in as many days each has had its turn."""
    return list(items[datetime.now(UTC).toordinal() % parts :: parts])
