"""Ablations to variants to trials: pure, without torch."""

from __future__ import annotations

from ablate.design.changes import changes_between, row_changes
from ablate.design.resolving import resolve

__all__ = ["changes_between", "resolve", "row_changes"]
