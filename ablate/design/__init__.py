"""A study to tables, rows and trials: pure, without torch.

Imports `study`, `tricks`, `data`, `models` (their catalogues) and below; trains nothing, opens no
store.
"""

from __future__ import annotations

from ablate.design.descriptions import changes_between, row_changes
from ablate.design.resolve import resolve

__all__ = ["changes_between", "resolve", "row_changes"]
