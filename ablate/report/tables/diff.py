"""Two rows or two trials: which settings differ, and what was measured on either side.

The interval of a difference is unadjusted: the comparison was not declared, so it belongs to no
family and gets no verdict. Of two whole rows of one table it comes from the table's fit, as
in its report; else it is the paired t over the seeds that both have.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ablate import stats
from ablate.core.metrics import MEASURED, TOP1, Metric
from ablate.core.trial import Trial
from ablate.errors import AblateError, did_you_mean
from ablate.report import numbers
from ablate.report.captions import CHOSEN_ONCE, short_device
from ablate.report.model import Diverged, TrialResultLike
from ablate.report.tables import cells, timing
from ablate.report.tables.fit import fit_rows
from ablate.report.tables.metrics import asked_for
from ablate.report.tables.settings import SettingChange, changed_rows

if TYPE_CHECKING:
    from ablate.report.tables.address import Place
    from ablate.report.tables.predictions import Hits

_NO_METRICS: Final = frozenset({"lr"})
_RECORDED: Final = ("torch", "torchvision", "cuda", "device_name", "ablate", "python")
_WORDS: Final = {"device_name": "device"}


@dataclass(frozen=True)
class Side:
    """What stands on one side. keys: trials by seed; trials: their definitions, by key.

    place: the row of a table, None for a trial that was named by its key. metric: the study's.
    """

    name: str
    dataset: str
    column: str
    keys: Mapping[int, str]
    trials: Mapping[str, Trial]
    place: Place | None = None
    metric: str | None = None

    @property
    def trial(self) -> Trial:
        """The first seed's: but for what each seed chose, it is the same in all."""
        return self.trials[next(iter(self.keys.values()))]

    @property
    def single(self) -> bool:
        """Whether it is one trial."""
        return len(self.keys) == 1


@dataclass(frozen=True)
class MetricDifference:
    """A metric on both sides, unrounded.

    before, after: means over the shared seeds, or over each side's own where none is shared or the
    images are others. delta: mean difference over the shared seeds. effect: its interval, None for
    fewer than two. band: half-width of re-run noise, for one. method: where the interval is from.
    """

    metric: Metric
    before: float | None
    after: float | None
    delta: float | None
    effect: stats.Effect | None
    band: float | None
    method: Literal["", "paired", "moderated"]
    shared: tuple[int, ...]
    values: tuple[dict[int, float], dict[int, float]]

    @property
    def decimals(self) -> int:
        """1 where the standard error is 0.1 or more, else 2; of losses as many as it takes."""
        error = (self.effect.se or 0.0) * self.metric.scale if self.effect else 0.0
        if self.metric.percent:
            return 1 if error >= 0.1 or not error else 2
        return min(6, max(2, math.ceil(-math.log10(error)))) if error else 3


@dataclass(frozen=True)
class TimeDifference:
    """Seconds of an epoch, geometric means over the shared seeds. why: they are not compared."""

    before: float | None
    after: float | None
    ratio: stats.Ratio | None
    why: str = ""


@dataclass(frozen=True)
class ImageTest:
    """Two checkpoints on the same test images, by top-1: how many only one of them gets right.

    p: of the exact McNemar test. It compares two checkpoints and says nothing of their recipes.
    """

    images: int
    only_before: int
    only_after: int
    p: float


@dataclass(frozen=True)
class Difference:
    """Two sides on one data set (and column of `over`).

    same: both are the same trials. comparable: both are measured on the same test images. recorded:
    versions and devices that differ, each side's in words. examples: test images. notes: trials
    that are not done. diverged: each side's share, of several seeds; diverged_p: that both shares
    are equal, None where neither has one.
    """

    sides: tuple[Side, Side]
    settings: tuple[SettingChange, ...]
    same: bool
    comparable: bool
    metrics: tuple[MetricDifference, ...]
    time: TimeDifference
    recorded: dict[str, tuple[str, str]]
    examples: int | None
    notes: tuple[str, ...]
    diverged: tuple[Diverged | None, Diverged | None] = (None, None)
    diverged_p: float | None = None


