"""Counter-based random numbers: the same bits whatever else is drawn, in NumPy on any machine.

A key is blake2b-64 of (seed, purpose, epoch, …); a number is SplitMix64's finaliser (Steele et al.,
2014, https://doi.org/10.1145/2660193.2660195) of (key, sample id, draw). There is no state: nothing
has to be saved to resume, and a trick that draws cannot shift what another one draws.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

_STEP = 0x9E3779B97F4A7C15
_GOLDEN = np.uint64(_STEP)
_ALL = 2**64 - 1


def stream_key(*parts: str | int) -> int:
    """64-bit key of a stream, e.g. `stream_key(seed, "crop", epoch)`."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function, elementwise."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(stream: int, ids: NDArray[np.int64], draws: int) -> NDArray[np.uint64]:
    """[len(ids), draws] of 64 random bits each."""
    with np.errstate(over="ignore"):
        rows = mix(np.uint64(stream) + _GOLDEN * (ids.astype(np.uint64) + np.uint64(1)))
        columns = _GOLDEN * np.arange(1, draws + 1, dtype=np.uint64)
        return mix(rows[:, None] + columns[None, :])


def uniforms(stream: int, ids: NDArray[np.int64], draws: int) -> NDArray[np.float64]:
    """[len(ids), draws] in [0, 1), 53 bits each."""
    return (bits(stream, ids, draws) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def uniform(stream: int, index: int) -> float:
    """The first number of sample `index`, as `uniforms` has it, in Python's own integers.

    NumPy takes ten times as long for a single one.
    """
    return (_mixed(_mixed(stream + _STEP * (index + 1)) + _STEP) >> 11) * 2.0**-53


def _mixed(state: int) -> int:
    """`mix` of one number, which is cut to 64 bits."""
    z = state & _ALL
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _ALL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _ALL
    return z ^ (z >> 31)


def permutation(stream: int, count: int) -> NDArray[np.int64]:
    """A permutation of range(count): the stable argsort of one draw each."""
    drawn = uniforms(stream, np.arange(count, dtype=np.int64), 1)[:, 0]
    return np.argsort(drawn, kind="stable").astype(np.int64)


class Draws:
    """A sequence of numbers of one stream; every call moves on, a new `Draws` starts over."""

    def __init__(self, *parts: str | int) -> None:
        self._key = stream_key(*parts)
        self._next = 0

    def uniform(self, *shape: int) -> NDArray[np.float64]:
        """The next numbers in [0, 1), in this shape; `uniform()` gives an array of shape ()."""
        count = math.prod(shape)
        ids = np.arange(self._next, self._next + count, dtype=np.int64)
        self._next += count
        return uniforms(self._key, ids, 1)[:, 0].reshape(shape)

    def integer(self, high: int) -> int:
        """The next number of 0 … high − 1."""
        return int(self.number() * high)

    def number(self) -> float:
        """The next number in [0, 1)."""
        self._next += 1
        return uniform(self._key, self._next - 1)

    def normal(self, *shape: int) -> NDArray[np.float64]:
        """The next standard normals (Box–Muller)."""
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(*shape)))
        return np.asarray(radius * np.cos(2.0 * np.pi * self.uniform(*shape)))

    def gamma(self, shape: float) -> float:
        """The next Gamma(shape, 1): Marsaglia and Tsang, 2000, https://doi.org/10.1145/358407.358414."""
        if shape < 1:  # their boost: Gamma(a) = Gamma(a + 1) · U^(1/a)
            return float(self.gamma(shape + 1) * self.number() ** (1 / shape))
        d = shape - 1 / 3
        while True:
            x = float(self.normal())
            v = (1 + x / math.sqrt(9 * d)) ** 3
            if v > 0 and math.log1p(-self.number()) < 0.5 * x * x + d * (1 - v + math.log(v)):
                return d * v

    def beta(self, a: float, b: float) -> float:
        """The next Beta(a, b): Jöhnk, 1964, for small parameters, else from two gammas."""
        if a <= 1 and b <= 1:
            while True:
                u, v = self.number(), self.number()
                # in logarithms: u^(1/a) underflows for small a
                log_x = math.log(u) / a if u > 0 else -math.inf
                log_y = math.log(v) / b if v > 0 else -math.inf
                top = max(log_x, log_y)
                if top == -math.inf:
                    continue
                total = top + math.log(math.exp(log_x - top) + math.exp(log_y - top))
                if total <= 0:
                    return math.exp(log_x - total)
        x, y = self.gamma(a), self.gamma(b)
        return x / (x + y)
