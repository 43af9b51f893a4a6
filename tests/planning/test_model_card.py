"""`describe_model`: published sizes, and which tricks refuse which model."""

from __future__ import annotations

import pytest

from ablate.errors import AblateError
from ablate.planning.model_card import describe_model
from ablate_tricks.no_bias_decay import NoBiasDecay
from ablate_tricks.resnet_b import ResnetB
from ablate_tricks.resnet_c import ResnetC
from ablate_tricks.resnet_d import ResnetD
from ablate_tricks.zero_gamma import ZeroGamma

TRICKS = (NoBiasDecay(), ResnetB(), ResnetC(), ResnetD(), ZeroGamma())


def test_resnet50() -> None:
    card = describe_model("resnet50", TRICKS)
    assert (card.parameters, round(card.macs / 1e9, 3)) == (25_557_032, 4.089)
    assert (card.image_size, card.num_classes) == (224, 1000)
    assert (card.stem, card.shortcuts, card.blocks, card.classifier) == (("conv1",), 4, 16, "fc")
    assert card.no_fit == (
        ("resnet_b", "this model is B already; the paper's baseline is resnet50_v1"),
    )


@pytest.mark.parametrize(
    ("name", "refusing"),
    [
        ("resnet50_v1", []),
        ("resnet101_v1_small", ["resnet_c"]),
        ("resnet18", ["resnet_b"]),
        ("resnet20", ["resnet_b", "resnet_c"]),
        ("vgg16_bn", ["resnet_b", "resnet_c", "resnet_d", "zero_gamma"]),
        ("timm/resnet50d", ["resnet_b", "resnet_c", "resnet_d"]),
    ],
)
def test_which_tricks_do_not_fit(name: str, refusing: list[str]) -> None:
    card = describe_model(name, TRICKS)
    assert [trick for trick, _ in card.no_fit] == refusing
    assert all(reason and "has no effect" not in reason for _, reason in card.no_fit)


def test_bundled_tricks_are_found() -> None:
    refusing = dict(describe_model("vgg11").no_fit)
    assert {"resnet_b", "resnet_c", "resnet_d", "zero_gamma"} <= refusing.keys()
    assert "no_bias_decay" not in refusing


def test_unknown_model() -> None:
    with pytest.raises(AblateError, match="unknown model"):
        describe_model("resnet5", TRICKS)