def pairs(a: Sequence[Side], b: Sequence[Side], dataset: str | None) -> list[tuple[Side, Side]]:
    """Which tables' rows stand beside each other: those of one data set and column, or the one on
    each side. Raises AblateError where that leaves none, or where nobody can tell."""
    if dataset is not None:
        known = list(dict.fromkeys(side.dataset for side in (*a, *b)))
        if dataset not in known:
            raise AblateError(f"--dataset {dataset}{did_you_mean(dataset, known)}")
        a, b = ([side for side in sides if side.dataset == dataset] for sides in (a, b))
        if not a or not b:
            raise AblateError(f"--dataset {dataset}: only one of the two is trained on it")
    here = {(side.dataset, side.column): side for side in reversed(b)}
    found = [(s, here[s.dataset, s.column]) for s in a if (s.dataset, s.column) in here]
    if found:
        return list({(x.dataset, x.column): (x, y) for x, y in reversed(found)}.values())[::-1]
    if len(a) == len(b) == 1:
        return [(a[0], b[0])]
    places = [", ".join(_where(side) for side in sides) for sides in (a, b)]
    raise AblateError(
        f"{a[0].name} is on {places[0]}, {b[0].name} on {places[1]}: which beside which?",
        hint="name one trial of each, as STUDY:ROW/DATASET/SEED or by its key",
    )


def _where(side: Side) -> str:
    return f"{side.dataset} ({side.column})" if side.column else side.dataset


def differ(
    a: Side,
    b: Side,
    results: Mapping[str, TrialResultLike],
    statuses: Mapping[str, str],
    *,
    alpha: float = 0.05,
) -> Difference:
    """Settings and metrics of two sides; results and statuses by trial key, of whole tables.

    Raises AblateError if nothing is done on one of them.
    """
    for side in (a, b):
        if not any(key in results for key in side.keys.values()):
            state = statuses[next(iter(side.keys.values()))]
            raise AblateError(
                f"{side.name} on {side.dataset}: nothing is measured yet ({state})",
                hint="ablate status shows what is done",
            )
    one, other = a.trial, b.trial
    images = [(t.dataset.fingerprint, t.dataset.limit) for t in (one, other)]
    comparable = images[0] == images[1]
    examples = _examples(a, b, results)
    names = _metrics(a, b, results)
    first, second = (_ended(side, results, statuses) for side in (a, b))
    diverged = _share(first, alpha), _share(second, alpha)
    either = any(diverged) and bool(first[1] and second[1])
    compared = {k: results[k] for s in (a, b) for k in s.keys.values() if k in results}
    return Difference(
        sides=(a, b),
        settings=tuple(
            changed_rows(*(_by_seed(side) for side in (a, b)), seeds=a.single and b.single)
        ),
        same=list(a.keys.values()) == list(b.keys.values()),
        comparable=comparable,
        metrics=tuple(
            _metric(a, b, asked_for(name, compared), results, comparable, examples, alpha)
            for name in names
        ),
        time=_time(a, b, results),
        recorded=_recorded(a, b, results),
        examples=examples,
        notes=(*_notes(a, b, statuses), *_often(a, b, diverged, alpha)),
        diverged=diverged,
        diverged_p=stats.fisher_exact(first, second) if either else None,
    )


def _by_seed(side: Side) -> list[Trial]:
    return [side.trials[key] for key in side.keys.values()]


def image_test(found: Difference, hits: Callable[[str, Metric], Hits | None]) -> ImageTest:
    """McNemar's test of two trials; `hits` reads which images a trial gets right.

    Raises AblateError where a side is a row of several seeds, or images are missing or others.
    """
    for side in found.sides:
        if not side.single:
            raise AblateError(
                f"--mcnemar compares two checkpoints, and {side.name} has {len(side.keys)}",
                hint=f"name one trial of each: {side.name.partition('/')[0]}/{side.dataset}/"
                f"{next(iter(side.keys))}",
            )
    one, other = (hits(next(iter(side.keys.values())), TOP1) for side in found.sides)
    for side, each in zip(found.sides, (one, other), strict=True):
        if each is None:
            raise AblateError(f"--mcnemar: {side.name} has no stored predictions")
    assert one is not None
    assert other is not None
    if not found.comparable or not one.alike(other):
        raise AblateError("--mcnemar: the two were tested on other images")
    only_before, only_after = stats.disagreements(one.correct, other.correct)
    p = stats.mcnemar(one.correct, other.correct)
    return ImageTest(len(one.correct), only_before, only_after, p)


