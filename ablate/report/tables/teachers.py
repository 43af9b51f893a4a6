"""How good the teachers are that rows learned from, as their trials measured it."""

from __future__ import annotations

from collections.abc import Mapping

from ablate.core.resolved_study import ResolvedStudy, Table
from ablate.core.teaching import Taught
from ablate.report.model import TrialResultLike


def notes(
    resolved: ResolvedStudy, table: Table, results: Mapping[str, TrialResultLike]
) -> list[str]:
    """A line for rows whose teacher is the same, with what is wrong with it, if anything is."""
    rows: dict[str, list[str]] = {}
    for row in table.rows:
        known = [
            (found, resolved.trials[key].teacher is not None)
            for key in row.keys
            if key in results and (found := Taught.read(results[key].summary)) is not None
        ]
        if not known:
            continue
        worst, trained = min(known, key=lambda one: one[0].top1)
        shares = sorted({f"{found.top1:.1%}" for found, _ in known}, key=lambda s: float(s[:-1]))
        share = shares[0] if len(shares) == 1 else f"{shares[0]} to {shares[-1]}"
        said = worst.warning(trained) or (
            f"its teacher is right for {share} of the evaluation images"
        )
        rows.setdefault(said, []).append(row.label)
    return [f"{', '.join(labels)}: {said}" for said, labels in rows.items()]
