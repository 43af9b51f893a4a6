"""Files that are not taken as images: hidden ones nowhere, others counted and said."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from ablate.data.fingerprint import Identity, cache_folder, identify
from ablate.data.sources.tar import TarSource
from ablate.data.sources.tgz import ArchiveSource
from ablate.errors import DataError
from tests.helpers.cli_process import Cli, run_cli
from tests.helpers.data_samples import WOOF, pack, write_images

# Where an image may lie that nobody put there as data, below a class folder, or beside the classes.
HIDDEN = (
    *(".ipynb_checkpoints/ant_0-checkpoint.JPEG", ".thumbs/more/x.png", "@eaDir/a.jpg/THUMB.jpg"),
    *("more/.cache/y.png", "__MACOSX/z.png", "._ant_0.JPEG", "Thumbs.db", ".DS_Store"),
)
OTHERS = ("a.gif", "b.GIF", "more/c.jfif", "d.avif", "e.heic", "photo")


def known(folder: Path) -> Identity:
    return identify(f"imagefolder:{folder}", image_size=32, root=None)


def put(folder: Path, names: tuple[str, ...]) -> None:
    """An image under each of these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20)).save(folder / name, "PNG")


def test_hidden_images_are_no_part_of_a_folder(image_folder: Path) -> None:
    before = known(image_folder)
    put(image_folder / "train" / "ant", HIDDEN)
    put(image_folder / "train", ("__MACOSX/q.png", ".hidden/q.png", "lost+found/q.png"))
    after = known(image_folder)
    # The key of a data set without such files is what it was, and so is that of one with them.
    assert after.fingerprint == before.fingerprint
    assert (after.counts, after.classes) == (before.counts, before.classes)
    assert len(ImageFolder(str(image_folder / "val"))) == after.counts[1]
    name = f"imagefolder:{image_folder}"
    assert after.notes == (f"{name}: 5 images in hidden folders left out",)


def test_fingerprint_of_a_plain_folder_is_what_it_always_was(tmp_path: Path) -> None:
    """SHA-256 over path, size and SHA-256 of every file, written out here."""
    import hashlib

    folder = write_images(tmp_path / "animals", ("ant", "bee"), 3, 2)
    manifest = hashlib.sha256()
    for split in ("train", "val"):
        for file in sorted((folder / split).rglob("*.JPEG")):
            data, path = file.read_bytes(), str(file.relative_to(folder)).encode()
            manifest.update(b"%s\0%d\0" % (path, len(data)) + hashlib.sha256(data).digest())
    put(folder / "train" / "ant", OTHERS)
    assert known(folder).fingerprint == manifest.hexdigest()


def test_other_endings_are_counted_and_said(image_folder: Path) -> None:
    name = f"imagefolder:{image_folder}"
    assert known(image_folder).notes == ()
    put(image_folder / "train" / "ant", (*OTHERS, "notes.txt"))
    put(image_folder / "train", ("lonely.png", "README.txt"))
    found = known(image_folder)
    read = "read are .jpg .jpeg .png .bmp .webp .ppm .pgm .tif .tiff"
    assert found.notes == (
        f"{name}: 2 .gif, 1 file without an ending, 1 .avif, 1 .heic and 1 other are left out; "
        f"{read}",
        f"{name}: 1 image left out, in no class folder",
    )
    assert found.left_out[0] == ("train", "unsorted", 1)
    assert ("train/ant", ".txt", 1) in found.left_out
    # What is not evaluated on is no part of the data set.
    shutil.copytree(image_folder / "train", image_folder / "test")
    assert known(image_folder).left_out == found.left_out


@pytest.mark.parametrize("form", ["folder", "tgz", "tar"])
def test_a_class_with_other_files_only_says_what_is_there(form: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "imagewoof2-160", ("ant", "bee", "cat"), 2, 2)
    for file in (folder / "train" / "bee").iterdir():
        file.rename(file.with_suffix(".gif"))
    put(folder / "train" / "bee", (".git/x.png",))
    with pytest.raises(DataError) as caught:
        classes(form, folder)
    assert caught.value.message.endswith("/train/bee has no images that are read, only 2 .gif")
    assert caught.value.hint == (
        "read are .jpg .jpeg .png .bmp .webp .ppm .pgm .tif .tiff: save them as such"
    )
    for file in (folder / "train" / "bee").glob("*.gif"):
        file.unlink()
    with pytest.raises(DataError, match="bee has no images but 1 in hidden folders"):
        classes(form, folder)


