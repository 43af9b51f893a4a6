"""distill against torch's KL divergence, and a teacher that a study trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_runner import run as run_study
from torch import nn
from torch.nn.functional import cross_entropy, kl_div

from ablate import spool
from ablate.store import Store
from ablate.teacher import load
from ablate.types import Batch, Outputs, Precision, Run
from ablate_tricks.distill import Distill
from studies import outcome, spec, study, trial


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
    assert spool.weights(tmp_path, teacher.key) is None
    result, _ = run_study(tmp_path, study(teacher, student, plain))
    assert set(result.statuses.values()) == {"done"}, result.messages
    store = Store.open(tmp_path, create=False)
    assert not np.array_equal(outcome(store, student.key)[1], outcome(store, plain.key)[1])
    assert store.disagreements() == []
    model = load(tmp_path, teacher.key, torch.device("cpu"), teacher.numerics)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    metrics = outcome(store, student.key)[0][0]
    assert 0 < metrics["train_loss/distill"] < metrics["train_loss"]


def test_damaged_weights_are_trained_again(tmp_path: Path) -> None:
    teacher, student = trial(epochs=1), trial(seed=1, epochs=1)
    student = student.model_copy(update={"teacher": teacher.key})
    run_study(tmp_path, study(teacher, student))
    path = spool.weights(tmp_path, teacher.key)
    assert path is not None
    path.write_bytes(path.read_bytes()[:-100])
    assert spool.weights(tmp_path, teacher.key) is None
    again, observer = run_study(tmp_path, study(teacher, student))
    assert [args[0] for args in observer.of("trial_start")] == [teacher.key]
    assert again.exit_code == 0
