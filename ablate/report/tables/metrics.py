"""Another metric than the study's: which there are, and what may be said of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablate.core.metrics import ECE, Metric, metric_named
from ablate.core.resolved_study import ResolvedStudy
from ablate.errors import AblateError, close_to, did_you_mean

if TYPE_CHECKING:
    from ablate.store.store import TrialResult

_SETTINGS: Final = frozenset({"lr", "momentum"})  # recorded with an epoch, but not measured


def margin(resolved: ResolvedStudy, metric: Metric) -> float:
    """The margin in the unit printed; 0 where the study declares none for this metric.

    It is declared for the study's own metric. In points of accuracy it holds for any accuracy.
    """
    declared = metric_named(resolved.metric)
    both = metric.accuracy and declared.accuracy
    return resolved.margin if both or metric == declared else 0.0


def notes(resolved: ResolvedStudy, metric: Metric) -> list[str]:
    """What a reader must know of a metric that the study did not declare."""
    found = []
    better = "higher" if metric.higher_is_better else "lower"
    if metric.name != resolved.metric:
        found.append(
            f"{metric.label} is not the declared metric ({resolved.metric}): exploratory; "
            f"{better} counts as gain"
        )
    if metric.name == ECE:
        found.append("ECE: expected calibration error of the test images, 15 bins of confidence")
    if metric.name == "train_loss":
        found.append(
            "train loss is of each row's own targets and images: rows whose tricks change "
            "either cannot be compared by it"
        )
    return found


def check_metric(name: str, results: Mapping[str, TrialResult]) -> None:
    """Raise AblateError unless some trial has the metric."""
    measured = {key for result in results.values() for key in result.final} - _SETTINGS
    if not results or name in measured:
        return
    known = sorted(measured | {ECE})
    if name == ECE:
        raise AblateError("--metric ece: no trial has stored predictions that allow it")
    close = did_you_mean(name, known) if close_to(name, known) else ""
    raise AblateError(
        f"--metric '{name}' was not measured{close}", hint=f"measured: {', '.join(known)}"
    )


def with_calibration(results: Mapping[str, TrialResult], store: Path) -> dict[str, TrialResult]:
    """The results with the calibration error among their metrics, where predictions allow it.

    Raises AblateError for a damaged file.
    """
    from ablate.stats import binned_error
    from ablate.store.predictions import read_predictions

    found = {}
    for key, result in results.items():
        stored = read_predictions(store, key, result.attempt)
        sure = stored.confidence if stored else None
        if stored is None or sure is None:
            found[key] = result
            continue
        error = binned_error(sure, stored.correct())
        found[key] = replace(result, final={**result.final, ECE: error})
    return found
