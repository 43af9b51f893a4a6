"""Rows whose noise leaves the law, and rows that share more than a seed: V1 of the old rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from simulations.balanced import Judged, Rule, judge, steps_and_total
from simulations.figures import Figure, share
from simulations.tables import IMAGENETTE, Floats

# README's table of 2026-11-20: error rates and standard deviations of its six rows.
README_ERRORS = (0.014, 0.017, 0.016, 0.103, 0.018, 0.018)
README_NOISE = (0.003, 0.003, 0.003, 0.027, 0.003, 0.006)
README_IMAGES = 599
RULES: tuple[Rule, ...] = ("pooled", "moderated")
_MANY = 10  # times as many tables, for a bar that is met by a tenth of a point
_WHAT = {"pooled": "one residual for all rows: ", "moderated": ""}


def drawn(
    rng: np.random.Generator, tables: int, seeds: int, errors: Any, noise: Any
) -> tuple[Floats, Floats]:
    """(accuracies [tables, rows, seeds] with these standard deviations, truth [rows])."""
    truth = 1 - np.asarray(errors, dtype=float)
    spread = np.broadcast_to(np.asarray(noise, dtype=float), truth.shape)[:, None]
    return truth[:, None] + spread * rng.standard_normal((tables, len(truth), seeds)), truth


def simulate(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """README's table, one noisy row, a training that collapses, rows that are alike."""
    yield from _readme(rng, repeats)
    yield from _one_row(rng, repeats)
    yield from _collapse(rng, repeats)
    yield from _equal(rng, repeats)
    yield from _alike(rng, repeats)


def _readme(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    comparisons = steps_and_total(6)
    bars = {3: (86.0, 8.5), 5: (92.0, 5.0), 10: (93.0, 4.5)}
    for seeds in (2, 3, 5, 10):
        lowest, highest = bars.get(seeds, (None, None))
        y, means = drawn(rng, _MANY * repeats, seeds, README_ERRORS, README_NOISE)
        flat, _ = drawn(rng, repeats, seeds, (0.03,) * 6, README_NOISE)
        for rule in RULES:
            new = rule == "moderated"
            judged = judge(y, comparisons, README_IMAGES, rule)
            covered = judged.covers(comparisons @ means)
            # which is the worst is seen in half of the tables, and how bad it is in the others
            half = len(covered) // 2
            worst = covered[half:, int(covered[:half].mean(axis=0).argmin())]
            setting = "README's table of 2026-11-20"
            bar = (lowest, None) if new else (None, None)
            yield share(setting, seeds, f"{_WHAT[rule]}the worst of six intervals", worst, bar)
            claims = _claims(judge(flat, comparisons, README_IMAGES, rule))
            bar = (None, highest) if new else (None, None)
            gain = y[:repeats].copy()
            gain[:, 0] -= 0.015 - (means[1] - means[0])
            found = judge(gain, comparisons, README_IMAGES, rule).holm()[:, 0] < 0.05
            setting = "the same table, its first trick a gain of 1.5 points"
            yield share(setting, seeds, f"{_WHAT[rule]}found", found)
            setting = "the same noise, no trick does anything"
            yield share(setting, seeds, f"{_WHAT[rule]}any gain or loss", claims, bar)


def _one_row(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    comparisons = steps_and_total(5)
    for ratio in (2, 3, 5, 9):
        for seeds in (3, 5, 10):
            noise = 0.003 * np.array([1, 1, ratio, 1, 1])
            y, _ = drawn(rng, repeats, seeds, (0.1,) * 5, noise)
            setting = f"four null tricks and their total, one row with {ratio} × the noise"
            for rule in RULES:
                judged = judge(y, comparisons, IMAGENETTE, rule)
                bar = (None, 6.0) if rule == "moderated" and seeds >= 5 else (None, None)
                yield share(setting, seeds, f"{_WHAT[rule]}any gain or loss", _claims(judged), bar)
                if rule == "moderated":
                    yield share(setting, seeds, "the row is seen to stand out", judged.uneven)


def _collapse(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """93.0, 10.0, 93.2: one training of one row ends at chance, and is finite."""
    comparisons = steps_and_total(5)
    for seeds in (3, 5):
        y, _ = drawn(rng, repeats, seeds, (0.07,) * 5, 0.002)
        y[np.arange(repeats), 2, rng.integers(seeds, size=repeats)] = 0.1
        y[:, 4] += 0.03  # between two quiet rows
        setting = "a gain of 3 points between quiet rows, one training of another row collapses"
        for rule in RULES:
            found = judge(y, comparisons, IMAGENETTE, rule).holm()[:, 3] < 0.05
            yield share(setting, seeds, f"{_WHAT[rule]}found", found)


def _equal(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    """What the new rule costs where the old one was right: widths, in percent of the old."""
    comparisons = steps_and_total(6)
    for seeds, most in ((3, 112.0), (5, 110.0), (10, None)):
        y, _ = drawn(rng, repeats, seeds, (0.1,) * 6, 0.003)
        halves = [judge(y, comparisons, IMAGENETTE, rule).half() for rule in RULES]
        widths = halves[1].mean(axis=1) / halves[0].mean()
        setting = "six rows of equal noise"
        yield share(setting, seeds, "mean half-width, % of the old rule's", widths, (None, most))


def _alike(rng: np.random.Generator, repeats: int) -> Iterator[Figure]:
    comparisons = steps_and_total(6)
    for seeds in (3, 5, 10):
        z = rng.standard_normal((repeats, 6, seeds))
        worlds = {}
        for rho in (0.9, 0.95):
            x = np.empty_like(z)
            x[:, 0] = z[:, 0]
            for i in range(1, 6):
                x[:, i] = rho * x[:, i - 1] + (1 - rho**2) ** 0.5 * z[:, i]
            worlds[f"neighbours alike, correlation {rho:g}^|i − j|"] = x
        worlds["each row a step from the one above"] = np.cumsum(z, axis=1)
        pair = z.copy()
        pair[:, 5] = 0.95 * pair[:, 4] + (1 - 0.95**2) ** 0.5 * pair[:, 5]
        worlds["the last two alike, correlation 0.95"] = pair
        for setting, x in worlds.items():
            y = 0.9 + 0.003 * x
            bar = 91.0 if setting.startswith("neighbours") and seeds >= 5 else None
            for rule in RULES:
                covered = judge(y, comparisons, IMAGENETTE, rule).covers(np.zeros(6))[:, -1]
                low = bar if rule == "moderated" else None
                yield share(
                    setting, seeds, f"{_WHAT[rule]}interval of the total", covered, (low, None)
                )


def _claims(judged: Judged) -> Floats:
    found: Floats = (judged.holm() < 0.05).any(axis=1)
    return found
