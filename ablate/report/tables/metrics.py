"""Another metric than the study's: which there are, and what may be said of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ablate.core.metrics import ECE, KNOWN, TRAIN_LOSS, Metric, metric_named
from ablate.core.resolved_study import ResolvedStudy
from ablate.errors import AblateError, close_to, did_you_mean
from ablate.report.model import TrialResultLike

if TYPE_CHECKING:
    from ablate.store.store import TrialResult

_SETTINGS: Final = frozenset({"lr", "momentum"})  # recorded with an epoch, but not measured


def asked_for(name: str, results: Mapping[str, TrialResultLike]) -> Metric:
    """The metric of that name, as the tricks of these trials declared it when they measured."""
    if name in KNOWN:
        return KNOWN[name]
    declared = []
    for result in results.values():
        stored = result.summary.get("measures")
        found = map(Metric.read, stored if isinstance(stored, list) else ())
        declared += [metric for metric in found if metric is not None]
    return metric_named(name, declared)


def margin(resolved: ResolvedStudy, metric: Metric) -> float:
    """The margin in the unit printed; 0 where the study declares none for this metric.

    It is declared for the study's own metric. In points of a share of the test images it holds for
    any such share.
    """
    declared = metric_named(resolved.metric)
    both = metric.of_examples and declared.of_examples and metric.unit == declared.unit
    return resolved.margin if both or metric.name == declared.name else 0.0


def notes(resolved: ResolvedStudy, metric: Metric) -> list[str]:
    """What a reader must know of a metric that the study did not declare."""
    found = []
    direction = f"{metric.better} counts as gain"
    if not metric.declared:
        direction += ", which nothing declares"
    if metric.name != resolved.metric:
        found.append(
            f"{metric.label} is not the declared metric ({resolved.metric}): exploratory; "
            f"{direction}"
        )
    if metric.name == ECE.name:
        found.append("ECE: expected calibration error of the test images, 15 bins of confidence")
    if metric.name == TRAIN_LOSS.name:
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
    known = sorted(measured | {ECE.name})
    if name == ECE.name:
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
        found[key] = replace(result, final={**result.final, ECE.name: error})
    return found
