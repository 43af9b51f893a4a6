"""distill against torch's KL divergence; a teacher that a study trains, and one from a file."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div
from torchvision.models import DenseNet, get_model

from ablate import Trick
from ablate.cli.main import main
from ablate.core.hook_types import Batch, Outputs, Precision, Run
from ablate.core.resolved_study import ResolvedStudy
from ablate.design import resolve
from ablate.engine import checkpoint
from ablate.errors import AblateError
from ablate.execution.teacher import load
from ablate.models.build import build_model
from ablate.models.weights import load_into
from ablate.store import attempt_reader
from ablate.store.store import Store
from ablate.study import load_study
from ablate_tricks.distill import Distill
from tests.helpers import support
from tests.helpers.tiny_studies import equal, outcome, spec, study, trial
from tests.helpers.tiny_studies import run as run_study

TEACHER = "shufflenet_v2_x0_5"

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["distill"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
image_size = 8

[tricks]
distill = { teacher = "shufflenet_v2_x0_5", weights = "teachers/big.pth", temperature = 4 }
"""


def torchvisions(classes: int = 10, seed: int = 0) -> nn.Module:
    """The teacher, from torchvision and not from us, with statistics as after a training."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_model(TEACHER, weights=None, num_classes=classes)
        model(torch.randn(4, 3, 32, 32))
    return model.eval()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a study and its teacher's weights."""
    (tmp_path / "teachers").mkdir()
    torch.save(torchvisions().state_dict(), tmp_path / "teachers/big.pth")
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def resolved(*overrides: str, limit: int = 40) -> ResolvedStudy:
    return resolve(
        load_study("study.toml", overrides=overrides, limit=limit),
        data_root=None,
        command="ablate plan",
    )


def key_of_the_student(*overrides: str) -> str:
    return resolved(*overrides).tables[0].rows[1].keys[0]


@pytest.mark.parametrize("t", [1.0, 4.0, 20.0])
def test_gradients_are_those_of_cross_entropy_plus_t2_kl(t: float) -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(8, 10, generator=generator, requires_grad=True)
    r = torch.randn(8, 10, generator=generator)
    images, labels = torch.zeros(8, 3, 2, 2), torch.arange(8)
    targets = nn.functional.one_hot(labels, 10).float()

    class Teacher(nn.Module):
        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            assert seen is images
            return r

    run = Run.__new__(Run)
    run.teacher, run.precision, run.device = Teacher(), Precision(), torch.device("cpu")
    batch = Batch(np.arange(8), images, labels, targets, 0, 0, 0)
    extra = Distill(teacher="@big", temperature=t).extra_losses(run, batch, Outputs(z))
    (cross_entropy(z, targets) + extra["distill"]).backward()
    ours = z.grad
    z.grad = None
    divergence = kl_div((z / t).log_softmax(1), (r / t).softmax(1), reduction="batchmean")
    (cross_entropy(z, labels) + t**2 * divergence).backward()
    assert ours is not None
    assert z.grad is not None
    torch.testing.assert_close(ours, z.grad, rtol=1e-4, atol=1e-6)


def test_a_student_learns_from_the_teacher_that_the_study_trained(tmp_path: Path) -> None:
    teacher = trial([spec("mixup")], epochs=1)
    plain = trial(seed=1, epochs=1)
    configured = spec("distill", teacher="@big", temperature=4.0)
    configured = configured.model_copy(update={"params": {"teacher": "@", "temperature": 4.0}})
    student = trial([configured], seed=1, epochs=1).model_copy(update={"teacher": teacher.key})
    # The teacher was trained before, as somebody's ordinary row: its weights were not kept.
    run_study(tmp_path, study(teacher))
    assert attempt_reader.weights(tmp_path, teacher.key) is None
    result, _ = run_study(tmp_path, study(teacher, student, plain))
    assert set(result.statuses.values()) == {"done"}, result.messages
    store = Store.open(tmp_path, create=False)
    assert not np.array_equal(outcome(store, student.key)[1], outcome(store, plain.key)[1])
    assert store.disagreements() == []
    model = load(tmp_path, teacher, torch.device("cpu"), teacher.numerics)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    metrics = outcome(store, student.key)[0][0]
    assert 0 < metrics["train_loss/distill"] < metrics["train_loss"]


def test_damaged_weights_are_trained_again(tmp_path: Path) -> None:
    teacher, student = trial(epochs=1), trial(seed=1, epochs=1)
    student = student.model_copy(update={"teacher": teacher.key})
    run_study(tmp_path, study(teacher, student))
    path = attempt_reader.weights(tmp_path, teacher.key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-100])
    assert attempt_reader.weights(tmp_path, teacher.key) is None
    again, observer = run_study(tmp_path, study(teacher, student))
    assert [args[0] for args in observer.of("trial_start")] == [teacher.key]
    assert again.exit_code == 0


