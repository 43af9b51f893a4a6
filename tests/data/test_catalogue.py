"""What a study's data set names mean, and what is said when they mean nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.data.arrays import ImageArrays, digits
from ablate.data.cache import ensure_cache, open_cache
from ablate.data.catalogue import dataset_info, dataset_names
from ablate.data.fingerprint import dataset_ref
from ablate.errors import AblateError, DataError


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    theirs = load_digits()
    test = np.arange(len(theirs.target)) % 3 == 0
    ours = digits()
    assert (len(ours.train_labels), len(ours.eval_labels)) == (1198, 599)
    assert np.array_equal(ours.train_labels, theirs.target[~test])
    assert np.array_equal(ours.eval_labels, theirs.target[test])
    scaled = np.asarray(ours.train_images).astype(float) / 255 * 16
    assert np.abs(scaled - theirs.images[~test]).max() < 0.04  # 255 is not a multiple of 16
    assert np.asarray(ours.eval_images).max() == 255
    for labels in (ours.train_labels, ours.eval_labels):
        counts = np.bincount(labels)
        assert np.abs(counts - counts.mean()).max() < 10


def test_digits_mean_and_std_are_those_of_the_training_images() -> None:
    info = dataset_info("digits")
    pixels = np.asarray(digits().train_images)
    assert info.mean == pytest.approx([pixels.mean()] * 3, abs=0.01)
    assert info.std == pytest.approx([pixels.std()] * 3, abs=0.01)


def test_imagenette_archives_are_those_torchvision_downloads() -> None:
    from torchvision.datasets.imagenette import Imagenette

    info = dataset_info("imagenette")
    ours = {variant: (e.url, e.md5) for variant, e in info.editions.items()}
    theirs = {k.removesuffix("px"): v for k, v in Imagenette._ARCHIVES.items()}
    assert ours == theirs
    names = {wnid: names[0] for wnid, names in Imagenette._WNID_TO_CLASS.items()}
    assert dict(zip(info.folders, info.classes, strict=True)) == names


def test_cifar_archives_are_those_torchvision_downloads() -> None:
    from torchvision.datasets import CIFAR10, CIFAR100

    for name, theirs in (("cifar10", CIFAR10), ("cifar100", CIFAR100)):
        (edition,) = dataset_info(name).editions.values()
        assert (edition.url, edition.archive) == (theirs.url, theirs.filename)
        assert (edition.folder, edition.md5) == (theirs.base_folder, theirs.tgz_md5)


def test_places_come_from_the_server_that_torchvision_asks() -> None:
    from torchvision.datasets import Places365

    assert dataset_info("places365").editions["256"].url.startswith(Places365._BASE_URL)


@pytest.mark.parametrize("name", ["imagenette", "imagewoof"])
def test_labels_follow_the_folders_order(name: str) -> None:
    info = dataset_info(name)
    assert list(info.folders) == sorted(info.folders)
    assert len(info.classes) == len(info.folders) == info.num_classes


def test_variant_is_the_smallest_that_needs_no_enlarging() -> None:
    info = dataset_info("imagewoof")
    wanted = {64: "160", 160: "160", 161: "320", 320: "320", 321: "full"}
    assert {size: info.variant_for(size) for size in wanted} == wanted


def test_unknown_name() -> None:
    with pytest.raises(
        AblateError, match="unknown data set 'imagenete'; did you mean 'imagenette'"
    ):
        dataset_info("imagenete")


@pytest.mark.parametrize("name", [n for n in dataset_names() if n != "digits"])
def test_missing_data_says_where_and_what_to_type(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        dataset_ref(name, image_size=160, data_root=tmp_path, limit=None)
    size = {"imagenette": " (160 px)", "imagewoof": " (160 px)", "places365": " (256 px)"}
    assert caught.value.message == f"{name}{size.get(name, '')} is not in {tmp_path}"
    assert "or --data DIR if you have it" in str(caught.value.hint)


def test_missing_imagewoof_in_the_words_of_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(DataError) as caught:
        dataset_ref("imagewoof", image_size=128, data_root=None, limit=None)
    assert str(caught.value) == "error: imagewoof (160 px) is not in ~/.cache/ablate"
    assert caught.value.hint == (
        "ablate datasets fetch imagewoof --size 160      about 90 MB; or --data DIR if you have it"
    )


def test_data_root_is_the_argument_then_the_variable(
    woof_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(root: Path | None) -> bool:
        try:
            dataset_ref("imagewoof", image_size=128, data_root=root, limit=None)
        except DataError:
            return False
        return True

    assert not found(None)
    monkeypatch.setenv("ABLATE_DATA", str(woof_root))
    assert found(None)
    assert not found(tmp_path)


def test_no_torch_is_imported_to_plan(woof_root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ablate.data import catalogue, fingerprint\n"
        f"root = Path({str(woof_root)!r})\n"
        "for name in ('digits', 'imagewoof'):\n"
        "    catalogue.dataset_info(name)\n"
        "    fingerprint.dataset_ref(name, image_size=32, data_root=root, limit=20)\n"
        "print([m for m in ('torch', 'torchvision', 'scipy', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_limit_enters_the_ref_only_where_it_leaves_something_out() -> None:
    limits = {20: 20, 599: 599, 1198: None, 5000: None, None: None}
    for given, kept in limits.items():
        ref = dataset_ref("digits", image_size=32, data_root=None, limit=given)
        assert ref.limit == kept
    with pytest.raises(AblateError, match="a limit of 9 is below the 10 classes of digits"):
        dataset_ref("digits", image_size=32, data_root=None, limit=9)


OWN = """
import numpy as np
from ablate.data.arrays import ImageArrays

