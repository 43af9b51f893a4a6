"""Shares of a processor, by NumPy and by hand, and which of them are too small."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablate import stats


def test_a_trial_s_share_is_the_median_of_its_epochs_without_the_first() -> None:
    random = np.random.default_rng(1)
    for epochs in (2, 3, 6):
        seconds = random.uniform(1, 3, epochs)
        processor = seconds * random.uniform(0.2, 1, epochs)
        expected = np.median((processor / seconds)[1:])
        assert stats.processor_share(seconds, processor) == pytest.approx(expected)
    assert stats.processor_share([9.0, 2.0, 2.0, 4.0], [0.1, 1.0, 2.0, 3.0]) == 0.75


@pytest.mark.parametrize(
    ("seconds", "processor"),
    [
        ([1.0], [1.0]),
        ([], []),
        ([1.0, 2.0, 2.0], [1.0, 2.0, math.nan]),
        ([1.0, math.nan], [1.0, 2.0]),
        ([1.0, 0.0], [1.0, 0.0]),
    ],
)
def test_a_share_that_is_not_known_is_none(seconds: list[float], processor: list[float]) -> None:
    assert stats.processor_share(seconds, processor) is None


@pytest.mark.parametrize(
    ("shares", "lost"),
    [
        ([1.0, 0.99, 0.91, 0.89, 0.5], [0, 0, 0, 1, 1]),
        # what checkpoints took beside the training makes nobody else's share too small
        ([1.6, 1.0, 0.95], [0, 0, 0]),
        # all alike on a machine that is as busy throughout
        ([0.5, 0.48, 0.46, 0.44], [0, 0, 0, 1]),
        ([None, 1.0, None, 0.3], [0, 0, 0, 1]),
        ([None, None], [0, 0]),
        ([], []),
    ],
)
def test_a_tenth_less_than_the_quietest_is_disturbed(
    shares: list[float | None], lost: list[int]
) -> None:
    assert list(map(int, stats.disturbed(shares))) == lost