def _done(side: Side, results: Mapping[str, TrialResultLike]) -> dict[int, TrialResultLike]:
    return {seed: results[key] for seed, key in side.keys.items() if key in results}


def _metrics(a: Side, b: Side, results: Mapping[str, TrialResultLike]) -> list[str]:
    measured = {n for s in (a, b) for r in _done(s, results).values() for n in r.final}
    first = [m for m in (a.metric, b.metric) if m is not None]
    order = dict.fromkeys([*first, *MEASURED, *sorted(measured)])
    return [name for name in order if name in measured - _NO_METRICS]


def _examples(a: Side, b: Side, results: Mapping[str, TrialResultLike]) -> int | None:
    found = {r.summary.get("examples") for s in (a, b) for r in _done(s, results).values()}
    number = found.pop() if len(found) == 1 else None
    return number if isinstance(number, int) and number > 0 else None


def _values(side: Side, metric: Metric, results: Mapping[str, TrialResultLike]) -> dict[int, float]:
    found = {s: r.final.get(metric.name, math.nan) for s, r in _done(side, results).items()}
    return {seed: value for seed, value in found.items() if math.isfinite(value)}


def _metric(
    a: Side,
    b: Side,
    metric: Metric,
    results: Mapping[str, TrialResultLike],
    comparable: bool,
    examples: int | None,
    alpha: float,
) -> MetricDifference:
    mine, others = (_values(side, metric, results) for side in (a, b))
    shared = tuple(seed for seed in mine if seed in others) if comparable else ()
    x, y = np.array([[values[s] for s in shared] for values in (mine, others)])
    delta = effect = band = None
    method: Literal["", "paired", "moderated"] = ""
    same = list(a.keys.values()) == list(b.keys.values())
    if shared and not same:
        delta = float((y - x).mean())
        if len(shared) > 1:
            contrast = _moderated(a, b, metric, results, examples)
            method = "moderated" if contrast is not None else "paired"
            if contrast is None:
                right = metric.right(np.stack([x, y]))
                rates = stats.error_rates(right, accuracy=metric.of_examples, examples=examples)
                contrast = stats.fit([x, y], rates).difference(1, 0)
            effect = None if contrast is None else stats.effect(contrast, alpha=alpha)
        elif metric.of_examples and examples:
            errors = metric.error(float(x[0])), metric.error(float(y[0]))
            band = stats.rerun_band(*errors, examples)
    before, after = (
        float(np.mean([values[s] for s in (shared or values)])) if values else None
        for values in (mine, others)
    )
    values = mine, others
    return MetricDifference(metric, before, after, delta, effect, band, method, shared, values)


def _moderated(
    a: Side,
    b: Side,
    metric: Metric,
    results: Mapping[str, TrialResultLike],
    examples: int | None,
) -> stats.Contrast | None:
    """The difference from the fit of the table that both rows are of; None where there is none, or
    one of them is not whole."""
    if a.place is None or b.place is None or a.place.table != b.place.table:
        return None
    table = a.place.table
    if len(a.keys) != len(table.seeds) or len(b.keys) != len(table.seeds):
        return None
    keys = [row.keys for row in table.rows]
    grid = [cells.seed_values(row, table.seeds, results, {}, ()) for row in table.rows]
    fitted = fit_rows(keys, grid, metric, examples)
    first, second = keys.index(a.place.row.keys), keys.index(b.place.row.keys)
    if not fitted.complete(first, second):
        return None
    return fitted.weighted([(1.0, second), (-1.0, first)])


