"""CIFAR, ImageNet and Places365 as their publishers pack them, small; torchvision's readers."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import scipy.io
import torchvision
from PIL import Image
from torchvision.datasets import imagenet

from ablate.data.cache import ensure_cache
from ablate.data.catalogue import dataset_info, find_source
from ablate.errors import DataError
from tests.helpers.data_samples import pack, write_images

# CIFAR


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    """Texts and bytes as Python 2 wrote both, with which the publisher's files were made."""

    dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: Any) -> None:
        data = value if isinstance(value, bytes) else value.encode("latin1")
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def python2(document: object) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(document)
    return buffer.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def write_cifar(root: Path, name: str, old: bool = True) -> Path:
    """The Python version with ten images a file (CIFAR-100: two hundred)."""
    rng = np.random.default_rng(0)
    dump = python2 if old else pickle.dumps
    ten = name == "cifar10"
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir(parents=True)
    train = [f"data_batch_{n}" for n in range(1, 6)] if ten else ["train"]
    for file in [*train, "test_batch" if ten else "test"]:
        count = 10 if ten else 200
        document: dict[str, Any] = {
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
            "filenames": [f"{n}.png" for n in range(count)],
            "batch_label": file,
        }
        labels = [*map(int, rng.permutation(10 if ten else 100))]
        if ten:
            document["labels"] = labels
        else:
            document["fine_labels"] = labels * 2
            document["coarse_labels"] = [label // 5 for label in labels] * 2
        (folder / file).write_bytes(dump(document))
    if ten:
        names = {"label_names": list(dataset_info(name).classes), "num_vis": 3072}
    else:
        names = {
            "fine_label_names": [f"fine_{n}" for n in range(100)],
            "coarse_label_names": [f"coarse_{n}" for n in range(20)],
        }
    (folder / ("batches.meta" if ten else "meta")).write_bytes(dump(names))
    return folder


def torchvisions(name: str, root: Path, train: bool) -> torchvision.datasets.CIFAR10:
    """Its reader, which is told not to ask for the published sums."""
    base = getattr(torchvision.datasets, name.upper())
    changes = {
        "train_list": [[file, None] for file, _ in base.train_list],
        "test_list": [[file, None] for file, _ in base.test_list],
        "meta": base.meta | {"md5": None},
    }
    return type("Small", (base,), changes)(str(root), train=train)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:.*align.*:Warning")
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_torchvisions(name: str, tmp_path: Path) -> None:
    write_cifar(tmp_path, name)
    ours = ensure_cache(name, tmp_path, 32)
    for split, train in ((ours.train, True), (ours.eval, False)):
        theirs = torchvisions(name, tmp_path, train)
        assert split.labels.tolist() == theirs.targets
        assert len(split) == len(theirs.data)
        assert all(np.array_equal(split.image(i), theirs.data[i]) for i in range(len(split)))
        assert list(ours.identity.classes) == theirs.classes


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_every_form_of_cifar_is_one_data_set(name: str, tmp_path: Path) -> None:
    """Folder and archive, Python 2's and 3's pickles, and the binary version."""
    folder = write_cifar(tmp_path / "a", name)
    ref = ensure_cache(name, tmp_path / "a", 32).ref()
    pack(folder, tmp_path / "b" / dataset_info(name).editions[""].archive)
    write_cifar(tmp_path / "c", name, old=False)
    binary = tmp_path / "d" / ("cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary")
    binary.mkdir(parents=True)
    for file in folder.iterdir():
        document = pickle.loads(file.read_bytes(), encoding="latin1")
        if "data" not in document:
            names = document.get("label_names") or document["fine_label_names"]
            text = "batches.meta.txt" if name == "cifar10" else "fine_label_names.txt"
            (binary / text).write_text("\n".join(names) + "\n\n")
            continue
        kinds = ["labels"] if name == "cifar10" else ["coarse_labels", "fine_labels"]
        records = [
            bytes(document[kind][i] for kind in kinds) + document["data"][i].tobytes()
            for i in range(len(document["data"]))
        ]
        (binary / f"{file.name}.bin").write_bytes(b"".join(records))
    pack(binary, tmp_path / "e" / f"cifar-{name[5:]}-binary.tar.gz")
    for root in "bcde":
        assert ensure_cache(name, tmp_path / root, 32).ref() == ref, root


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("hostile-was-here",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(Hostile(), protocol=2), "it names posix.mkdir, which no file of CIFAR does"),
        (pickle.dumps({"data": np.array([print, Hostile])}), "array of type 'O8', not of"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8)}), "no 'labels'"),
        (pickle.dumps({"data": np.zeros((2, 9), np.uint8), "labels": [0, 1]}), r"shape \[2, 9\]"),
        (
            pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}),
            r"2 images, but labels of \[1\]",
        ),
        (
            pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]}),
            "array of type 'f8', not of integers",
        ),
        (
            pickle.dumps({"data": np.zeros((1, 3072), np.uint8), "labels": [300]}),
            "that are no bytes",
        ),
        (pickle.dumps([1, 2]), "a list"),
        (b"not a pickle", "no pickle, or not all"),
        (b"", "no pickle, or not all"),
    ],
)
def test_a_pickle_that_is_not_cifars(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (write_cifar(tmp_path, "cifar10") / "data_batch_2").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        ensure_cache("cifar10", tmp_path, 32)
    assert "data_batch_2 in" in caught.value.message
    assert "\n" not in caught.value.message
    assert not Path("hostile-was-here").exists()


# ImageNet


def jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels).resize((20 + seed % 5, 18), Image.Resampling.BICUBIC)
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w:") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


