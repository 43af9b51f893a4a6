"""Why a row cannot be trained."""

from __future__ import annotations

from ablate.study.positions import Path


class RowProblem(Exception):
    """Why a row cannot be trained; the planner adds the place in the file, unless `path` is it."""

    def __init__(self, message: str, *, hint: str | None = None, path: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.path = path