def shapes():
    grey = [np.full((5, 7), 9, np.uint8), np.full((6, 4), 200, np.uint8)]
    colour = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    return ImageArrays(grey, [0, 1], colour, [1, 0], ("square", "circle"), image_size=8)

def nothing():
    return None

def broken():
    raise KeyError("where")
"""


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def test_own_function(own_module: str) -> None:
    name = f"{own_module}:shapes"
    assert dataset_info(name).classes == ("square", "circle")
    ref = dataset_ref(name, image_size=8, data_root=None, limit=None)
    cached = open_cache(ref, None)
    assert cached.ref() == ref == ensure_cache(name, None, 8).ref()
    assert np.array_equal(cached.train.image(0), np.full((5, 7, 3), 9))
    expected = np.arange(48, 96, dtype=np.uint8).reshape(4, 4, 3)
    assert np.array_equal(cached.eval.image(1), expected)
    assert cached.eval.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nothing", "returned NoneType, expected ImageArrays"),
        ("broken", "raised KeyError: 'where'"),
        ("missing", ".* has no function 'missing'"),
    ],
)
def test_own_function_that_does_not_work(own_module: str, function: str, message: str) -> None:
    with pytest.raises(AblateError, match=f"data set '{own_module}:{function}':? ?{message}"):
        dataset_info(f"{own_module}:{function}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": [0]}, "2 train images, but 1 labels"),
        ({"eval_labels": [0, 0]}, "eval labels are not exactly 0 to 1"),
        ({"train_images": np.zeros((2, 3, 3), np.float32)}, "train image 0 is not uint8"),
        ({"eval_images": np.zeros((2, 3, 3, 4), np.uint8)}, "eval image 0 is not uint8"),
    ],
)
def test_own_arrays_are_checked(change: dict[str, object], message: str) -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    train = {"train_images": pixels, "train_labels": [0, 1]}
    whole = {**train, "eval_images": pixels, "eval_labels": [1, 0]}
    with pytest.raises(DataError, match=message):
        ImageArrays(**{**whole, **change}, classes=("a", "b"), image_size=3)  # type: ignore[arg-type]
