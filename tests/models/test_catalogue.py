"""Names: what is a model, what is not, and that every name listed can be built and initialised."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torchvision

from ablate.errors import AblateError
from ablate.models import build_model, initialise
from ablate.models.catalogue import is_model, model_image_size, model_info, model_names

# Slow to build, and the same code as the smaller ones of their family.
LARGE = {f"regnet_{kind}_{size}" for kind in "xy" for size in ("8gf", "16gf", "32gf", "128gf")}
LARGE |= {f"efficientnet_b{scale}" for scale in range(3, 8)} | {"densenet169", "densenet201"}
# One of each family, and ours; --long builds all.
FIRST = {model_info(n).family: n for n in sorted(model_names()) if n not in LARGE}
FIRST_AND_OURS = {*FIRST.values(), *(n for n in model_names() if n.startswith("seres"))}
FIRST_AND_OURS |= {n for n in model_names() if n.endswith("_small")}


def test_names_need_no_torch() -> None:
    code = (
        "import sys, ablate.models.catalogue as c\n"
        "assert c.is_model('resnet50') and c.model_info('vgg11').family == 'VGG'\n"
        "assert c.is_model('timm/resnet50d') and c.is_model('a.b:c')\n"
        "import ablate_tricks.zero_gamma, ablate_tricks.no_bias_decay\n"
        "import ablate_tricks.resnet_b, ablate_tricks.resnet_c, ablate_tricks.resnet_d\n"
        "assert not {'torch', 'torchvision', 'timm'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torchvision_names_are_torchvisions() -> None:
    theirs = set(torchvision.models.list_models(module=torchvision.models))
    listed = set(model_names())
    assert theirs <= listed, "torchvision has models that the catalogue does not list"
    ours = {n for n in listed if n.endswith(("_v1", "_small")) or n.startswith("seres")}
    cifar = {n for n in listed if model_info(n).family.startswith("CIFAR")}
    assert listed - theirs == (ours | cifar | {"mobilenet_v1"}) - theirs


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.long] * (n not in FIRST_AND_OURS))
        for n in sorted(model_names())
    ],
)
def test_every_name_builds_and_initialises(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 7)
    initialise(model, 0)
    assert all(parameter.is_meta for parameter in model.parameters())
    if model_info(name).family != "SqueezeNet":  # it classifies with a convolution
        assert [*model.modules()][-1].out_features == 7


@pytest.mark.parametrize("base", ["resnet18", "resnet50_v1", "resnext50_32x4d"])
def test_small_once(base: str) -> None:
    assert is_model(f"{base}_small")
    assert not is_model(f"{base}_small_small")


def test_unknown_names() -> None:
    for name in ("resnet5O", "vgg16_small", "resnet20_small", "resnet18_v1", "", "a:b:c", "a b:c"):
        assert not is_model(name)
        with pytest.raises(AblateError, match="unknown model"):
            model_info(name)
    with pytest.raises(AblateError, match="did you mean 'resnet50_v1'"):
        build_model("resnet50v1", 10)
    with pytest.raises(AblateError, match="did you mean 'resnet50d'"):
        build_model("timm/resnet50dd", 10)


def test_timm_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)  # as if it were not installed
    assert not is_model("timm/resnet50d")
    with pytest.raises(AblateError, match="timm is not installed"):
        model_info("timm/resnet50d")


def test_image_size_is_the_data_sets() -> None:
    assert model_image_size("resnet50") is None
    with pytest.raises(AblateError):
        model_image_size("resnet51")
