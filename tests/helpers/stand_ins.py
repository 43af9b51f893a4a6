"""What the reference studies name and the project does not have yet: models and data sets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

import ablate.data.builtin
import ablate.models.catalogue
from ablate.data.builtin import DatasetInfo, Edition
from ablate.models.catalogue import ModelInfo, is_model
from ablate.study import Study, load_study
from ablate.tricks.discovery import Catalogue, load_catalogue

HERE = Path(__file__).parent
REFERENCE = HERE / "reference"
REPOSITORY = HERE.parent.parent


@cache
def catalogue() -> Catalogue:
    """The installed tricks."""
    return load_catalogue()


def add_what_is_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of models and data sets, so that studies that use them can be planned."""
    for model in ("inception_v3", "mobilenet_v1"):
        if is_model(model):
            continue
        info = ModelInfo(model, "to come", "")
        monkeypatch.setitem(ablate.models.catalogue._MODELS, model, info)
    for name, classes, size in (("cifar10", 10, 32), ("imagenet", 1000, 224)):
        if name in ablate.data.builtin.CATALOGUE:
            continue
        data = DatasetInfo(
            name=name,
            description="to come",
            num_classes=classes,
            image_size=size,
            editions={"full": Edition(name, None, 1)},
        )
        monkeypatch.setitem(ablate.data.builtin.CATALOGUE, name, data)


def reference(name: str, **options: object) -> Study:
    return load_study(REFERENCE / f"{name}.toml", catalogue=catalogue(), **options)  # type: ignore[arg-type]
