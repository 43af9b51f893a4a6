"""The decoded cache: whole, exact, built once, and rebuilt when the files are others."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablate.data.cache import ensure_cache, open_cache
from ablate.data.catalogue import dataset_info
from ablate.data.dataset import CachedDataset, Split
from ablate.data.fingerprint import dataset_ref
from ablate.errors import DataError
from tests.helpers.data_samples import pack, write_images


def cached(folder: Path) -> CachedDataset:
    return ensure_cache(f"imagefolder:{folder}", None, 32)


def fingerprint(folder: Path) -> str:
    return dataset_ref(
        f"imagefolder:{folder}", image_size=32, data_root=None, limit=None
    ).fingerprint


def assert_as_torchvision(split: Split, folder: Path) -> None:
    """Same images, same order, same labels, same pixels as torchvision's ImageFolder."""
    from torchvision.datasets import ImageFolder

    theirs = ImageFolder(folder)
    assert len(split.labels) == len(theirs)
    assert split.labels.tolist() == theirs.targets
    for index, (image, _) in enumerate(theirs):
        assert np.array_equal(split.image(index), np.asarray(image))
    assert [folder / Path(p).relative_to(folder.name) for p in split.paths] == [
        Path(path) for path, _ in theirs.samples
    ]


def test_equals_torchvisions_image_folder(image_folder: Path) -> None:
    data = cached(image_folder)
    assert data.num_classes == 3
    assert_as_torchvision(data.train, image_folder / "train")
    assert_as_torchvision(data.eval, image_folder / "val")
    info = dataset_info(f"imagefolder:{image_folder}")
    assert (info.num_classes, info.classes) == (3, ("ant", "bee", "cat"))
    assert info.counts == (18, 9)


