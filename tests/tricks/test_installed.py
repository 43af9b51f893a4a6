"""Every installed trick, found through its entry point: alone, in pairs, and its golden loss."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ablate import Trick
from ablate.models import build_model
from ablate.models.init import initialise
from ablate.trial import ENGINE_BEHAVIOUR
from ablate.tricks.chains import Hooks, resolve_recipe
from ablate.tricks.discovery import load_catalogue
from ablate.tricks.order import stack_problems
from support import run, same, weights

CATALOGUE = load_catalogue(bundled_only=True)
# A model on which every trick has something to act on: a v1 bottleneck ResNet, 32 pixels.
SETTINGS: dict[str, Any] = {
    "model": "test_installed:tiny_v1",
    "image_size": 32,
    "batch_size": 8,
    "limit": 16,
    "epochs": 2,
}


# Defaults that two short epochs do not reach, and parameters without one.
PARAMETERS: dict[str, dict[str, Any]] = {
    "warmup": {"epochs": 1},
    "distill": {"teacher": "@big"},
}


def tiny_v1(num_classes: int) -> torch.nn.Module:
    """torchvision's ResNet with one bottleneck a stage, the stride in the first 1×1."""
    from torchvision.models.resnet import Bottleneck, ResNet

    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=num_classes)
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return model


def made(name: str) -> Trick:
    return CATALOGUE.load(name).cls(**PARAMETERS.get(name, {}))


def trained(*tricks: Trick) -> tuple[float, dict[str, torch.Tensor]]:
    """(first epoch's train loss, weights and last test scores) after two epochs of two batches.

    The scores are there for tricks that act on the evaluation alone.
    """
    from support import recipe

    # Two mixers take turns; with this seed each has one of the first four batches.
    settings = SETTINGS | {"seed": 3}
    before = recipe(lr=0.05, **{k: v for k, v in settings.items() if k not in ("limit", "seed")})
    changed = resolve_recipe(tricks, before).model_dump()
    settings |= {k: v for k, v in changed.items() if v != getattr(before, k) or k == "lr"}
    teacher = None
    if any("teacher" in trick.provides for trick in tricks):
        teacher = initialise(build_model("resnet8", 10), 7).eval()
    result, memory = run(tricks, teacher=teacher, **settings)
    assert result.step == 4
    assert memory.tested is not None
    loss = memory.records[0]["metrics"]["train_loss"]
    assert math.isfinite(loss)
    return loss, weights(result) | {"scores": torch.from_numpy(memory.tested.scores)}


