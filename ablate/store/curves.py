"""What a trial's epochs come to, for reports: small, so that nobody reads every line again.

Made from the epochs themselves when an attempt ends and kept in its done.json; made in the same way
by whoever reads an attempt that has none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from ablate.store.journal import NO_METRICS

VERSION: Final = 1  # raise with any change of what the fields mean: those stored are then not used


@dataclass(frozen=True)
class Curves:
    """The epochs of one trial.

    epochs: how many. images: trained on in each, None where they differ or are not known. seconds:
    median time of an epoch, the first left out, as `ablate.stats.epoch_time`. typical: median of
    every epoch whose time is known. digests: by metric, what two trials share whose curves are the
    same to the last bit. processor_share: as `ablate.stats.processor_share`, of the threads of the
    process that trained; None of older releases' trials.
    """

    epochs: int
    images: float | None
    seconds: float | None
    typical: float | None
    digests: Mapping[str, str]
    processor_share: float | None = None

    @classmethod
    def of(
        cls,
        epochs: Sequence[Mapping[str, Any]],
        seconds: Sequence[float],
        processor: Sequence[float] = (),
    ) -> Curves:
        """From the metrics of each epoch, "images" among them, and the times of the epochs; none of
        the processor where they are not known."""
        from ablate.stats import epoch_time, processor_share

        images = {_number(epoch.get("images")) for epoch in epochs}
        known = [each for each in seconds if each == each]
        names = {name: None for epoch in epochs for name in epoch if name not in NO_METRICS}
        return cls(
            epochs=len(epochs),
            images=images.pop() if len(images) == 1 else None,
            seconds=epoch_time(seconds),
            typical=median(known) if known else None,
            digests={name: _digest([epoch.get(name) for epoch in epochs]) for name in names},
            processor_share=processor_share(seconds, processor) if processor else None,
        )

    def same(self, other: Curves, names: Sequence[str]) -> bool:
        """Whether both have some of these metrics, and all of them alike at every epoch."""
        mine, others = (
            {name: one.digests[name] for name in names if name in one.digests}
            for one in (self, other)
        )
        return bool(mine) and mine == others

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def read(cls, document: Any) -> Curves | None:
        """From what `document` gave; None if it is not that."""
        if not isinstance(document, dict) or document.get("version") != VERSION:
            return None
        epochs, digests = document.get("epochs"), document.get("digests")
        numbers = {name: document.get(name) for name in _NUMBERS}
        if type(epochs) is not int or epochs < 0 or not isinstance(digests, dict):
            return None
        if not all(value is None or _is_positive(value) for value in numbers.values()):
            return None
        return cls(epochs=epochs, digests=digests, **numbers)


_NUMBERS: Final = ("images", "seconds", "typical", "processor_share")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    """What can be counted or has passed; not 10**400, which no float holds."""
    return isinstance(value, int | float) and type(value) is not bool and 0 < value < 1e15


def _number(value: Any) -> float | None:
    return value if _is_number(value) else None


def _digest(values: Sequence[Any]) -> str:
    text = "\n".join(map(_word, values))
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _word(value: Any) -> str:
    """Equal for equal numbers, and for two that were not finite."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value + 0.0)  # −0 equals 0
    if isinstance(value, int) and abs(value) <= 2**53:
        return repr(float(value))
    return "missing" if value is None else repr(value)