@pytest.mark.parametrize("t", [1.0, 4.0])
def test_a_torchvision_teacher_from_a_file_gives_the_gradients_that_torch_does(
    folder: Path, t: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(8, 10, generator=generator, requires_grad=True)
    images = torch.randn(8, 3, 32, 32, generator=generator)
    labels = torch.arange(8)
    run = Run.__new__(Run)
    run.trial, run.teacher = trial(), None
    run.precision, run.device = Precision(), torch.device("cpu")
    trick = Distill(teacher=TEACHER, weights="teachers/big.pth", temperature=t)
    trick.on_epoch_start(run)
    targets = nn.functional.one_hot(labels, 10).float()
    batch = Batch(np.arange(8), images, labels, targets, 0, 0, 0)
    extra = trick.extra_losses(run, batch, Outputs(z))
    (cross_entropy(z, targets) + extra["distill"]).backward()
    ours, z.grad = z.grad, None
    with torch.no_grad():
        r = torchvisions()(images)
    assert r.std() > 1e-3  # a teacher that says something
    divergence = kl_div((z / t).log_softmax(1), (r / t).softmax(1), reduction="batchmean")
    (cross_entropy(z, labels) + t**2 * divergence).backward()
    assert ours is not None
    assert z.grad is not None
    torch.testing.assert_close(ours, z.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_weights_that_a_study_trained_teach_the_same_from_a_file(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit; and a report needs neither the file nor where it was."""
    (folder / "study.toml").write_text(
        STUDY.replace(
            'teacher = "shufflenet_v2_x0_5", weights = "teachers/big.pth"', 'teacher = "@big"'
        )
        + "[trial.big]\nset.epochs = 2\n"
    )
    options = ["--limit", "40", "--store", "store"]
    assert main(["run", "study.toml", *options]) == 0
    study = resolved()
    student = study.trials[study.tables[0].rows[1].keys[0]]
    assert student.teacher is not None
    kept = attempt_reader.weights(folder / "store", student.teacher)
    assert kept is not None
    kept.rename(folder / "kept.pt")  # no longer in the store: only the file can teach

    (folder / "study.toml").write_text(
        STUDY.replace(TEACHER, "resnet8").replace("teachers/big.pth", "kept.pt")
    )
    capfd.readouterr()
    assert main(["plan", "study.toml", *options]) == 0
    told = " ".join(capfd.readouterr().out.split())
    assert "predictions of resnet8 (kept.pt) on the student's batches" in told
    assert main(["run", "study.toml", *options]) == 0
    from_file = key_of_the_student()
    assert from_file != student.key
    store = Store.open(folder / "store", create=False)
    assert equal(outcome(store, from_file), outcome(store, student.key))

    capfd.readouterr()
    (folder / "kept.pt").unlink()
    tables = []
    for what in (["study.toml", "--limit", "40"], ["study"]):
        assert main(["report", *what, "--format", "json", "--store", "store"]) == 0
        tables.append(json.loads(capfd.readouterr().out)["tables"])
    assert tables[0] == tables[1]
    assert [len(row["trials"]) for row in tables[0][0]["rows"]] == [1, 1]
    assert main(["run", "study.toml", *options]) == 2
    assert "tricks.distill.weights: there is no file" in capfd.readouterr().err


def test_a_file_that_changes_between_planning_and_training_fails_that_trial_alone(
    folder: Path,
) -> None:
    study = resolved()
    torch.save(torchvisions(seed=1).state_dict(), folder / "teachers/big.pth")
    result, _ = run_study(folder / "store", study)
    plain, student = (row.keys[0] for row in study.tables[0].rows)
    assert result.statuses == {plain: "done", student: "failed"}
    assert "big.pth changed since the study was planned" in result.messages[student]
    assert result.exit_code == 1


def test_a_resumed_student_of_a_file_is_the_same_to_the_bit(folder: Path) -> None:
    def tricks() -> list[Trick]:
        return [Distill(teacher=TEACHER, weights="teachers/big.pth", temperature=4)]

    whole, memory = support.run(tricks(), epochs=2)
    first, later = memory.states
    assert not first["tricks"]  # the teacher is read again, not saved with every epoch
    resumed, rest = support.run(tricks(), support.Memory(saved=first), epochs=2)
    assert support.same(support.weights(whole), support.weights(resumed))
    assert rest.states[-1]["history"][-1]["metrics"] == later["history"][-1]["metrics"]
    plain, _ = support.run(epochs=2)
    assert not support.same(support.weights(whole), support.weights(plain))


def test_the_teachers_weights_are_in_the_key_and_their_place_is_not(folder: Path) -> None:
    before = key_of_the_student()
    (folder / "teachers/big.pth").rename(folder / "moved.pth")
    assert key_of_the_student("tricks.distill.weights=moved.pth") == before
    torch.save(torchvisions(seed=1).state_dict(), folder / "moved.pth")
    assert key_of_the_student("tricks.distill.weights=moved.pth") != before
    torch.save(torchvisions().state_dict(), folder / "teachers/big.pth")
    assert key_of_the_student() == before


def test_a_student_of_a_trial_keeps_its_key(folder: Path) -> None:
    """What was hashed before a teacher could come from a file."""
    (folder / "study.toml").write_text(
        STUDY.replace(
            'teacher = "shufflenet_v2_x0_5", weights = "teachers/big.pth"', 'teacher = "@big"'
        )
        + "[trial.big]\nset.epochs = 2\n"
    )
    study = resolved()
    student = study.trials[study.tables[0].rows[1].keys[0]]
    hashed = '{"behaviour": "v1", "name": "distill", "params": {"teacher": "@", "temperature": 4}}'
    assert student.tricks_key() == (hashed,)
    assert "files" not in json.dumps(student.identity())


def averaged(model: nn.Module) -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(model)


def without_counts(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}


SAVED: dict[str, Callable[[nn.Module], object]] = {
    "plain": lambda m: m.state_dict(),
    "lightning": lambda m: {"state_dict": {f"model.{k}": v for k, v in m.state_dict().items()}},
    "torchvision's script": lambda m: {
        "model": torchvisions(seed=1).state_dict(),
        "model_ema": averaged(m).state_dict(),
        "args": argparse.Namespace(lr=0.1),
    },
    "timm's script": lambda m: {
        "state_dict": torchvisions(seed=1).state_dict(),
        "state_dict_ema": m.state_dict(),
        "args": argparse.Namespace(lr=0.1),
    },
    "model_state_dict": lambda m: {"epoch": 3, "model_state_dict": m.state_dict()},
    "data parallel": lambda m: nn.DataParallel(m).state_dict(),
    "compiled": lambda m: {f"_orig_mod.{k}": v for k, v in m.state_dict().items()},
    "half": lambda m: {k: v.half() for k, v in m.half().state_dict().items()},
    "before torch 0.4.1": lambda m: without_counts(m.state_dict()),
}


@pytest.mark.parametrize("form", SAVED)
def test_the_forms_in_which_weights_are_saved(form: str, tmp_path: Path) -> None:
    model = torchvisions()
    torch.save(SAVED[form](model), tmp_path / "weights.pth")
    loaded = build_model(TEACHER, 10)
    load_into(loaded, tmp_path / "weights.pth", 10)
    expected = without_counts(model.float().state_dict())
    assert support.same(without_counts(loaded.state_dict()), expected)


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch", reason="safetensors is optional")
    model = torchvisions()
    safetensors.save_file(model.state_dict(), tmp_path / "weights.safetensors")
    loaded = build_model(TEACHER, 10)
    load_into(loaded, tmp_path / "weights.safetensors", 10)
    assert support.same(loaded.state_dict(), dict(model.state_dict()))
    cut = (tmp_path / "weights.safetensors").read_bytes()[:-100]
    (tmp_path / "weights.safetensors").write_bytes(cut)
    with pytest.raises(AblateError, match="is no file of weights, or is damaged"):
        load_into(loaded, tmp_path / "weights.safetensors", 10)


def test_names_of_torchvisions_published_densenets(tmp_path: Path) -> None:
    """Their files have denselayer1.norm.1 for norm1; torchvision renames when it downloads."""
    model = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10)
    old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12])")
    torch.save({old.sub(r"\1.\2", k): v for k, v in model.state_dict().items()}, tmp_path / "w.pth")
    other = DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=10)
    load_into(other, tmp_path / "w.pth", 10)
    assert support.same(dict(other.state_dict()), dict(model.state_dict()))


def test_a_checkpoint_of_ablates_own(tmp_path: Path) -> None:
    run, memory = support.run(epochs=1)
    with (tmp_path / "checkpoint-1.pt").open("wb") as file:
        checkpoint.write(memory.states[0], file)
    model = build_model("resnet8", 10)
    load_into(model, tmp_path / "checkpoint-1.pt", 10)
    assert support.same(dict(model.state_dict()), support.weights(run))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("evil"),))  # type: ignore[return-value]


def wrong_state(folder: Path, case: str) -> None:
    """Put what `case` says in the place of the teacher's weights."""
    file = folder / "teachers/big.pth"
    if case == "truncated":
        file.write_bytes(file.read_bytes()[:-1000])
    elif case == "empty":
        file.write_bytes(b"")
    elif case == "text":
        file.write_text("version https://git-lfs.github.com/spec/v1")
    elif case == "missing":
        file.unlink()
    else:
        states: dict[str, object] = {
            "other classes": torchvisions(1000).state_dict(),
            "other model": get_model("squeezenet1_1", weights=None, num_classes=10).state_dict(),
            "whole model": torchvisions(),
            "code": {"state_dict": Evil()},
            "no tensors": {"epoch": 3},
            "shapes": {**torchvisions().state_dict(), "conv1.0.weight": torch.zeros(24, 1, 3, 3)},
        }
        torch.save(states[case], file)


@pytest.mark.parametrize(
    ("case", "message", "hint"),
    [
        ("truncated", "is no file of weights, or is damaged", "get it again"),
        *(
            pytest.param(case, "is no file of weights, or is damaged", "get it again",
                         marks=pytest.mark.long)
            for case in ("empty", "text")
        ),
        ("other classes", "the classifier in {file} has 1,000 outputs, digits has 10 classes",
         "[trial.NAME]"),
        ("other model", "{file} does not fit the model: missing conv1.0.weight, conv1.1.weight and "
         "280 more; unexpected features.0.weight, features.0.bias and", "ablate models"),
        ("shapes", "{file} does not fit the model: conv1.0.weight is [24, 1, 3, 3] there and "
         "[24, 3, 3, 3] here", "ablate models"),
        ("whole model", "holds Python objects (torchvision.models.shufflenetv2.ShuffleNetV2), "
         "which are code to run, and is not loaded", "torch.save(model.state_dict(), FILE)"),
        ("code", "holds Python objects", "torch.save(model.state_dict(), FILE)"),
        ("no tensors", "{file} holds no state dict", "torch.save(model.state_dict(), FILE)"),
    ],
)  # fmt: skip
def test_weights_that_cannot_teach_are_refused_before_anything_is_trained(
    folder: Path, capfd: pytest.CaptureFixture[str], case: str, message: str, hint: str
) -> None:
    wrong_state(folder, case)
    for command in ("plan", "run"):
        capfd.readouterr()
        assert main([command, "study.toml", "--limit", "40", "--store", "store"]) == 2
        error = capfd.readouterr().err
        assert "study.toml: study: digits · + distill · seed 0: teacher shufflenet" in error
        assert message.format(file=folder / "teachers/big.pth") in error
        assert hint in error
        assert len(error.strip().splitlines()) <= 3  # of run: its headline, then one line, a hint
    assert not list((folder / "store").glob("trials/*/2*"))
    assert not (folder / "evil").exists()


@pytest.mark.parametrize(
    ("distill", "message"),
    [
        ("{}", "tricks.distill.teacher: is missing"),
        ('{ teacher = "resnet18" }', 'tricks.distill: teacher "resnet18" has no weights to teach '
         'from: add weights = "FILE", or name a trial of the study, teacher = "@NAME"'),
        ('{ teacher = "@big", weights = "teachers/big.pth" }', 'tricks.distill: "@big" is trained '
         "by the study; weights belong to a model's name"),
        ('{ teacher = "resnet99", weights = "teachers/big.pth" }',
         "tricks.distill: teacher: unknown model 'resnet99'; did you mean"),
        (f'{{ teacher = "{TEACHER}", weights = "@big" }}',
         'tricks.distill.weights: "@big" is a trial of the study; a file is expected here'),
        (f'{{ teacher = "{TEACHER}", weights = "teachers/none.pth" }}',
         "tricks.distill.weights: there is no file"),
    ],
)  # fmt: skip
def test_a_teacher_that_is_none_is_refused_at_its_line(
    folder: Path, capfd: pytest.CaptureFixture[str], distill: str, message: str
) -> None:
    start = STUDY.index("distill = {")
    text = STUDY[:start] + f"distill = {distill}\n[trial.big]\nset.epochs = 1\n"
    (folder / "study.toml").write_text(text)
    assert main(["check", "study.toml"]) == 2
    told = capfd.readouterr().out
    assert told.startswith(f"study.toml:13: {message}")
    assert len(told.splitlines()) == 2


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        (192, 7, "returned (1, 7) for one image, not logits (1, 10)"),
        (5, 10, "cannot see images of 8 pixels: RuntimeError"),
    ],
)
def test_a_teacher_that_cannot_see_the_students_images_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, inputs: int, outputs: int, message: str
) -> None:
    """One image of the training's size is shown to it."""
    layers = f"nn.Flatten(), nn.Linear({inputs}, {outputs})"
    (folder / "own_teacher.py").write_text(
        f"from torch import nn\n\ndef build(num_classes):\n    return nn.Sequential({layers})\n"
    )
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "own_teacher", raising=False)
    model = nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs))
    torch.save(model.state_dict(), folder / "teachers/big.pth")
    before = torch.random.get_rng_state()
    trick = Distill(teacher="own_teacher:build", weights="teachers/big.pth")
    with pytest.raises(AblateError, match=re.escape(message)):
        trick.preflight(trial())
    assert torch.equal(before, torch.random.get_rng_state())
