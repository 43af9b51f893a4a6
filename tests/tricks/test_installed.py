"""Every installed trick, found through its entry point: trained by itself, and its golden loss."""

from __future__ import annotations

import ast
import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from ablate.core.trial import ENGINE_BEHAVIOUR
from tests.helpers.environment import ROOT
from tests.helpers.installed import CATALOGUE, NAMES, alone, lr_for


def test_the_entry_points_are_the_index() -> None:
    files = {p.stem for p in (ROOT / "plugins/ablate_tricks").glob("*.py")}
    assert set(CATALOGUE.names) == {f for f in files if not f.startswith("_")}
    for entry in importlib.metadata.entry_points(group="ablate.tricks"):
        if entry.name in CATALOGUE.names and entry.value.startswith("ablate_tricks"):
            module, cls = entry.value.split(":")
            assert module == f"ablate_tricks.{entry.name}"
            assert CATALOGUE.load(entry.name).cls.__name__ == cls
            assert CATALOGUE.load(entry.name).cls.version is not None


@pytest.mark.parametrize("name", NAMES)
def test_its_page_names_tests_against_what_others_wrote(name: str) -> None:
    """Of the files that docs/tricks.toml names, one imports the trick and an oracle for it."""
    facts = tomllib.loads((ROOT / "docs" / "tricks.toml").read_text(encoding="utf-8"))[name]
    assert facts["oracle"]
    imported = [imports(ROOT / file) for file in facts["tests"]]
    oracles = {"torch", "torchvision", "timm", "numpy", "colorsys"}
    assert any(
        f"ablate_tricks.{name}" in modules and oracles & {m.partition(".")[0] for m in modules}
        for modules in imported
    )


def imports(file: Path) -> set[str]:
    """The modules that a file imports from."""
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return modules | {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}


@pytest.mark.parametrize("name", NAMES)
def test_a_trick_trains_two_batches_an_epoch_and_changes_the_losses(name: str) -> None:
    assert alone(name).losses != alone("", lr_for(name)).losses


# (behaviour, train loss of the first two batches; where that is the training's without the trick,
# the last test loss). If this fails because the arithmetic was meant to change, raise
# ENGINE_BEHAVIOUR or the trick's `version` with the number: stored trials then no longer count as
# the same training.
GOLDEN: dict[str, tuple[int, float]] = {
    "": (1, 2.345724),
    "adam": (1, 2.478385),
    "adamw": (1, 2.478576),
    "auto_augment": (1, 2.727474),
    "bce_loss": (1, 7.295527),
    "bf16": (1, 2.488558),
    "blurpool": (1, 2.670967),
    "color_jitter": (1, 2.542846),
    "cosine": (1, 2.453698),
    "cutmix": (1, 2.697809),
    "distill": (1, 923.488525),
    "dropout": (1, 2.613111),
    "ema": (1, 2.312860),
    "fp16": (1, 2.253872),
    "gradient_accumulation": (1, 2.525995),
    "gradient_clipping": (1, 2.422022),
    "label_smoothing": (1, 2.359377),
    "linear": (1, 2.438435),
    "linear_scaling": (1, 2.524664),
    "mixup": (1, 2.338723),
    "no_bias_decay": (2, 2.345724),
    "one_cycle": (1, 2.494787),
    "pca_lighting": (1, 2.517438),
    "progressive_resizing": (1, 2.584083),
    "rand_augment": (1, 2.510845),
    "random_erasing": (1, 2.650600),
    "resnet_b": (1, 2.617423),
    "resnet_c": (1, 2.462794),
    "resnet_d": (1, 2.526240),
    "rmsprop": (1, 2.577854),
    "sam": (1, 2.395162),
    "squeeze_excitation": (1, 2.476044),
    "stochastic_depth": (1, 2.488580),
    "test_resolution": (1, 2.390656),
    "trivial_augment": (1, 2.724482),
    "warmup": (1, 2.275891),
    "xavier_init": (1, 3.257944),
    "zero_gamma": (1, 2.528154),
}


@pytest.mark.parametrize("name", ["", *NAMES])
def test_golden_losses(name: str) -> None:
    version = CATALOGUE.load(name).cls.version if name else ENGINE_BEHAVIOUR
    ours, plain = alone(name).losses, alone("", lr_for(name)).losses
    loss = ours[-1][1] if name and ours[0][0] == plain[0][0] else ours[0][0]
    # Kernels of processors differ in the last bits; a changed rule moves the loss by more.
    rel = 1e-2 if name in ("bf16", "fp16") else 1e-3
    assert (version, loss) == (GOLDEN[name][0], pytest.approx(GOLDEN[name][1], rel=rel))


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