WNIDS = ("n01440764", "n01443537", "n02102040")
# ILSVRC numbers the classes in an order of its own, and has inner nodes of WordNet behind them.
NUMBERS = {2: "n01440764", 3: "n01443537", 1: "n02102040", 4: "n00001740"}
TRUTH = [3, 1, 2, 2, 1, 3]


def write_imagenet(folder: Path) -> Path:
    folder.mkdir(parents=True)
    inner = {
        f"{wnid}.tar": tar({f"{wnid}_{n}.JPEG": jpeg(10 * i + n) for n in (7, 26, 3)})
        for i, wnid in enumerate(WNIDS)
    }
    (folder / "ILSVRC2012_img_train.tar").write_bytes(tar(inner))
    val = {f"ILSVRC2012_val_{n + 1:08}.JPEG": jpeg(100 + n) for n in (4, 0, 5, 1, 3, 2)}
    (folder / "ILSVRC2012_img_val.tar").write_bytes(tar(val))
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O")]
    fields += [("num_children", "O"), ("children", "O")]
    synsets = np.array(
        [
            (n, wnid, f"word {n}, other", "a gloss", 3 * (n == 4), [1, 2, 3][: 3 * (n == 4)])
            for n, wnid in NUMBERS.items()
        ],
        dtype=fields,
    )
    meta = io.BytesIO()
    scipy.io.savemat(meta, {"synsets": synsets})
    top = "ILSVRC2012_devkit_t12/data"
    kit = {
        f"{top}/meta.mat": meta.getvalue(),
        f"{top}/ILSVRC2012_validation_ground_truth.txt": "".join(f"{n}\n" for n in TRUTH).encode(),
        "ILSVRC2012_devkit_t12/readme.txt": b"read me",
    }
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(tar(kit, "w:gz"))
    return folder