def classes(form: str, folder: Path) -> tuple[str, ...]:
    return in_form(form, folder).classes


def in_form(form: str, folder: Path) -> Identity | ArchiveSource | TarSource:
    if form == "folder":
        return known(folder)
    archive = folder.with_suffix("." + form)
    archive.unlink(missing_ok=True)
    if form == "tgz":
        return ArchiveSource("imagewoof", pack(folder, archive))
    with tarfile.open(archive, "w:") as tar:
        tar.add(folder, arcname=folder.name)
    return TarSource("places365", archive)


@pytest.mark.parametrize("form", ["tgz", "tar"])
def test_an_archive_is_the_folder(form: str, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "some", ("ant", "bee", "cat"), 3, 2)
    before = known(folder).fingerprint
    put(folder / "train" / "ant", HIDDEN)
    put(folder / "train", ("__MACOSX/q.png", ".hidden/q.png"))
    put(folder / "val" / "bee", ("x.gif",))
    put(folder / "__MACOSX", ("train/ant/q.png",))
    source = in_form(form, folder)
    assert isinstance(source, ArchiveSource | TarSource)
    assert source.fingerprint() == before
    assert source.left_out == known(folder).left_out
    assert ("val/bee", ".gif", 1) in source.left_out
    assert ("train/ant", "hidden", 5) in source.left_out


def test_archive_whose_hidden_images_an_earlier_release_counted(woof_root: Path) -> None:
    folder = woof_root / "imagewoof2-160"
    plain = identify("imagewoof", image_size=128, root=woof_root)
    put(folder / "train" / WOOF[0], (".ipynb_checkpoints/x.JPEG",))
    pack(folder, woof_root / "imagewoof2-160.tgz")
    shutil.rmtree(folder)
    found = identify("imagewoof", image_size=128, root=woof_root)
    assert found.fingerprint == plain.fingerprint
    index = next(
        file
        for file in (cache_folder("x", "", "y").parent / "sources").glob("*.json")
        if json.loads(file.read_text())["location"].endswith(".tgz")
    )
    # As it was left there: with one image more, and not a word of what is left out.
    document = json.loads(index.read_text())
    del document["left_out"]
    index.write_text(json.dumps(document | {"fingerprint": "0" * 64, "counts": [41, 20]}))
    again = identify("imagewoof", image_size=128, root=woof_root)
    assert (again.fingerprint, again.counts) == (plain.fingerprint, (40, 20))
    assert again.left_out == found.left_out == ((f"train/{WOOF[0]}", "hidden", 1),)
    # Where nothing was hidden, what is known stays, without reading the images again.
    document["fingerprint"] = "1" * 64
    index.write_text(json.dumps(document))
    assert identify("imagewoof", image_size=128, root=woof_root).fingerprint == "1" * 64
    assert "left_out" in json.loads(index.read_text())


STUDY = """\
[study]
datasets = ["imagefolder:{folder}"]
seeds    = 1
stack    = ["warmup"]

[recipe]
model      = "resnet8"
epochs     = 1
image_size = 32
batch_size = 6
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return lambda *args, **options: run_cli(*args, cwd=tmp_path, **options)


def test_commands_say_so(image_folder: Path, tmp_path: Path, cli: Cli) -> None:
    put(image_folder / "train" / "ant", ("a.gif", ".ipynb_checkpoints/x.png", "notes.txt"))
    (tmp_path / "my.toml").write_text(STUDY.format(folder=image_folder))
    said = f"imagefolder:{image_folder}: 1 .gif is left out; read are"
    assert f"! {said}" in cli("plan", "my.toml").stdout
    assert f"warning: {said}" in cli("run", "my.toml", "--device", "cpu").stderr
    shown = cli("datasets", "show", f"imagefolder:{image_folder}").stdout
    assert "1 .gif and 1 .txt, 1 image in hidden folders" in shown
    document = json.loads(cli("datasets", "show", f"imagefolder:{image_folder}", "--json").stdout)
    assert {"folder": "train/ant", "kind": ".gif", "files": 1} in document["dataset"]["left_out"]
    assert said in cli("doctor").stdout
