"""A teacher's own accuracy: measured, kept, reported, and warned of where its classes are mixed up.

Its weights fit whatever class each output stands for: nothing but this measurement tells.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder

from ablate.baseline import Baseline
from ablate.cli.main import main
from ablate.core.hook_types import Precision
from ablate.core.teaching import Taught, natural_order, taught
from ablate.core.trial import Numerics
from ablate.data.cache import open_cache
from ablate.data.loader import open_data
from ablate.design import resolve
from ablate.engine.pretrained import forget, load_teacher, loaded
from ablate.execution.teacher import measure
from ablate.store.store import Store
from ablate.study import load_study

CLASSES = tuple(str(number) for number in range(1, 13))  # by text: 1, 10, 11, 12, 2, …
NATURAL = [*range(1, 13)]
STUDY = """\
[study]
datasets = ["imagefolder:numbers"]
seeds    = 1
stack    = ["distill"]

[recipe]
model       = "resnet8"
epochs      = 1
batch_size  = 12
image_size  = 8
eval_size   = 8
eval_resize = 8
flip        = 0.0
mean        = [0, 0, 0]
std         = [255, 255, 255]

[tricks]
distill = { teacher = "teachers:by_brightness", weights = "big.pth", temperature = 4 }
"""
FROM_FILE = 'teacher = "teachers:by_brightness", weights = "big.pth"'
# A model that knows its classes for certain: each has a brightness of its own.
MODEL = """\
import torch
from torch import nn


class ByBrightness(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(classes))

    def forward(self, images):
        return -100 * (images.mean((1, 2, 3))[:, None] - self.centres).square()


def by_brightness(num_classes):
    return ByBrightness(num_classes)
"""


def brightness(name: str) -> int:
    return 10 + 20 * int(name)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with plain images of twelve classes, a study and a teacher's model."""
    for split, count in (("train", 3), ("val", 5)):
        for name in CLASSES:
            place = tmp_path / "numbers" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                value = np.full((8, 8, 3), brightness(name), np.uint8)
                Image.fromarray(value).save(place / f"{number}.png")
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "teachers.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # of the processes that train
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "decoded"))
    return tmp_path


def teach(folder: Path, order: list[str]) -> None:
    """The weights of a model whose outputs stand for these classes."""
    centres = torch.tensor([brightness(name) / 255 for name in order])
    torch.save({"centres": centres}, folder / "big.pth")


def trained(capfd: pytest.CaptureFixture[str]) -> tuple[Taught | None, str, str]:
    """(what was kept of the teacher, the report, stderr of the run)."""
    capfd.readouterr()
    assert main(["run", "study.toml", "--store", "store", "--device", "cpu"]) == 0
    err = capfd.readouterr().err
    assert main(["report", "study.toml", "--store", "store", "--format", "json"]) == 0
    notes = json.loads(capfd.readouterr().out)["tables"][0]["notes"]
    study = resolve(load_study("study.toml"), data_root=None, command="")
    result = Store.open(Path("store"), create=False).result(study.tables[0].rows[1].keys[0])
    assert result is not None
    return Taught.read(result.summary), " ".join(notes), err


