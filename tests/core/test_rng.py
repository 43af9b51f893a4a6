"""Random streams: golden vectors from the generator's authors, scipy for the distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ablate.core.rng import Draws, bits, mix, permutation, stream_key, uniform, uniforms


def test_the_finaliser_is_splitmix64() -> None:
    # The reference program's first outputs for seed 1234567 (Vigna, splitmix64.c).
    golden = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = np.uint64(1234567) + golden * np.arange(1, 6, dtype=np.uint64)
    assert mix(states).tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_numbers_depend_on_nothing_but_key_id_and_draw() -> None:
    ids = np.array([5, 900, 3])
    full = bits(stream_key(0, "crop", 1), np.arange(1000), 4)
    assert np.array_equal(bits(stream_key(0, "crop", 1), ids, 4), full[ids])
    assert np.array_equal(bits(stream_key(0, "crop", 1), ids, 2), full[ids][:, :2])


def test_one_number_has_the_bits_that_an_array_of_them_has() -> None:
    streams = [stream_key(seed, "one") for seed in range(200)] + [0, 2**64 - 1]
    ids = np.array([0, 1, 77, 2**40])
    for stream in streams:
        assert [uniform(stream, i) for i in ids.tolist()] == uniforms(stream, ids, 1)[:, 0].tolist()
    arrays, numbers = Draws(5, "one"), Draws(5, "one")
    assert [numbers.number() for _ in range(9)] == arrays.uniform(9).tolist()
    assert numbers.uniform(3).tolist() == arrays.uniform(3).tolist()


@pytest.mark.parametrize(
    ("a", "b"),
    [((0, "a"), (0, "b")), ((0, 1), (1, 0)), ((0, "1"), (0, 1)), (("ab", "c"), ("a", "bc"))],
)
def test_keys_differ(a: tuple[str | int, ...], b: tuple[str | int, ...]) -> None:
    assert stream_key(*a) != stream_key(*b)


def test_golden_vectors() -> None:
    """These bits are in stored results: they may never change."""
    assert stream_key(0, "order", 0) == 16185230473547831310
    assert bits(stream_key(0, "order", 0), np.array([0, 1]), 2).tolist() == [
        [12164765371005967602, 10579731394549056839],
        [5105484165582415001, 16585401668463638914],
    ]
    assert permutation(stream_key(0, "order", 0), 8).tolist() == [3, 4, 1, 6, 2, 0, 7, 5]


def test_uniforms_are_uniform_and_uncorrelated() -> None:
    drawn = uniforms(stream_key(3, "x"), np.arange(20_000), 3)
    for column in drawn.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.03
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.03


def test_a_permutation_is_one_and_all_places_are_alike() -> None:
    orders = np.stack([permutation(stream_key(seed, "order", 0), 10) for seed in range(2000)])
    assert (np.sort(orders, axis=1) == np.arange(10)).all()
    counts = np.bincount(orders[:, 0], minlength=10)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(("a", "b"), [(0.2, 0.2), (1.0, 1.0), (0.1, 0.7), (2.0, 5.0), (0.5, 3.0)])
def test_beta(a: float, b: float) -> None:
    drawn = [Draws(seed, "beta").beta(a, b) for seed in range(4000)]
    assert stats.kstest(drawn, "beta", args=(a, b)).pvalue > 1e-3


@pytest.mark.parametrize("shape", [0.3, 1.0, 4.5])
def test_gamma_and_normal(shape: float) -> None:
    drawn = [Draws(seed, "gamma").gamma(shape) for seed in range(4000)]
    assert stats.kstest(drawn, "gamma", args=(shape,)).pvalue > 1e-3
    assert stats.kstest(Draws(1, "n").normal(5000), "norm").pvalue > 1e-3


def test_a_stream_starts_over_and_moves_on() -> None:
    one, two = Draws(0, "a"), Draws(0, "a")
    first = one.uniform(3)
    assert np.array_equal(first, two.uniform(3))
    assert not np.array_equal(first, one.uniform(3))