@pytest.fixture
def no_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision unpacks ours without asking for the published sums."""
    sums = {kind: (file, None) for kind, (file, _) in imagenet.ARCHIVE_META.items()}
    monkeypatch.setattr(imagenet, "ARCHIVE_META", sums)


@pytest.mark.parametrize("place", ["imagenet", "."])
def test_imagenets_archives_are_what_torchvision_unpacks(
    place: str, tmp_path: Path, no_sums: None
) -> None:
    packed, unpacked = tmp_path / "packed", write_imagenet(tmp_path / "unpacked" / "imagenet")
    if place == "imagenet":
        write_imagenet(packed / place)
    else:
        write_imagenet(packed)
    imagenet.parse_devkit_archive(unpacked)
    imagenet.parse_train_archive(unpacked)
    imagenet.parse_val_archive(unpacked)
    theirs = [torchvision.datasets.ImageFolder(str(unpacked / split)) for split in ("train", "val")]
    assert theirs[0].classes == theirs[1].classes == list(WNIDS)
    ours = ensure_cache("imagenet", packed, 224)
    assert ours.identity.classes == WNIDS
    for split, folder in zip((ours.train, ours.eval), theirs, strict=True):
        assert split.labels.tolist() == folder.targets
        assert len(split) == len(folder)
        for i in range(len(split)):
            assert np.array_equal(split.image(i), np.asarray(folder[i][0]))
    assert ours.identity.counts == (9, 6)
    again = ensure_cache("imagenet", tmp_path / "unpacked", 224)  # now folders
    assert again.ref() == ours.ref()


@pytest.mark.parametrize("lacking", ["ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"])
def test_an_archive_of_imagenet_is_missing(lacking: str, tmp_path: Path) -> None:
    (write_imagenet(tmp_path / "imagenet") / lacking).unlink()
    with pytest.raises(DataError, match=rf"has ILSVRC2012_img_train\.tar, but no {lacking}"):
        find_source("imagenet", image_size=224, root=tmp_path)


def test_imagenets_archives_damaged(tmp_path: Path) -> None:
    folder = write_imagenet(tmp_path / "imagenet")
    train, kit = folder / "ILSVRC2012_img_train.tar", folder / "ILSVRC2012_devkit_t12.tar.gz"
    whole, devkit = train.read_bytes(), kit.read_bytes()
    for file, content, message in (
        (train, b"x" * 2000, r"archive .*img_train\.tar is damaged"),
        (train, whole[: len(whole) // 2], r"archive .*img_train\.tar is damaged|ends before"),
        (kit, devkit[:-300], r"archive .*devkit_t12\.tar\.gz is damaged"),
        (kit, tar({"data/meta.mat": b"nothing"}, "w:gz"), r"devkit_t12\.tar\.gz does not say"),
    ):
        file.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            ensure_cache("imagenet", tmp_path, 224)
        assert "\n" not in caught.value.message
        train.write_bytes(whole)
        kit.write_bytes(devkit)
    ensure_cache("imagenet", tmp_path, 224)


# Places365

CATEGORIES = ("/a/airfield", "/a/apartment_building/outdoor", "/z/zen_garden")


def write_places(folder: Path, size: str = "256") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    train = {f"{c}/{n:08}.jpg": jpeg(10 * i + n) for i, c in enumerate(CATEGORIES) for n in (1, 2)}
    val = {f"Places365_val_{n:08}.jpg": jpeg(50 + n) for n in (1, 2, 3, 4)}
    labels = dict(zip(val, (2, 0, 1, 1), strict=True))
    lists = {
        "categories_places365.txt": [f"{c} {i}" for i, c in enumerate(CATEGORIES)],
        "places365_train_standard.txt": [
            f"{path} {CATEGORIES.index(path.rsplit('/', 1)[0])}" for path in train
        ],
        "places365_val.txt": [f"{path} {labels[path]}" for path in val],
    }
    archives = {
        f"train_{size}_places365standard.tar": {f"data_{size}{p}": d for p, d in train.items()},
        f"val_{size}.tar": {f"val_{size}/{p}": d for p, d in val.items()},
        "filelist_places365-standard.tar": {
            name: ("\n".join(lines) + "\n").encode() for name, lines in lists.items()
        },
    }
    for name, files in archives.items():
        (folder / name).write_bytes(tar(files))
    return folder


@pytest.mark.parametrize(("size", "place"), [("256", "."), ("256", "places365"), ("large", ".")])
def test_places_archives_are_what_torchvision_unpacks(
    size: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    folder = write_places(root / place, size) if place != "." else write_places(root, size)
    for archive in folder.iterdir():
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path / "theirs", filter="data")
    base = torchvision.datasets.Places365
    (tmp_path / "theirs" / f"data_{size}").rename(tmp_path / "theirs" / f"data_{size}_standard")
    monkeypatch.setattr(base, "_CATEGORIES_META", (base._CATEGORIES_META[0], None))
    lists = {split: (file, None) for split, (file, _) in base._FILE_LIST_META.items()}
    monkeypatch.setattr(base, "_FILE_LIST_META", lists)
    ours = ensure_cache("places365", root, 224)
    assert ours.identity.classes == ("airfield", "apartment_building-outdoor", "zen_garden")
    for split, name in ((ours.train, "train-standard"), (ours.eval, "val")):
        theirs = base(str(tmp_path / "theirs"), name, small=size == "256")
        order = sorted(range(len(theirs)), key=lambda i: (theirs.targets[i], theirs.imgs[i][0]))
        assert split.labels.tolist() == [theirs.targets[i] for i in order]
        for mine, other in enumerate(order):
            assert np.array_equal(split.image(mine), np.asarray(theirs[other][0]))


def test_images_that_the_lists_have_and_the_archives_not(tmp_path: Path) -> None:
    folder = write_places(tmp_path / "root")
    (folder / "val_256.tar").write_bytes(tar({"val_256/Places365_val_00000001.jpg": jpeg(1)}))
    with pytest.raises(DataError, match=r"3 of the 10 images that filelist.* are not in"):
        ensure_cache("places365", tmp_path / "root", 224)
    (folder / "filelist_places365-standard.tar").write_bytes(tar({"other.txt": b""}))
    with pytest.raises(DataError, match=r"has no usable list: 'categories_places365\.txt'"):
        ensure_cache("places365", tmp_path / "root", 224)


def test_small_images_are_preferred_and_own_folders_serve(tmp_path: Path) -> None:
    write_places(tmp_path, "large")
    assert find_source("places365", image_size=224, root=tmp_path)[0] == "full"
    write_places(tmp_path / "places365_standard")
    assert find_source("places365", image_size=224, root=tmp_path)[0] == "256"
    assert find_source("places365", image_size=299, root=tmp_path)[0] == "full"
    write_places(tmp_path / "other" / "places365")
    assert find_source("places365", image_size=299, root=tmp_path / "other")[0] == "256"
    write_images(tmp_path / "other" / "places365", ("airfield", "zoo"), 1, 1)
    assert find_source("places365", image_size=299, root=tmp_path / "other")[0] == "full"


def test_torch_is_not_needed_to_find_them(tmp_path: Path) -> None:
    write_imagenet(tmp_path / "imagenet")
    code = (
        "import sys; from pathlib import Path; from ablate.data.fingerprint import dataset_ref\n"
        f"print(dataset_ref('imagenet', image_size=64, data_root=Path({str(tmp_path)!r}), "
        "limit=None).num_classes, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "3 False\n"