def planned(capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert main(["plan", "study.toml", "--store", "store", "--device", "cpu"]) == 0
    return capfd.readouterr().out


def measured(folder: Path) -> Taught | None:
    """As a trial asks its teacher, in this process."""
    study = resolve(load_study("study.toml"), data_root=None, command="")
    trial = study.trials[study.tables[0].rows[1].keys[0]]
    device = torch.device("cpu")
    cached = open_cache(trial.dataset, None)
    data = open_data(cached, trial.recipe, Baseline().augmentations(trial.recipe), 0, device)
    forget()
    load_teacher("teachers:by_brightness", folder / "big.pth", trial.dataset, device, Numerics())
    (model,) = loaded()
    return measure(model, data, Precision(), device, cached.identity.classes)


def test_a_teacher_whose_classes_are_ours(folder: Path) -> None:
    ours = ImageFolder(str(folder / "numbers" / "train")).classes
    teach(folder, ours)
    assert measured(folder) == Taught(1.0, 12)
    # Half of its outputs stand for other classes.
    teach(folder, [*ours[:6], *reversed(ours[6:])])
    assert measured(folder) == Taught(0.5, 12, 1.0, "other")


def test_a_teacher_whose_classes_timm_sorted(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    find_images_and_targets = pytest.importorskip("timm.data.readers.reader_image_folder")
    _, index = find_images_and_targets.find_images_and_targets(str(folder / "numbers" / "train"))
    order = sorted(index, key=index.__getitem__)
    assert order == [str(number) for number in NATURAL]
    teach(folder, order)
    known, notes, err = trained(capfd)
    # 1 alone is first in both orders
    assert known == Taught(pytest.approx(1 / 12), 12, 1.0, "natural")
    said = (
        "its teacher is right for 8.3% of the evaluation images, for 100.0% with its classes "
        "sorted naturally (1, 2, 10) as timm does, here they are by text (1, 10, 2): put the rows "
        "of its classifier in the order of the sorted class folders"
    )
    assert f"+ distill: {said}" in notes
    assert said in planned(capfd)
    assert said in err
    # What it says to do is right.
    ours = ImageFolder(str(folder / "numbers" / "train")).classes
    centres = torch.load(folder / "big.pth")["centres"]
    torch.save({"centres": centres[[order.index(name) for name in ours]]}, folder / "big.pth")
    assert measured(folder) == Taught(1.0, 12)


def test_a_teacher_that_the_study_trains(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = STUDY.replace(FROM_FILE, 'teacher = "@t"')
    (folder / "study.toml").write_text(text + "\n[trial.t]\nset.epochs = 1\nset.lr = 1e-6\n")
    known, notes, err = trained(capfd)
    assert known is not None
    study = resolve(load_study("study.toml"), data_root=None, command="")
    store = Store.open(Path("store"), create=False)
    teacher = study.trials[study.tables[0].rows[1].keys[0]].teacher
    assert teacher is not None
    own = store.result(teacher)
    assert own is not None
    # Its own evaluation, on the same images, was the engine's.
    assert known.top1 == own.final["top1"]
    assert known.near_chance
    assert "chance is 8.3%: it has learned too little to teach, train it for longer" in notes
    assert "train it for longer" in planned(capfd)
    assert "train it for longer" in err
    # Another student of it, not trained yet.
    changed = (folder / "study.toml").read_text().replace("temperature = 4", "temperature = 5")
    (folder / "study.toml").write_text(changed)
    assert "train it for longer" in planned(capfd)


def test_a_teacher_that_cannot_see_them_is_no_error(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of another size than in training: a model may refuse it, and the trial is done."""
    teach(folder, list(CLASSES))
    assert measured(folder) is not None

    class Refusing(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise AssertionError("Input height (8) doesn't match model (224)")

    class Data:
        def eval_batches(self) -> list[tuple[torch.Tensor, torch.Tensor, int]]:
            return [(torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64), 2)]

    data: Any = Data()
    assert measure(Refusing(), data, Precision(), torch.device("cpu"), CLASSES) is None
    assert "the teacher cannot be shown the evaluation images" in caplog.text


# ------------------------------------------------------------------------------- the measure


def scores(predicted: list[int], classes: int) -> np.ndarray:
    return nn.functional.one_hot(torch.tensor(predicted), classes).float().numpy()


def test_natural_order_is_timms() -> None:
    natural_key = pytest.importorskip("timm.data.readers.reader_image_folder").natural_key
    names = sorted(["Cat_10", "cat_2", "n01", "n1", "12", "2", "dog", "Dog3b", "dog3a", "x9y10"])
    wanted = sorted(names, key=natural_key)
    assert [names[i] for i in natural_order(names)] == wanted


def test_another_order_is_found_by_trying_all() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 20)
    order = rng.permutation(10)
    right = rng.random(200) < 0.9
    predicted = np.where(right, order[labels], rng.integers(0, 10, 200))
    found = taught(scores(predicted.tolist(), 10), labels, [f"class{i}" for i in range(10)])
    back = np.argsort(order)
    assert found.order == "other"
    assert found.reordered == pytest.approx((back[predicted] == labels).mean())
    assert found.top1 == pytest.approx((predicted == labels).mean())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("count", [40, 600])
def test_an_honest_teacher_is_not_accused(share: float, count: int) -> None:
    """One that guesses, knows half, or all: its mistakes are spread over the classes."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 10, count)
        predicted = np.where(rng.random(count) < share, labels, rng.integers(0, 10, count))
        found = taught(scores(predicted.tolist(), 10), labels, [f"c{i}" for i in range(1, 11)])
        assert found.reordered is None
        assert bool(found.warning()) == (share == 0.0)


@pytest.mark.parametrize(
    "summary",
    [
        {},
        {"teacher_top1": "0.5", "teacher_classes": 10},
        {"teacher_top1": 1.5, "teacher_classes": 10},
        {"teacher_top1": 0.5, "teacher_classes": 1},
        {"teacher_top1": None, "teacher_classes": 10},
    ],
)
def test_a_record_of_something_else_is_none(summary: dict[str, object]) -> None:
    assert Taught.read(summary) is None


def test_a_record_is_read_as_it_was_written() -> None:
    for known in (Taught(0.25, 10), Taught(0.25, 10, 0.75, "natural")):
        assert Taught.read(json.loads(json.dumps(known.summary()))) == known
