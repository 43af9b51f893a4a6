"""The updates of a whole training, before it: what a schedule makes of rate and momentum.

A schedule multiplies the momentum of whatever optimizer a row has, and only the two together say
whether that stays below 1. What step 1 would refuse is plain arithmetic, and refused here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ablate.core.hook_types import Factors
from ablate.core.recipe import StepSchedule
from ablate.errors import AblateError, TrickError
from ablate.tricks.guard import contained
from ablate.tricks.hooks import Hooks

if TYPE_CHECKING:
    from torch import nn

    from ablate.core.recipe import Recipe
    from ablate.tricks.base import Trick

_MOST_STEPS = 512  # of a long training so many are looked at, the first and the last among them
_GUESSED = 100  # steps of an epoch where the number of images is not known: shapes are relative
_Own = tuple[str, float]  # ("adamw.beta1", 0.95): what an optimizer has, and who gave it that


class Updates:
    """Optimizer and schedule of one row.

    tricks: label and trick of each in force. steps: of an epoch, None where it is not known.
    """

    def __init__(
        self, recipe: Recipe, tricks: Sequence[tuple[str, Trick]], steps: int | None
    ) -> None:
        self.recipe = recipe
        self.steps = steps
        self._tricks = {trick.name: (label, trick) for label, trick in tricks}
        made = [trick for _, trick in tricks]
        # Whether a member of a bundle acts is found elsewhere.
        self.hooks = Hooks(made, may_idle=frozenset(self._tricks))
        self._factors: list[Factors] | None = None

    def acting(self, hook: str) -> list[tuple[str, Trick]]:
        """Label and trick of those that implement the hook."""
        return [self._tricks[name.removesuffix(" *")] for name in self.hooks.acting[hook]]

    def labels(self, hook: str) -> str:
        """ "warmup and one_cycle"."""
        return " and ".join(label for label, _ in self.acting(hook))

    def factors(self) -> list[Factors]:
        """Of the training's steps; none of a schedule that cannot be asked beforehand."""
        if self._factors is None:
            self._factors = self._asked()
        return self._factors

    def _asked(self) -> list[Factors]:
        if not self.hooks.acting["build_schedule"]:  # the recipe's own, whose settings are checked
            return []
        total = self.recipe.epochs * (self.steps or _GUESSED)
        some = min(total, _MOST_STEPS)
        steps = sorted({round(i * (total - 1) / max(some - 1, 1)) for i in range(some)})
        try:
            with contained("build_schedule, asked for a whole training"):
                schedule = self.hooks.build_schedule(self.recipe)
                found = [schedule(step, 0, total) for step in steps]
        except Exception:  # noqa: BLE001 - a trick's own, which may need its training: that will tell
            return []
        return found if all(isinstance(each, Factors) for each in found) else []

    def check(self, model: Callable[[], nn.Module] | None = None) -> None:
        """Refuse what a step would refuse, or what trains nothing. Raises AblateError.

        Without tricks that act on it, an optimizer has the recipe's momentum. torch is imported
        only for one that a trick makes and whose momentum the schedule moves; `model`, built then,
        is for its parameter groups.
        """
        self._check_rates()
        low, high = self._moved()
        if (low, high) != (1.0, 1.0) or model is not None:
            for where, value in self._own(model):
                for factor in (high, low):
                    self._check_momentum(where, value, factor)

    def _check_rates(self) -> None:
        rates = [float(self.recipe.lr) * each.lr for each in self.factors()]
        names = self.labels("build_schedule")
        for rate in rates:
            if not math.isfinite(rate) or rate < 0:
                raise AblateError(f"{names}: the learning rate is {rate:g} in some step")
        if rates and not any(rates):
            raise AblateError(f"{names}: the learning rate is 0 in every step, nothing is trained")

    def _moved(self) -> tuple[float, float]:
        """The least and the largest factor of momentum."""
        factors = [float(each.momentum) for each in self.factors()] or [1.0]
        return min(factors), max(factors)

    def _own(self, model: Callable[[], nn.Module] | None) -> list[_Own]:
        """Momentum or β₁ of the optimizer's groups; none where that cannot be told beforehand."""
        if not self.hooks.acting["build_optimizer"] and model is None:
            return [("recipe.momentum", float(self.recipe.momentum))]
        try:
            with contained("build_optimizer, on parameters without values"):
                groups = self._groups(model)
                optimizer = self.hooks.build_optimizer(groups, self.recipe)
        except TrickError as error:
            if isinstance(error.__cause__, ValueError):  # as torch refuses settings
                raise AblateError(error.message) from error
            return []
        except Exception:  # noqa: BLE001 - what the meta device lacks, say: the training will tell
            return []
        found: dict[_Own, None] = {}
        for group in optimizer.param_groups:
            if "momentum" in group:
                found[self._named("momentum", float(group["momentum"]))] = None
            elif "betas" in group:
                found[self._named("betas[0]", float(group["betas"][0]))] = None
        return list(found)

    def _groups(self, model: Callable[[], nn.Module] | None) -> list[dict[str, Any]]:
        import torch

        if model is not None:
            groups: list[dict[str, Any]] = self.hooks.param_groups(model(), self.recipe)
            return groups
        parameter = torch.nn.Parameter(torch.empty(1, 1, device="meta"))
        return [{"params": [parameter], "weight_decay": self.recipe.weight_decay}]

    def _named(self, key: str, value: float) -> _Own:
        """With the parameter that it comes from: of a trick, or of the recipe."""
        makers = [*self.acting("build_optimizer"), *self.acting("param_groups")]
        for label, trick in makers:
            for name, given in trick.model_dump().items():
                if _number(given) == value and ("beta" in name or "momentum" in name):
                    return f"{label}.{name}", value
        if key == "momentum" and value == self.recipe.momentum:
            return "recipe.momentum", value
        names = " and ".join(dict.fromkeys(label for label, _ in makers)) or "the optimizer"
        return f"{names}'s {key}", value

    def _check_momentum(self, where: str, value: float, factor: float) -> None:
        if 0 <= value * factor < 1:
            return
        said, parameter = self._multiplier(factor)
        less = f"{where} below {1 / factor:.4g}, or a smaller {parameter}" if factor > 1 else None
        raise AblateError(
            f"{said} multiplies momentum by {factor:.4g}, and {where} {value:g} times that is "
            f"{value * factor:.4g}: it must stay below 1",
            hint=less,
        )

    def _multiplier(self, factor: float) -> tuple[str, str]:
        """("one_cycle.max_momentum 0.95 over recipe.momentum 0.9", "one_cycle.max_momentum")."""
        recipe = float(self.recipe.momentum)
        for label, trick in self.acting("build_schedule"):
            for name, given in trick.model_dump().items():
                value, where = _number(given), f"{label}.{name}"
                if value is None:
                    continue
                if recipe and math.isclose(value / recipe, factor, rel_tol=1e-9):
                    return f"{where} {value:g} over recipe.momentum {recipe:g}", where
                if math.isclose(value, factor, rel_tol=1e-9):
                    return f"{where} {value:g}", where
        return (names := self.labels("build_schedule")), f"momentum in {names}"

    def words(self) -> Iterator[str]:
        """What a person should know: where the training is too short for its schedule, and where
        the optimizer's momentum is not what the schedule's words are of."""
        names, recipe = self.labels("build_schedule"), self.recipe
        if recipe.micro_batches > recipe.batch_size:
            yield (
                f"micro_batches {recipe.micro_batches}: a batch of {recipe.batch_size} is split in "
                f"{recipe.batch_size} at most"
            )
        if self.steps is not None:
            yield from self._rates_in_words(names, self.recipe.epochs * self.steps)
        low, high = self._moved()
        if (low, high) == (1.0, 1.0):
            return
        own = self._own(None)
        if own and not any(value for _, value in own):
            made = self.labels("build_optimizer") or "the optimizer"
            yield f"{names}: {made} has no momentum, so only the learning rate moves"
        for where, value in own:
            if value and value != self.recipe.momentum:
                yield (
                    f"{names} moves {where} {value:g} between {value * low:.4g} and "
                    f"{value * high:.4g}, in proportion to the recipe's momentum "
                    f"{self.recipe.momentum:g}"
                )

    def _rates_in_words(self, names: str, total: int) -> Iterator[str]:
        training = f"the {total:,} steps" if total != 1 else "the only step"
        rates = [each.lr for each in self.factors()]
        if rates and max(rates) < 0.99:
            yield (
                f"{names}: the learning rate never reaches the recipe's {self.recipe.lr:g}, the "
                f"most in {training} is {max(rates) * self.recipe.lr:.3g}"
            )
        if any(name.endswith(" *") for name in self.hooks.acting["build_schedule"]):
            if len(rates) == total and len(set(rates)) == 1:
                yield f"{names}: the learning rate is the same in {training}"
            return
        schedule = self.recipe.schedule
        # The default's milestones are nobody's wish; in fewer than four steps they are no matter.
        unset = schedule.milestones == StepSchedule().milestones
        if unset or schedule.gamma == 1 or total > _MOST_STEPS:
            return
        ends = {math.ceil(milestone * total) for milestone in schedule.milestones} - {total}
        if len(ends) < len(schedule.milestones):
            falls = f"{len(ends)} time{'s' * (len(ends) != 1)}"
            yield (
                f"schedule: the learning rate falls {falls} in {training}, "
                f"{len(schedule.milestones)} milestones are too many"
            )


def _number(value: Any) -> float | None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if plain else None