def test_a_path_may_be_relative(image_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fingerprint(image_folder)
    monkeypatch.chdir(image_folder)
    assert fingerprint(Path(".")) == whole
    monkeypatch.chdir(image_folder.parent)
    assert fingerprint(Path(image_folder.name)) == whole


def test_test_folder_serves_where_there_is_no_val(image_folder: Path) -> None:
    (image_folder / "val").rename(image_folder / "test")
    assert_as_torchvision(cached(image_folder).eval, image_folder / "test")


def test_folders_within_a_class_and_links_are_followed(image_folder: Path, tmp_path: Path) -> None:
    inner = image_folder / "train" / "ant" / "more"
    inner.mkdir()
    shutil.copy(image_folder / "train" / "bee" / "bee_0.JPEG", inner / "x.JPEG")
    (inner / "loop").symlink_to(image_folder / "train" / "ant", target_is_directory=True)
    elsewhere = tmp_path / "elsewhere"
    (image_folder / "train" / "cat").rename(elsewhere)
    (image_folder / "train" / "cat").symlink_to(elsewhere, target_is_directory=True)
    split = cached(image_folder).train
    assert len(split) == 19
    assert "train/ant/more/x.JPEG" in split.paths


def test_other_files_are_left_out(image_folder: Path) -> None:
    before = fingerprint(image_folder)
    for name in ("notes.txt", ".hidden.JPEG", "._ant_0.JPEG"):
        (image_folder / "train" / "ant" / name).write_text("no image")
    (image_folder / "labels.csv").write_text("")
    (image_folder / "train" / "README").write_text("")
    assert fingerprint(image_folder) == before


def test_contents_decide_the_fingerprint(image_folder: Path, tmp_path: Path) -> None:
    before = fingerprint(image_folder)
    file = image_folder / "train" / "bee" / "bee_1.JPEG"
    os.utime(file, (1, 1))
    assert fingerprint(image_folder) == before
    copy = tmp_path / "copy"
    shutil.copytree(image_folder, copy)
    assert fingerprint(copy) == before
    file.write_bytes((image_folder / "train" / "bee" / "bee_2.JPEG").read_bytes())
    changed = fingerprint(image_folder)
    assert changed != before
    file.rename(file.with_name("bee_9.JPEG"))
    assert fingerprint(image_folder) not in (before, changed)


def test_same_size_and_times_set_back_are_noticed(image_folder: Path) -> None:
    file = image_folder / "train" / "ant" / "ant_0.JPEG"
    before, status = fingerprint(image_folder), file.stat()
    data = bytearray(file.read_bytes())
    data[-30] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(image_folder) != before


def test_nothing_is_read_again_once_known(image_folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ablate.data.fingerprint import dataset_ref\n"
        "opened = []\n"
        "sys.addaudithook(lambda e, a: e == 'open' and opened.append(str(a[0])))\n"
        f"dataset_ref('imagefolder:{image_folder}', image_size=32, data_root=None, limit=None)\n"
        "print(sum(name.endswith('.JPEG') for name in opened))"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [run.stdout for run in runs] == ["27\n", "0\n"]


def test_second_time_nothing_is_decoded(image_folder: Path, own_caches: Path) -> None:
    seen: list[tuple[int, int, float]] = []

    def progress(done: int, total: int, rate: float) -> None:
        seen.append((done, total, rate))

    name = f"imagefolder:{image_folder}"
    ensure_cache(name, None, 32, progress)
    assert seen[-1][:2] == (27, 27)
    assert seen[-1][2] > 0
    times = {path: path.stat().st_mtime_ns for path in own_caches.rglob("*")}
    seen.clear()
    ensure_cache(name, None, 32, progress)
    assert seen == []
    assert {path: path.stat().st_mtime_ns for path in own_caches.rglob("*")} == times


def test_data_folder_is_only_read(image_folder: Path) -> None:
    before = sorted(image_folder.rglob("*"))
    cached(image_folder)
    assert sorted(image_folder.rglob("*")) == before


BUILD = """
import os, signal, sys
from ablate.data.cache import ensure_cache
seen = []
def progress(done, total, rate):
    seen.append(done)
    if "die" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
data = ensure_cache("imagefolder:" + sys.argv[1], None, 32, progress)
print(len(seen) > 0, data.train.image(5).sum(), data.folder)
"""


def test_several_processes_build_it_once(image_folder: Path, own_caches: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(image_folder)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60)[0].split(" ", 1) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(built for built, _ in outputs) == ["False", "False", "True"]
    assert len({rest for _, rest in outputs}) == 1
    assert list(own_caches.glob("*.tmp")) == []


def test_killed_while_decoding(image_folder: Path, own_caches: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(image_folder), "die"]
    assert subprocess.run(command, timeout=60).returncode == -9
    assert len(list(own_caches.glob("*.tmp"))) == 1
    assert_as_torchvision(cached(image_folder).train, image_folder / "train")
    assert list(own_caches.glob("*.tmp")) == []


def test_damaged_cache_is_built_again(image_folder: Path) -> None:
    folder = cached(image_folder).folder
    assert folder is not None
    for name in ("pixels.npy", "meta.json", "table.npy"):
        with (folder / name).open("r+b") as file:
            file.truncate(100)
        assert_as_torchvision(cached(image_folder).train, image_folder / "train")


def test_full_disk_is_one_line_and_leaves_nothing(image_folder: Path, own_caches: Path) -> None:
    code = BUILD.replace("data = ", "from ablate.errors import DataError\ntry:\n    data = ")
    code = code.replace("print(", "except DataError as error:\n    print(error.message)\n#")
    limit = 8192  # bytes a file may have: as a full disk, but in the middle of the pixels
    done = subprocess.run(
        [sys.executable, "-c", code, str(image_folder)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.stdout == f"no space left for decoded images in {own_caches}\n", done.stderr
    assert [path for path in own_caches.iterdir() if path.is_dir()] == [own_caches / "sources"]


def test_cache_folder_that_cannot_be_made(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "file" / "decoded"))
    assert fingerprint(image_folder)  # planning goes on
    with pytest.raises(DataError, match="cannot write decoded images") as caught:
        cached(image_folder)
    assert caught.value.hint == "set ABLATE_CACHE to a folder that you can write to"


def test_archive_is_the_folder(woof_root: Path, tmp_path: Path) -> None:
    folder = woof_root / "imagewoof2-160"
    from_folder = ensure_cache("imagewoof", woof_root, 160)
    pack(folder, tmp_path / "archives" / "imagewoof2-160.tgz")
    os.environ["ABLATE_CACHE"] += "-2"  # own_caches puts it back
    from_archive = ensure_cache("imagewoof", tmp_path / "archives", 160)
    assert from_archive.folder != from_folder.folder
    assert from_archive.ref() == from_folder.ref()
    assert_as_torchvision(from_folder.train, folder / "train")
    for ours, theirs in (
        (from_archive.train, from_folder.train),
        (from_archive.eval, from_folder.eval),
    ):
        assert ours.paths == theirs.paths
        for index in range(len(ours)):
            assert np.array_equal(ours.image(index), theirs.image(index))


def test_damaged_archive(tmp_path: Path, woof_root: Path) -> None:
    archive = pack(woof_root / "imagewoof2-160", tmp_path / "there" / "imagewoof2-160.tgz")
    archive.write_bytes(archive.read_bytes()[:-3000])
    with pytest.raises(DataError, match=r"the archive .*imagewoof2-160.tgz is damaged"):
        dataset_ref("imagewoof", image_size=160, data_root=tmp_path / "there", limit=None)


def test_copy_that_is_not_the_published_one(woof_root: Path) -> None:
    ref = dataset_ref("imagewoof", image_size=128, data_root=woof_root, limit=None)
    assert (ref.variant, ref.num_classes) == ("160", 10)
    assert ensure_cache("imagewoof", woof_root, 160).identity.notes == (
        "this copy of imagewoof has 40 training and 20 evaluation images, "
        "the published one 9,025 and 3,929",
    )
    (woof_root / "imagewoof2-160").rename(woof_root / "imagenette2-160")
    with pytest.raises(DataError, match="is not imagenette: it lacks the class n01440764"):
        dataset_ref("imagenette", image_size=128, data_root=woof_root, limit=None)


def test_another_edition_serves_where_the_right_one_is_not_there(woof_root: Path) -> None:
    folder = woof_root / "imagewoof2-160"
    folder.rename(woof_root / "imagewoof2-320")
    for size in (128, 160, 320, 500):
        ref = dataset_ref("imagewoof", image_size=size, data_root=woof_root, limit=None)
        assert ref.variant == "320"
    assert open_cache(ref, woof_root).ref() == ref


def test_open_builds_what_is_gone_and_refuses_what_has_changed(woof_root: Path) -> None:
    ref = dataset_ref("imagewoof", image_size=160, data_root=woof_root, limit=15)
    opened = open_cache(ref, woof_root)
    assert opened.ref(15) == ref
    assert (len(opened.train), len(opened.eval)) == (15, 15)
    assert opened.folder is not None
    shutil.rmtree(opened.folder)
    assert open_cache(ref, woof_root).folder == opened.folder
    shutil.rmtree(opened.folder)
    file = woof_root / "imagewoof2-160" / "val" / "n02089973" / "n02089973_0.JPEG"
    file.write_bytes(file.with_name("n02089973_1.JPEG").read_bytes())
    with pytest.raises(DataError, match="imagewoof is not what it was when this trial was planned"):
        open_cache(ref, woof_root)


def test_limit_is_balanced_nested_and_the_same_every_time(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "uneven", ("a", "b", "c"), 12, 4)
    for number in range(2, 12):
        (folder / "train" / "b" / f"b_{number}.JPEG").unlink()  # two are left
    data = cached(folder)
    chosen: set[int] = set()
    for limit, expected in ((3, [1, 1, 1]), (7, [3, 2, 2]), (12, [5, 2, 5]), (26, [12, 2, 12])):
        split = data.limited(limit).train
        assert np.bincount(split.labels[split.ids]).tolist() == expected
        assert split.ids.tolist() == sorted(set(split.ids.tolist()))
        assert chosen <= set(split.ids.tolist())
        chosen = set(split.ids.tolist())
    assert data.limited(7).train.ids.tolist() != list(range(7))
    assert len(data.limited(26).eval) == 12


def test_ragged_and_packed_are_the_images(image_folder: Path) -> None:
    split = cached(image_folder).train
    ids = np.array([7, 0, 17, 7])
    for images in (split.ragged(ids), split.packed(ids)):
        assert len(images) == 4
        for position, index in enumerate(ids.tolist()):
            assert np.array_equal(images[position].permute(1, 2, 0).numpy(), split.image(index))
    assert split.packed(ids).buffer.numel() == sum(split.image(i).size for i in ids.tolist())


def test_pickle_holds_no_pixels(tmp_path: Path) -> None:
    data = cached(write_images(tmp_path / "many", ("a", "b"), 40, 1)).limited(9)
    pickled = pickle.dumps(data)
    assert len(pickled) < 1000
    again = pickle.loads(pickled)
    assert again.train.ids.tolist() == data.train.ids.tolist()
    assert np.array_equal(again.train.image(33), data.train.image(33))
    digits = ensure_cache("digits", None, 32)
    assert np.array_equal(pickle.loads(pickle.dumps(digits)).buffer, digits.buffer)


def test_cache_file_cannot_be_changed_through_it(image_folder: Path) -> None:
    data = cached(image_folder)
    before = data.train.image(0).copy()
    data.train.ragged(np.array([0]))[0].zero_()
    assert np.array_equal(cached(image_folder).train.image(0), before)


def test_cifar_records(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    names = dataset_info("cifar10").classes
    (folder / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    files = [*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]
    images = rng.integers(0, 256, (6, 10, 32, 32, 3), dtype=np.uint8)
    labels = np.stack([rng.permutation(10) for _ in files])
    for file, pixels, numbers in zip(files, images, labels, strict=True):
        records = [
            bytes([number]) + image.transpose(2, 0, 1).tobytes()
            for image, number in zip(pixels, numbers.tolist(), strict=True)
        ]
        (folder / file).write_bytes(b"".join(records))
    data = ensure_cache("cifar10", tmp_path, 32)
    assert data.train.labels.tolist() == labels[:5].ravel().tolist()
    assert data.eval.labels.tolist() == labels[5].tolist()
    assert np.array_equal(data.train.image(23), images[2, 3])
    assert np.array_equal(data.eval.image(9), images[5, 9])
    pack(folder, tmp_path / "packed" / "cifar-10-binary.tar.gz")
    assert ensure_cache("cifar10", tmp_path / "packed", 32).ref() == data.ref()
    with (folder / "data_batch_3.bin").open("ab") as file:
        file.write(b"x")
    with pytest.raises(
        DataError, match=r"data_batch_3\.bin .* is not whole records of 3,073 bytes"
    ):
        ensure_cache("cifar10", tmp_path, 32)


def test_disk_space_is_asked_for_before_decoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE_LIMIT", "1000000")
    folder = write_images(tmp_path / "huge", ("a", "b"), 1, 1)
    name = folder / "train" / "a" / "big.png"
    Image.new("L", (9000, 9000)).save(name)  # 232 MiB decoded, 80 kB on disk
    free = shutil.disk_usage(tmp_path).free
    for number in range(free // (9000 * 9000 * 3) * 5 // 4):
        (folder / "train" / "a" / f"{number}.png").hardlink_to(name)
    with pytest.raises(DataError, match=r"decoding imagefolder:.* takes about [\d,]+ GiB; .* left"):
        cached(folder)
