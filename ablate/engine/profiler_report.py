"""A profile as it is stored and printed. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ablate.core.recipe import Frozen

PROFILE = "profile.json"  # beside an attempt's other files
TABLE = "profile.txt"
TRACE = "trace.json.gz"


class Row(Frozen):
    """What one thing took.

    of: the row that this is a part of, "" for the rows that add up to the whole. seconds: in all.
    per_step_ms: of a step of training, None for what is not part of one. waiting: the share of its
    seconds in which the device had nothing to do, None where that is not known.
    """

    where: str
    of: str = ""
    seconds: float
    per_step_ms: float | None = None
    waiting: float | None = None


class Profile(Frozen):
    """Where one trial's time went.

    seconds: wall time, what the rows without `of` add up to. steps: those that the steps' times are
    means of. traced_steps: those in the trace, whose time is the row "profiler".
    """

    format: int = 1
    key: str
    device: str
    device_name: str
    seconds: float
    steps: int
    traced_steps: int
    rows: tuple[Row, ...]

    def parts(self, of: str = "") -> list[Row]:
        """The rows that add up to the whole, or to one of them."""
        return [row for row in self.rows if row.of == of]

    def share(self, row: Row) -> float:
        """Of the whole."""
        return row.seconds / self.seconds if self.seconds else 0.0


HEADS = ("where", "s", "share", "per step", "waiting")
ALIGN = "<>>>>"


def cells(profile: Profile) -> list[tuple[str, ...]]:
    """The table's rows, the head first."""
    found: list[tuple[str, ...]] = [HEADS]
    for row in profile.parts():
        found.append(_cells(profile, row, row.where))
        inner = sorted(profile.parts(row.where), key=lambda r: -r.seconds)
        found += [_cells(profile, one, f"  {one.where}") for one in inner]
    top = profile.parts()
    known = [row for row in top if row.waiting is not None]
    total = Row(
        where="total",
        seconds=profile.seconds,
        per_step_ms=_sum(row.per_step_ms for row in top),
        waiting=_waited(known),
    )
    return [*found, _cells(profile, total, "total")]


def text(profile: Profile) -> str:
    """The table as plain text."""
    rows = cells(profile)
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADS))]
    lines = (
        "  ".join(
            cell.rjust(width) if side == ">" else cell.ljust(width)
            for cell, width, side in zip(row, widths, ALIGN, strict=True)
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


def _waited(rows: list[Row]) -> float | None:
    seconds = sum(row.seconds for row in rows)
    if not seconds:
        return None
    return sum(row.seconds * (row.waiting or 0.0) for row in rows) / seconds


def _cells(profile: Profile, row: Row, name: str) -> tuple[str, ...]:
    return (
        name,
        f"{row.seconds:.1f}" if row.seconds >= 0.95 else f"{row.seconds:.3f}",
        f"{100 * profile.share(row):.1f}%",
        "" if row.per_step_ms is None else f"{row.per_step_ms:.2f} ms",
        "" if row.waiting is None else f"{100 * row.waiting:.0f}%",
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def read(document: dict[str, Any] | None) -> Profile | None:
    """A stored profile; None for what is none."""
    from pydantic import ValidationError

    try:
        return Profile.model_validate(document) if document else None
    except ValidationError:  # a newer ablate's, or damaged
        return None
