"""Which study, and what of it: the options that `plan`, `run` and `report` share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.cli.options import Options
    from ablate.stats import Look
    from ablate.study.model import Study


@dataclass(frozen=True)
class Selection:
    """A study file and what the options change about it."""

    file: str
    seeds: int | None = None
    datasets: tuple[str, ...] = ()
    limit: int | None = None
    settings: tuple[str, ...] = ()
    places: tuple[str, ...] = ()  # --store and the like, for commands that are suggested
    until: str | None = None
    max_seeds: int | None = None

    @classmethod
    def of(
        cls,
        file: str,
        seeds: int | None,
        datasets: Sequence[str] | None,
        limit: int | None,
        settings: Sequence[str] | None,
        options: Options | None = None,
        until: str | None = None,
        max_seeds: int | None = None,
    ) -> Selection:
        """From a command's arguments."""
        places = options.places() if options is not None else ()
        settings = tuple(settings or ())
        return cls(file, seeds, tuple(datasets or ()), limit, settings, places, until, max_seeds)

    def looks(self) -> tuple[Look, ...]:
        """Of `--until resolved`, none without it. Raises AblateError for what does not fit it."""
        from ablate.planning.looks import looks_of

        return looks_of(self.until, self.max_seeds, self.seeds)

    @property
    def whole(self) -> bool:
        """Whether it is the study as its file has it."""
        return not self.arguments()[1:]

    def arguments(self, *, seeds: bool = True) -> list[str]:
        """The file and the options, as typed."""
        words = [self.file]
        if seeds and self.seeds is not None:
            words += ["--seeds", str(self.seeds)]
        for name in self.datasets:
            words += ["--dataset", name]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        for setting in self.settings:
            words += ["--set", setting]
        if seeds and self.until is not None:
            words += ["--until", self.until]
            words += ["--max-seeds", str(self.max_seeds)] if self.max_seeds is not None else []
        return words

    def command(self, name: str) -> str:
        """ "ablate run studies/group1.toml --seeds 1"."""
        return shlex.join(["ablate", name, *self.arguments()])

    def suggestion(self, name: str, *more: str, seeds: bool = True) -> str:
        """A command that works as printed, on the same store and data."""
        return shlex.join(["ablate", name, *self.arguments(seeds=seeds), *more, *self.places])

    def load(self, *, bundled_only: bool) -> Study:
        """The study. Raises StudyError."""
        from ablate.study import load_study

        return load_study(
            self.file,
            overrides=self.settings,
            seeds=self.seeds,
            datasets=self.datasets,
            limit=self.limit,
            bundled_only=bundled_only,
        )
