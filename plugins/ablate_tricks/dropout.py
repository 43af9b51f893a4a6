"""Dropout: in training, each input of the classifier is 0 with probability p.

The others are scaled by 1/(1 − p), so that evaluation needs no change. Srivastava et al., 2014,
https://jmlr.org/papers/v15/srivastava14a.html.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from ablate import NoEffect, Trick, hookimpl

if TYPE_CHECKING:
    from torch import nn


class Dropout(Trick):
    """Before the classifier, and nowhere else. Where a model has dropout there, its p is set."""

    version: ClassVar[int] = 1
    slot: ClassVar[dict[str, str]] = {"build_model": "head"}

    p: float = Field(0.2, gt=0, lt=1, description="probability that an input is dropped")

    @hookimpl(wrapper=True)
    def build_model(self) -> Generator[None, nn.Module, nn.Module]:
        """The model with dropout before its last linear layer, which keeps its name."""
        model = yield
        from torch import nn

        from ablate.models.surgery import attach, handles, replace

        classifier = handles(model).classifier
        if classifier is None:
            raise NoEffect(self.name, "this model's last layer is not a linear classifier")
        standing = _dropout_before(model, classifier)
        if standing is None:
            attach(model, classifier, "dropout", nn.Dropout(self.p), before=True)
        elif model.get_submodule(standing).p == self.p:
            raise NoEffect(
                self.name, f"this model has dropout of {self.p:g} before its classifier already"
            )
        else:
            replace(model, standing, nn.Dropout(self.p))
        return model

    def describe(self, changed: int | None = None) -> str:
        """In words."""
        return f"model: dropout before the classifier, p {self.p:g}"


def _dropout_before(model: nn.Module, classifier: str) -> str | None:
    """The dropout that stands right before the classifier, or that was attached to it."""
    from torch import nn

    leaves = [n for n, m in model.named_modules() if not list(m.children()) or n == classifier]
    place = leaves.index(classifier)
    near = leaves[max(place - 1, 0) : place] + [n for n in leaves if n == f"{classifier}.dropout"]
    return next((n for n in near if isinstance(model.get_submodule(n), nn.Dropout)), None)
