"""Whatever happens to a checkpoint, its trial ends with the numbers of an undisturbed one."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.fault_table import Proved
from tests.helpers.faulty_runs import numbers, run, stopped, trained

Damage = Callable[[Path, Path], str]  # (checkpoint of epoch 2, one of another trial): words


def reseal(path: Path) -> None:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")


def truncated(path: Path, other: Path) -> str:
    os.truncate(path, path.stat().st_size // 2)
    return "is damaged and is not used"


def flipped(path: Path, other: Path) -> str:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return "is damaged and is not used"


def flipped_with_its_checksum(path: Path, other: Path) -> str:
    flipped(path, other)
    reseal(path)
    return "in it is damaged"


def empty(path: Path, other: Path) -> str:
    path.write_bytes(b"")
    reseal(path)
    return "cannot be used and is not"


def without_checksum(path: Path, other: Path) -> str:
    path.with_name(f"{path.name}.sha256").unlink()
    return "is damaged and is not used"


def a_folder(path: Path, other: Path) -> str:
    path.unlink()
    path.mkdir()
    return "is damaged and is not used"


def hostile(path: Path, other: Path) -> str:
    """A pickle that would write a file beside the store, in the archive that torch makes."""
    import torch

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return os.mkdir, (str(path.parents[3] / "owned"),)

    torch.save({"model": Evil()}, path)
    reseal(path)
    return "Weights only load failed"


def another_trials(path: Path, other: Path) -> str:
    shutil.copy(other, path)
    reseal(path)
    return "another trial's"


def another_trials_of_before(path: Path, other: Path) -> str:
    """Without the key, as older releases wrote it, and of another model."""
    import torch

    state = torch.load(path, weights_only=True)
    del state["trial"]
    state["model"] = {name: value[..., :1] for name, value in state["model"].items() if value.ndim}
    torch.save(state, path)
    reseal(path)
    return "size mismatch"


def of_a_future_epoch(path: Path, other: Path) -> str:
    shutil.copy(path, path.with_name("checkpoint-7.pt"))
    reseal(path.with_name("checkpoint-7.pt"))
    return "does not hold 7 epochs"


DAMAGES: list[Damage] = [
    *(truncated, flipped, flipped_with_its_checksum, empty, without_checksum, a_folder),
    *(hostile, another_trials, another_trials_of_before, of_a_future_epoch),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained store of as many trials as there are kinds of damage."""
    return trained(tmp_path_factory.mktemp("checkpoints"), len(DAMAGES) // 2)


@pytest.mark.parametrize("how_many", ["the newest", pytest.param("all", marks=pytest.mark.long)])
def test_a_checkpoint_that_cannot_be_used_costs_epochs_and_no_number(
    whole: Path, proved: Proved, how_many: str
) -> None:
    folder, store = whole.parent, whole.parent / f"stopped {how_many}"
    stopped(whole, store)
    newest = sorted((store / "trials").glob("*/*/checkpoint-2.pt"))
    assert len(newest) == len(DAMAGES)
    spare = [folder / f"spare {i}" for i in range(len(newest))]
    for path, copy in zip(newest, spare, strict=True):
        shutil.copy(path, copy)
    expected = {}
    for i, (path, damage) in enumerate(zip(newest, DAMAGES, strict=True)):
        expected[path.parent.parent] = damage(path, spare[i - 1])
        if how_many == "all":
            path.with_name("checkpoint-1.pt").write_bytes(b"")
            if damage is of_a_future_epoch:
                path.unlink()
    done = run(folder, store.name)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert not (store / "owned").exists(), "the pickle was run"
    assert not (folder / "owned").exists(), "the pickle was run"
    for trial, words in expected.items():
        log = (max(trial.glob("2*")) / "log.txt").read_text()
        assert words in log, (words, log)
        went_on = "after epoch 2" if words.endswith("7 epochs") else "after epoch 1"
        assert (went_on in log, "epoch 1:" in log) == (
            (True, False) if how_many == "the newest" else (False, True)
        ), log
    assert numbers(store) == numbers(whole)
    proved(
        "checkpoints",
        f"{how_many} checkpoint{'s' * (how_many == 'all')} of a trial unusable",
        "truncated, flipped (with a right checksum too), empty, no checksum, a folder, a pickle "
        "that runs code, another trial's, of a future epoch",
        len(expected),
        f"{'epoch 2' if how_many == 'the newest' else 'epochs 1 and 2'} of each, trained again; "
        "0 numbers changed",
    )
