"""The cost of a trained model, against torch's counter on torchvision's and timm's models."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from ablate.core.trial import Trial, TrickSpec
from ablate.planning.model_cost import Costs
from ablate.tricks.construct import construct
from ablate.tricks.discovery import load_catalogue
from ablate.tricks.hooks import Hooks
from tests.helpers import support

built: list[int] = []  # classes of each model that `plain` made


def plain(num_classes: int) -> nn.Module:
    """Two layers that count, two that do not, and initial weights drawn in the constructor."""
    built.append(num_classes)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4 * 8 * 8, num_classes),
    )


class Awkward(nn.Module):
    """Looks at its numbers, which the meta device has not."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images if float(images.mean()) > 0 else -images


class Particular(nn.Module):
    """Refuses in words of its own."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise ValueError("only on Sundays")


def awkward(num_classes: int) -> nn.Module:
    return Awkward()


def particular(num_classes: int) -> nn.Module:
    return Particular()


def spec(name: str, bundle: str = "") -> TrickSpec:
    loaded = load_catalogue().load(name)
    return TrickSpec(
        name=name,
        label=name,
        source=loaded.source,
        params=loaded.cls().model_dump(mode="json"),
        behaviour=loaded.behaviour,
        bundle=bundle,
    )


def trial(
    model: str,
    *tricks: TrickSpec,
    eval_size: int = 224,
    num_classes: int = 1000,
    seed: int = 0,
    **recipe: Any,
) -> Trial:
    made = support.trial(seed, model=model, eval_size=eval_size, **recipe)
    dataset = made.dataset.model_copy(update={"num_classes": num_classes})
    return made.model_copy(update={"tricks": tricks, "dataset": dataset})


def parameters(made: Trial) -> int:
    with torch.device("meta"):
        model = Hooks(construct(made.tricks)).build_model(made.recipe, made.dataset.num_classes)
    return sum(p.numel() for p in model.parameters())


def counted(model: nn.Module, size: int) -> int:
    """Multiply-adds by torch's counter, which counts two operations for each."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return int(counter.get_total_flops()) // 2


def of_timm(name: str) -> nn.Module:
    with torch.device("meta"):
        model: nn.Module = timm.create_model(name)
    return model


def of_torchvision(name: str) -> nn.Module:
    with torch.device("meta"):
        settings = {"init_weights": False} if name == "inception_v3" else {}
        model: nn.Module = get_model(name, weights=None, **settings)
    return model


@pytest.mark.parametrize(
    ("tricks", "size", "billions"),
    [
        ((), 25_557_032, 3.858),
        (("resnet_b",), 25_557_032, 4.089),
        (("resnet_b", "resnet_c"), 25_576_264, 4.329),
        (("resnet_b", "resnet_c", "resnet_d"), 25_576_264, 4.329),
    ],
)
def test_table_5_of_the_paper(tricks: tuple[str, ...], size: int, billions: float) -> None:
    made = trial("resnet50_v1", *map(spec, tricks))
    macs = Costs().macs(made)
    assert macs is not None
    assert (parameters(made), round(macs / 1e9, 3)) == (size, billions)


@pytest.mark.parametrize(
    ("model", "tricks", "theirs", "size"),
    [
        ("resnet50_v1", ("resnet_b",), lambda: of_torchvision("resnet50"), 224),
        ("resnet50_v1", ("resnet_b", "resnet_c"), lambda: of_timm("resnet50c"), 160),
        ("resnet50_v1", ("resnet_b", "resnet_c", "resnet_d"), lambda: of_timm("resnet50d"), 224),
        ("resnet18", ("resnet_c", "resnet_d"), lambda: of_timm("resnet18d"), 96),
        ("vgg16_bn", (), lambda: of_timm("vgg16_bn"), 64),
        ("inception_v3", (), lambda: of_torchvision("inception_v3"), 299),
    ],
)
def test_as_the_counter_has_it_for_models_of_others(
    model: str, tricks: tuple[str, ...], theirs: Any, size: int
) -> None:
    made = trial(model, *map(spec, tricks), eval_size=size)
    other = theirs()
    assert Costs().macs(made) == counted(other, size)
    assert parameters(made) == sum(p.numel() for p in other.parameters())


def test_what_counts_and_what_does_not() -> None:
    made = trial(f"{__name__}:plain", eval_size=8, num_classes=10)
    # 4 filters of 3 × 3 × 3 at 8 × 8 places, and a matrix; norm, ReLU and biases are free
    assert Costs().macs(made) == 4 * 3 * 3 * 3 * 8 * 8 + 4 * 8 * 8 * 10


def test_classes_and_the_evaluation_s_size_matter_and_the_training_s_does_not() -> None:
    costs = Costs()

    def macs(**settings: int) -> int:
        return costs.macs(trial("resnet50_v1", **settings)) or 0

    few = macs(num_classes=10, eval_size=128)
    assert macs(num_classes=1000, eval_size=128) - few == 2048 * 990
    assert macs(num_classes=10, eval_size=128, image_size=64) == few
    # every map has a quarter of the places; the classifier sees none of them
    classifier = 2048 * 10
    assert few - classifier == 4 * (macs(num_classes=10, eval_size=64) - classifier) > 0


def test_a_model_is_counted_once_for_all_trials_that_share_it() -> None:
    built.clear()
    costs = Costs()
    for seed in range(3):
        for tricks in ((), (spec("mixup"),), (spec("mixup"), spec("warmup"))):
            made = trial(f"{__name__}:plain", *tricks, eval_size=8, num_classes=10, seed=seed)
            assert costs.macs(made) == 9_472
    assert built == [10]


@pytest.mark.parametrize("name", ["awkward", "particular"])
def test_a_model_that_cannot_run_without_numbers_has_none(name: str) -> None:
    assert Costs().macs(trial(f"{__name__}:{name}", eval_size=8, num_classes=10)) is None


def test_an_image_too_small_for_the_model_has_none() -> None:
    assert Costs().macs(trial("inception_v3", eval_size=16)) is None


def test_the_idle_members_of_a_bundle_are_passed_over_as_in_training() -> None:
    bundle = [spec(name, "variants") for name in ("resnet_b", "resnet_c")]
    alone = trial("resnet18", spec("resnet_c"))  # basic blocks have no stride to move
    assert Costs().macs(trial("resnet18", *bundle)) == Costs().macs(alone) is not None


def test_counting_leaves_the_random_numbers_alone() -> None:
    before = torch.random.get_rng_state()
    Costs().macs(trial(f"{__name__}:plain", eval_size=8, num_classes=10))
    assert torch.equal(torch.random.get_rng_state(), before)
