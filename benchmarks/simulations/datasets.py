"""One effect over several data sets: coverage of the mean and of the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import stdtrit

from ablate import stats
from simulations.balanced import Judged, holm, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import Floats, Normal

BAR = (94.0, 96.0)
EFFECTS = ((0.2, 0.17), (0.1, 0.09), (0.05, 0.049))  # error rates without and with the trick


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Tables of five rows; noise equal, or 4 and 16 times the variance of the first."""
    step = steps_and_total(5)[:1]
    for ratios, seeds in (
        ((1.0, 1.0), (3, 3)),
        ((1.0, 4.0), (3, 3)),
        ((1.0, 16.0), (2, 2)),
        ((1.0, 4.0), (5, 2)),
        ((1.0, 4.0, 16.0), (3, 3, 3)),
        ((1.0, 1.0, 1.0), (10, 10, 10)),
    ):
        tables: list[Judged] = []
        truth = []
        for ratio, n, (before, after) in zip(ratios, seeds, EFFECTS, strict=False):
            source = Normal(ratio=ratio, shared=2.0)
            y = source.draw(rng, repeats, (before, *(after,) * 4), n)
            tables.append(judge(y, step, source.examples))
            truth.append(before - after)
        noise = " : ".join(f"{r:g}" for r in ratios)
        setting = f"{len(ratios)} data sets, noise variances {noise}"
        n_text = ", ".join(map(str, seeds))
        mean = _covers(tables, [1 / len(ratios)] * len(ratios), truth)
        yield share(setting, n_text, "interval of the mean", mean, BAR)
        apart = _covers(tables[:2], (1.0, -1.0), truth[:2])
        yield share(setting, n_text, "interval of the first two's difference", apart, BAR)
    yield from _claims(rng, repeats)


WORLDS = {
    "four null tricks and their total": (False, slice(None)),
    "the first trick real on all data sets but one": (True, slice(1, 4)),
}


def _claims(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """Verdicts of the mean, and of what holds on all data sets, as a report gives both."""
    comparisons = steps_and_total(5)
    for number in (2, 3):
        for seeds in (3, 5):
            for setting, (real, null) in WORLDS.items():
                tables = []
                for place in range(number):
                    first = 0.13 if real and place else 0.1
                    source = Normal(ratio=1.0 + place, shared=2.0)
                    y = source.draw(rng, repeats, (first, *(0.1,) * 4), seeds)
                    tables.append(judge(y, comparisons, source.examples))
                mean = (_mean_holm(tables) < 0.05)[:, null].any(axis=1)
                # of a trick that is null on one of them, "on all" is false too
                everywhere = (_all_holm(tables) < 0.05).any(axis=1)
                what = "any false gain or loss, of the mean or on all"
                name = f"{number} data sets, {setting}"
                yield share(name, seeds, what, mean | everywhere, (None, 5.5))


def _mean_holm(tables: Sequence[Judged]) -> Floats:
    estimate = np.mean([t.estimate for t in tables], axis=0)
    variances = [t.se**2 / len(tables) ** 2 for t in tables]
    variance = np.sum(variances, axis=0)
    df = variance**2 / sum(v**2 / t.df for v, t in zip(variances, tables, strict=True))
    return Judged(estimate, np.sqrt(variance), df, tables[0].uneven).holm()


def _all_holm(tables: Sequence[Judged]) -> Floats:
    """Corrected over the comparisons, of the largest p among data sets that agree in direction."""
    largest = np.max([t.p() for t in tables], axis=0)
    positive = np.array([t.estimate > 0 for t in tables])
    agree = positive.all(axis=0) | ~positive.any(axis=0)
    found = holm(np.where(agree, largest, 1.0))
    for t in range(20):
        families = [
            [
                stats.Contrast(*(float(v[t, i]) for v in (x.estimate, x.se, x.df)), None)
                for x in tables
            ]
            for i in range(found.shape[1])
        ]
        theirs = [one.p_holm for one in stats.on_all(families, margin=0.005) if one]
        assert np.allclose(found[t], theirs)
    return found


def _covers(tables: Sequence[Judged], weights: Sequence[float], truth: Sequence[float]) -> Floats:
    estimate = sum(w * t.estimate[:, 0] for w, t in zip(weights, tables, strict=True))
    variances = [w * w * t.se[:, 0] ** 2 for w, t in zip(weights, tables, strict=True)]
    variance = np.sum(variances, axis=0)
    df = variance**2 / sum(v * v / t.df[:, 0] for v, t in zip(variances, tables, strict=True))
    half = stdtrit(df, 0.975) * np.sqrt(variance)
    for t in range(20):
        parts = [
            stats.Contrast(*(float(v[t, 0]) for v in (x.estimate, x.se, x.df)), None)
            for x in tables
        ]
        theirs = stats.difference(*parts) if weights[0] == 1 else stats.mean_effect(parts)
        assert theirs is not None
        assert np.allclose([estimate[t], half[t]], [theirs.delta, theirs.high - theirs.delta])
    covered: Floats = np.abs(estimate - np.dot(weights, truth)) <= half
    return covered