def _time(a: Side, b: Side, results: Mapping[str, TrialResultLike]) -> TimeDifference:
    mine, others = _done(a, results), _done(b, results)
    every = [*mine.values(), *others.values()]
    devices = sorted({str(r.environment.get("device_name", "unknown")) for r in every})
    done = {key: results[key] for x in (a, b) for key in x.keys.values() if key in results}
    why = ""
    if len(devices) > 1:
        why = f"times not compared: {' and '.join(short_device(name) for name in devices)}"
    elif any(r.environment.get("shared_device") for r in every):
        why = "times not compared: trials ran side by side on one device"
    elif any(r.environment.get("profiled") for r in every):
        why = "times not compared: one was trained with --profile"
    elif any(_slow(side, result) for side in (a, b) for result in _done(side, results).values()):
        why = "times not compared: fp16 on a CPU"
    elif timing.busy({**a.trials, **b.trials}, done):
        why = "times not compared: the machine was busy"
    if why:
        return TimeDifference(None, None, None, why)
    times = [{s: t for s, r in x.items() if (t := r.curves.seconds)} for x in (mine, others)]
    if not all(times):
        return TimeDifference(None, None, None)
    shared = [seed for seed in times[0] if seed in times[1]]
    before, after = (
        math.exp(sum(math.log(x[s]) for s in shared or x) / len(shared or x)) for x in times
    )
    if list(a.keys.values()) == list(b.keys.values()):
        return TimeDifference(before, after, None)
    if not shared:  # the epochs of other seeds take the same time
        return TimeDifference(before, after, stats.Ratio(after / before, None, None))
    fitted = stats.time_fit([[x[s] for s in shared] for x in times])
    return TimeDifference(before, after, stats.time_ratio(fitted, 1, 0))


def _slow(side: Side, result: TrialResultLike) -> bool:
    cpu = side.trial.numerics.device_type == "cpu"
    return cpu and result.summary.get("precision") == "float16"


def _recorded(
    a: Side, b: Side, results: Mapping[str, TrialResultLike]
) -> dict[str, tuple[str, str]]:
    mine, others = ([r.environment for r in _done(side, results).values()] for side in (a, b))
    found = {}
    for name in _RECORDED:
        one, other = (_seen(environments, name) for environments in (mine, others))
        if one != other:
            found[_WORDS.get(name, name)] = (one, other)
    sources = [{spec.name: spec.source for spec in side.trial.tricks} for side in (a, b)]
    for name in sources[0].keys() & sources[1].keys():
        if sources[0][name] != sources[1][name]:
            found[f"{name} from"] = (sources[0][name], sources[1][name])
    return found


def _seen(environments: Sequence[Mapping[str, Any]], name: str) -> str:
    values = {str(e.get(name)) for e in environments if e.get(name) is not None}
    return " and ".join(sorted(values)) or "none"


def _ended(
    side: Side, results: Mapping[str, TrialResultLike], statuses: Mapping[str, str]
) -> tuple[int, int]:
    """(diverged, those that are done or diverged), by the study's metric as in its report."""
    metric, done = asked_for(side.metric or TOP1.name, results), _done(side, results)
    finite = len(_values(side, metric, results))
    measured = sum(metric.name in result.final for result in done.values())
    lost = sum(statuses[key] == "diverged" for key in side.keys.values()) + measured - finite
    return lost, lost + finite


def _share(ended: tuple[int, int], alpha: float) -> Diverged | None:
    lost, of = ended
    if not lost or of < 2:
        return None
    return Diverged(lost, of, *stats.share_interval(lost, of, level=1 - alpha))


def _often(
    a: Side, b: Side, shares: tuple[Diverged | None, Diverged | None], alpha: float
) -> list[str]:
    return [
        f"{side.name}: diverged in {numbers.share(share, alpha)}; only the others are compared"
        for side, share in zip((a, b), shares, strict=True)
        if share
    ]


def _notes(a: Side, b: Side, statuses: Mapping[str, str]) -> list[str]:
    found = []
    for side in (a, b):
        for seed, key in side.keys.items():
            if statuses[key] != "done":
                word = {"new": "not trained", "oom": "out of memory"}.get(
                    statuses[key], statuses[key].replace("_", " ")
                )
                found.append(f"{side.name}: seed {seed} is {word} and left out")
        tuning = side.place.table.tuning if side.place else None
        if tuning is not None and tuning.once and not side.single:
            found.append(f"{side.name}: {CHOSEN_ONCE}")
    return list(dict.fromkeys(found))