@pytest.fixture(scope="module", autouse=True)
def small_scale() -> Iterator[None]:
    """FP16's first steps overflow and are skipped until the loss scale has come down; four steps
    cannot wait for that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablate.training.precision._INITIAL", 2.0**8)
        yield


@pytest.fixture(scope="module")
def alone() -> dict[str, tuple[float, dict[str, torch.Tensor]]]:
    torch.set_num_threads(1)
    return {"": trained()} | {name: trained(made(name)) for name in CATALOGUE.names}


def test_the_entry_points_are_the_index() -> None:
    files = {p.stem for p in (Path(__file__).parents[2] / "plugins/ablate_tricks").glob("*.py")}
    assert set(CATALOGUE.names) == files - {"__init__"}
    for entry in importlib.metadata.entry_points(group="ablate.tricks"):
        if entry.name in CATALOGUE.names and entry.value.startswith("ablate_tricks"):
            module, cls = entry.value.split(":")
            assert module == f"ablate_tricks.{entry.name}"
            assert CATALOGUE.load(entry.name).cls.__name__ == cls
            assert CATALOGUE.load(entry.name).cls.version is not None


@pytest.mark.parametrize("name", CATALOGUE.names)
def test_a_trick_trains_two_batches_and_changes_the_training(
    name: str, alone: dict[str, tuple[float, dict[str, torch.Tensor]]]
) -> None:
    assert not same(alone[name][1], alone[""][1])


PAIRS = [
    (a, b)
    for a, b in itertools.combinations(CATALOGUE.names, 2)
    if not stack_problems([made(a), made(b)])
]


def test_only_those_that_replace_the_same_thing_exclude_each_other() -> None:
    everything = set(itertools.combinations(CATALOGUE.names, 2))
    refused = everything - set(PAIRS)
    groups: dict[str, set[str]] = {}  # what two tricks of one row would both replace or claim
    for name in CATALOGUE.names:
        for hook, acting in Hooks([made(name)]).acting.items():
            if f"{name} *" in acting:
                groups.setdefault(hook, set()).add(name)
        for tag in made(name).exclusive:
            groups.setdefault(tag, set()).add(name)
    expected = {
        pair for names in groups.values() for pair in itertools.combinations(sorted(names), 2)
    }
    assert refused == expected
    assert ("bf16", "fp16") in refused


def sampled() -> set[tuple[str, str]]:
    """A fixed sample for plain runs: two pairs of every trick; FP16, slow here, comes last."""

    def place(pair: tuple[str, str]) -> tuple[bool, str]:
        return "fp16" in pair, hashlib.sha256("-".join(pair).encode()).hexdigest()

    chosen: set[tuple[str, str]] = set()
    for name in CATALOGUE.names:
        mine = sorted((pair for pair in PAIRS if name in pair), key=place)
        chosen |= set(mine[:2])
    return chosen


SAMPLE = sampled()


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param(*pair, marks=[] if pair in SAMPLE else [pytest.mark.long], id="-".join(pair))
        for pair in PAIRS
    ],
)
def test_every_compatible_pair_trains_and_differs_from_each_alone(
    a: str, b: str, alone: dict[str, tuple[float, dict[str, torch.Tensor]]]
) -> None:
    _, both = trained(made(a), made(b))
    assert not same(both, alone[a][1])
    assert not same(both, alone[b][1])
    if {a, b} == {"mixup", "cosine"}:
        assert same(both, trained(made(b), made(a))[1]), "the order given is not the order of work"


# (behaviour, train loss of the first two batches). If this fails because the arithmetic was meant
# to change, raise ENGINE_BEHAVIOUR or the trick's `version` with the number: stored trials then no
# longer count as the same training.
GOLDEN: dict[str, tuple[int, float]] = {
    "": (1, 7.312020),
    "adam": (1, 31.799565),
    "adamw": (1, 32.332886),
    "auto_augment": (1, 8.962807),
    "bce_loss": (1, 18.215256),
    "bf16": (1, 6.986538),
    "blurpool": (1, 7.283071),
    "color_jitter": (1, 7.480669),
    "cosine": (1, 7.312020),
    "cutmix": (1, 7.994426),
    "distill": (1, 938.133636),
    "dropout": (1, 7.367265),
    "ema": (1, 7.312020),
    "fp16": (1, 7.029570),
    "gradient_accumulation": (1, 6.020631),
    "gradient_clipping": (1, 2.402376),
    "label_smoothing": (1, 6.578071),
    "linear": (1, 7.312020),
    "linear_scaling": (1, 2.419116),
    "mixup": (1, 7.828395),
    "no_bias_decay": (1, 7.312078),
    "one_cycle": (1, 2.455913),
    "pca_lighting": (1, 7.304372),
    "progressive_resizing": (1, 7.999187),
    "rand_augment": (1, 6.578987),
    "random_erasing": (1, 8.676348),
    "resnet_b": (1, 7.868255),
    "resnet_c": (1, 7.960669),
    "resnet_d": (1, 8.116925),
    "rmsprop": (1, 386.668034),
    "sam": (1, 7.479950),
    "squeeze_excitation": (1, 5.366338),
    "stochastic_depth": (1, 8.153723),
    "test_resolution": (1, 7.312020),
    "trivial_augment": (1, 7.670976),
    "warmup": (1, 4.170299),
    "xavier_init": (1, 7.162250),
    "zero_gamma": (1, 4.856926),
}


@pytest.mark.parametrize("name", ["", *CATALOGUE.names])
def test_golden_losses(name: str, alone: dict[str, tuple[float, dict[str, torch.Tensor]]]) -> None:
    version = CATALOGUE.load(name).cls.version if name else ENGINE_BEHAVIOUR
    # Kernels of processors differ in the last bits; a changed rule moves the loss by more.
    assert (version, alone[name][0]) == (GOLDEN[name][0], pytest.approx(GOLDEN[name][1], rel=2e-4))


def test_bundled_tricks_import_no_torch() -> None:
    """`ablate check` and a run with nothing to train must not wait for it."""
    for name in CATALOGUE.names:
        tree = ast.parse(CATALOGUE.load(name).file.read_text())
        for node in tree.body:  # imports under `if TYPE_CHECKING:` and in functions are deeper
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
                )
                assert not any(str(n).startswith("torch") for n in names), name
