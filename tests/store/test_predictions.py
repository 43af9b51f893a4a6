"""Predictions come back as they were stored, or the file is named that does not."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from ablate.errors import AblateError
from ablate.stats import calibration_error
from ablate.store import predictions
from ablate.store.attempt_writer import Attempt
from ablate.store.predictions import check_headers, read_predictions, stored_arrays
from ablate.store.untrusted import Unfit, check_arrays

pytestmark = pytest.mark.usefixtures("trials_folder")

KEY = "ab" * 32


def stored(store: Path, scores, labels) -> tuple[Path, str]:
    with Attempt.begin(store, KEY) as attempt:
        attempt.save_predictions(np.arange(len(labels)), labels, scores)
        return attempt.path / "predictions.npz", attempt.name


def random_scores(classes: int, images: int = 80):
    rng = np.random.default_rng(classes)
    scores = rng.normal(0, 2, (images, classes)).astype(np.float32)
    labels = np.where(rng.random(images) < 0.5, scores.argmax(1), rng.integers(0, classes, images))
    return scores, labels


@pytest.mark.parametrize("classes", [2, 10, 100, 101, 365])
def test_what_is_asked_of_them_is_what_all_scores_say(tmp_path: Path, classes: int) -> None:
    scores, labels = random_scores(classes)
    _, attempt = stored(tmp_path, scores, labels)
    found = read_predictions(tmp_path, KEY, attempt)
    assert found.classes == classes
    assert found.scores.shape[1] == (classes if classes <= 100 else 5)
    assert found.labels.tolist() == labels.tolist()
    assert found.predicted.tolist() == scores.argmax(axis=1).tolist()
    assert found.correct().tolist() == (scores.argmax(axis=1) == labels).tolist()
    above = (scores > scores[np.arange(len(labels)), labels][:, None]).sum(axis=1)
    assert found.correct(5).tolist() == (above < 5).tolist()
    sure = special.softmax(scores.astype(float), axis=1).max(axis=1)
    assert found.confidence == pytest.approx(sure, rel=1e-6)


def test_calibration_of_a_wide_output_is_that_of_all_its_scores(tmp_path: Path) -> None:
    from ablate.stats import binned_error

    scores, labels = random_scores(300, 400)
    _, attempt = stored(tmp_path, scores * 3, labels)
    found = read_predictions(tmp_path, KEY, attempt)
    ours = binned_error(found.confidence, found.correct())
    assert ours == pytest.approx(calibration_error(scores * 3, labels), abs=1e-6)


def test_five_scores_of_an_older_ablate_have_no_probabilities(tmp_path: Path) -> None:
    scores, labels = random_scores(200)
    path, attempt = stored(tmp_path, scores, labels)
    with np.load(path) as file:
        older = {name: file[name] for name in file.files if name != "logsumexp"}
    np.savez(path, **older)
    found = read_predictions(tmp_path, KEY, attempt)
    assert found.confidence is None
    assert found.correct().mean() == (scores.argmax(axis=1) == labels).mean()


def test_an_attempt_without_predictions_has_none(tmp_path: Path) -> None:
    path, attempt = stored(tmp_path, *random_scores(3))
    path.unlink()
    assert read_predictions(tmp_path, KEY, attempt) is None
    assert read_predictions(tmp_path, KEY, "20260101T000000.000000Z-abcdef") is None


def test_every_damage_is_one_line_with_the_file(tmp_path: Path) -> None:
    """Cut off and flipped at random: the same arrays, or a refusal; never another exception."""
    path, attempt = stored(tmp_path, *random_scores(7))
    whole = path.read_bytes()
    expected = read_predictions(tmp_path, KEY, attempt)
    rng = np.random.default_rng(0)
    said = []
    for turn in range(150):
        data = bytearray(whole)
        if turn % 3 == 0:
            data = data[: rng.integers(0, len(whole))]
        else:
            for _ in range(turn % 5 + 1):
                data[rng.integers(0, len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            found = read_predictions(tmp_path, KEY, attempt)
        except AblateError as error:
            said.append(str(error))
        else:
            assert found.scores.tobytes() == expected.scores.tobytes()
            assert found.labels.tobytes() == expected.labels.tobytes()
    assert len(said) > 100
    assert all(str(path) in line and "\n" not in line for line in said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.array([0, 1, 9])}, "labels outside of 4 classes"),
        ({"labels": np.array([0, 1])}, "3 images"),
        ({"labels": np.array([0.0, 1.0, 2.0])}, "float64"),
        ({"scores": np.zeros((3, 5), np.float32)}, "4 classes"),
        ({"scores": np.full((3, 4), np.nan, np.float32)}, "no numbers"),
        ({"scores": np.zeros((0, 4), np.float32), "ids": np.zeros(0, int)}, "ids"),
        ({"scores": np.array([object()] * 3)}, "pickle"),
        ({"indices": np.zeros((3, 2), int)}, "scores"),
    ],
)
def test_shapes_are_checked(tmp_path: Path, change, said: str) -> None:
    path, attempt = stored(tmp_path, np.zeros((3, 4)), [0, 1, 2])
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **(arrays | change))
    with pytest.raises(AblateError, match=said):
        read_predictions(tmp_path, KEY, attempt)


def test_a_file_that_may_not_be_read_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads a colleague's store lacks a right, not a file."""
    _, attempt = stored(tmp_path, np.zeros((3, 4)), [0, 1, 2])

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(predictions, "open_plain", refused)
    with pytest.raises(AblateError, match=r"cannot be read: Permission denied$") as caught:
        read_predictions(tmp_path, KEY, attempt)
    assert caught.value.hint == "make it readable for you"


@pytest.mark.parametrize("shape", [(10**10,), (3,), (10**12, 0, 5)])
def test_a_header_that_its_bytes_do_not_bear_out_is_refused_unread(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    """NumPy makes room for what a header says, whatever the file has."""
    path = tmp_path / "predictions.npz"
    for told, refused in (((4,), False), (shape, True)):
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("ids", "labels", "scores"):
                file = io.BytesIO()
                header = {"descr": "<i8", "fortran_order": False, "shape": told}
                np.lib.format.write_array_header_1_0(file, header)
                archive.writestr(f"{name}.npy", file.getvalue() + bytes(32))
        if not refused:
            assert stored_arrays(path)["ids"].tolist() == [0] * 4
            check_arrays(path)
            continue
        with pytest.raises(ValueError, match=r"says [\d,]+ bytes and has 32"):
            stored_arrays(path)
        with pytest.raises(Unfit, match=r"predictions\.npz is damaged"):
            check_arrays(path)


@pytest.mark.skipif(shutil.which("fallocate") is None, reason="needs fallocate")
def test_holes_are_no_predictions(tmp_path: Path) -> None:
    """Some bytes on the disk would be gigabytes in memory."""
    path = tmp_path / "predictions.npz"
    images = 20_000_000
    with path.open("wb") as file, zipfile.ZipFile(file, "w") as archive:
        for name in ("ids", "labels", "scores"):
            header = {"descr": "<i8", "fortran_order": False, "shape": (images,)}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(member, header)
                for _ in range(images * 8 // 1_000_000):
                    member.write(bytes(1_000_000))
    subprocess.run(["fallocate", "--dig-holes", path], check=True)
    if path.stat().st_blocks * 512 > path.stat().st_size // 16:
        pytest.skip("the file system makes no holes")
    with path.open("rb") as file, pytest.raises(ValueError, match="are on the disk"):
        check_headers(file)
