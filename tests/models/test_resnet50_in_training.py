"""ResNet-50 v1, B, C and D in training against torchvision's and timm's: logits and statistics.

In evaluation: tests/tricks/test_resnet_variants.py.
"""

from __future__ import annotations

import pytest
import timm
import torch
import torchvision
from timm.models import resnet as timm_resnet
from torch import nn

from ablate.core.recipe import Recipe
from ablate.tricks.base import Trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD

B, C, D = ResnetB(), ResnetC(), ResnetD()


def published_strides() -> nn.Module:
    """timm's legacy SE-ResNet-50, without its excitation and with the padded pool: ResNet-50 v1."""
    model: nn.Module = timm.create_model("legacy_seresnet50", num_classes=7, drop_rate=0)
    for module in list(model.modules()):
        if hasattr(module, "se_module"):
            module.se_module = nn.Identity()
    model.set_submodule("pool0", nn.MaxPool2d(3, 2, padding=1))
    return model


def torchvisions() -> nn.Module:
    return torchvision.models.resnet50(num_classes=7)  # type: ignore[no-any-return]


def deep_stem() -> nn.Module:
    return timm_resnet.ResNet(
        timm_resnet.Bottleneck, [3, 4, 6, 3], num_classes=7, stem_width=32, stem_type="deep"
    )


def timms_d() -> nn.Module:
    return timm.create_model("resnet50d", num_classes=7)  # type: ignore[no-any-return]


def in_order(model: nn.Module) -> dict[str, torch.Tensor]:
    """By torchvision's names in timm's legacy model, as they come in the others."""
    state = model.state_dict()
    if "layer0.conv1.weight" not in state:
        return state
    plain = {n.replace("layer0.", "").replace("last_linear", "fc"): v for n, v in state.items()}
    return {name: plain[name] for name in torchvisions().state_dict()}


@pytest.mark.parametrize("size", [pytest.param(64, marks=pytest.mark.long), 75])
@pytest.mark.parametrize(
    ("tricks", "make"),
    [((), published_strides), ((B,), torchvisions), ((B, C), deep_stem), ((B, C, D), timms_d)],
    ids=["v1", "B", "C", "D"],
)
def test_logits_and_statistics(tricks: tuple[Trick, ...], make: object, size: int) -> None:
    torch.manual_seed(0)
    theirs = make()  # type: ignore[operator]
    recipe = Recipe.model_validate({"model": "resnet50_v1"})
    ours: nn.Module = Hooks(tricks).build_model(recipe, 7)
    others, mine = in_order(theirs), ours.state_dict()
    assert [t.shape for t in mine.values()] == [t.shape for t in others.values()]
    ours.load_state_dict(dict(zip(mine, others.values(), strict=True)))
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(size))
    with torch.no_grad():
        for training in (True, False):  # in evaluation by the statistics of the step before
            a, b = ours.train(training)(images), theirs.train(training)(images)
            assert b.std() > 0
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))
    statistics = zip(ours.state_dict().items(), in_order(theirs).values(), strict=True)
    for (name, value), other in statistics:
        torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-5, msg=name)
