"""What `ablate run --profile` prints: where the time of each profiled trial went."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.console.output import Line, Output
    from ablate.session import Session
    from ablate.training.profile_table import Profile


def nothing(output: Output) -> None:
    """All trials are done: there was nothing to time."""
    output.note(
        "--profile: only what is trained is timed",
        "  --store DIR trains all of it anew elsewhere · --retrain TRICK what has that trick",
    )


def tell(session: Session, output: Output, keys: Iterable[str]) -> None:
    """A table for each, in the study's order; with --json an event."""
    for key, path, profile in _found(session, set(keys)):
        label = session.resolved.labels[key]
        if output.json:
            output.event("profile", key=key, path=str(path), profile=profile.model_dump())
        else:
            output.note("", *_lines(profile, f"{key[:6]} {label}", path))


def _found(session: Session, keys: set[str]) -> Iterator[tuple[str, Path, Profile]]:
    from ablate import spool
    from ablate.files import read_json
    from ablate.training.profile_table import PROFILE, read

    for key in session.resolved.order:
        if key not in keys:
            continue
        for attempt in spool.attempts(session.store.path, key)[-1:]:
            profile = read(read_json(attempt / PROFILE))
            if profile is not None:  # one that failed early, or was trained elsewhere, has none
                yield key, attempt, profile


def _lines(profile: Profile, name: str, path: Path) -> list[Line]:
    from ablate.console.text import aligned, count
    from ablate.training.profile_table import ALIGN, TRACE, cells

    head = f" {name}: {profile.seconds:.1f} s, {count(profile.steps, 'step')} timed"
    if profile.traced_steps:
        head += f", {profile.traced_steps:,} traced"
    lines: list[Line] = [[("Profile", "bold"), (head, "")]]
    lines += [f"  {line}" for line in aligned(cells(profile), ALIGN)]
    if (path / TRACE).exists():
        lines.append(f"  {path / TRACE}      for ui.perfetto.dev")
    return lines
