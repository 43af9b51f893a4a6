"""How a run ended: what each of its trials came to, and the exit code."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """How a run ended. signal: SIGINT or SIGTERM if it was interrupted. choosing: trials that
    settings are chosen by: one that diverged is an answer. incomplete: some row chose none."""

    trained: int = 0
    statuses: dict[str, str] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    choosing: frozenset[str] = frozenset()
    incomplete: bool = False

    @property
    def wrong(self) -> list[str]:
        """Keys of the trials that did not end as they should, in the order of work."""
        return [
            key
            for key, status in self.statuses.items()
            if status != "done" and not (status == "diverged" and key in self.choosing)
        ]

    @property
    def exit_code(self) -> int:
        """0 done; 1 a trial failed; 128 + signal if interrupted."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.wrong or self.incomplete else 0
