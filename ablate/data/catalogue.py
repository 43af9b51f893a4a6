"""The data sets that a study can name, and how to find their files. No torch here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from ablate.data import roots
from ablate.data.roots import shown
from ablate.errors import AblateError, DataError, did_you_mean
from ablate.recipe import Crop

if TYPE_CHECKING:
    from ablate.data.arrays import ImageArrays
    from ablate.data.source import Source
    from ablate.trial import DatasetRef

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (123.675, 116.28, 103.53)
IMAGENET_STD: Channels = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Edition:
    """One size in which a data set is published.

    folder: its folder or, with .tgz behind, its archive below the data root. pixels: its images'
    short side, None for the original sizes. megabytes: of the download. md5: of the archive, where
    its publisher or torchvision gives one.
    """

    folder: str
    pixels: int | None
    megabytes: int
    md5: str | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before its files are looked at.

    image_size, crop, flip, mean and std are what a recipe gets that does not set its own; mean and
    std per channel in [0, 255]. variants: names of `editions`, smallest first. classes: readable
    names by label, folders: their folder names, both () where not known. counts: published numbers
    of train and evaluation images.
    """

    name: str
    description: str
    num_classes: int
    image_size: int
    crop: Crop = field(default_factory=Crop)
    flip: float = 0.5
    mean: Channels = IMAGENET_MEAN
    std: Channels = IMAGENET_STD
    classes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    counts: tuple[int, int] | None = None
    editions: dict[str, Edition] = field(default_factory=dict)
    licence: str = ""
    source: str = ""

    @property
    def variants(self) -> tuple[str, ...]:
        """Names of the editions, smallest first."""
        return tuple(self.editions)

    def variant_for(self, image_size: int) -> str:
        """The smallest edition whose images need no enlarging."""
        large = (v for v, e in self.editions.items() if (e.pixels or image_size) >= image_size)
        return next(large, self.variants[-1])


NETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
WOOF = {
    "n02086240": "Shih-Tzu",
    "n02087394": "Rhodesian ridgeback",
    "n02088364": "beagle",
    "n02089973": "English foxhound",
    "n02093754": "border terrier",
    "n02096294": "Australian terrier",
    "n02099601": "golden retriever",
    "n02105641": "Old English sheepdog",
    "n02111889": "Samoyed",
    "n02115641": "dingo",
}

_CATALOGUE = {
    info.name: info
    for info in (
        DatasetInfo(
            name="digits",
            description="1,797 handwritten digits of 8 × 8; comes with ablate, nothing to download",
            num_classes=10,
            image_size=32,
            crop=Crop(scale=(0.6, 1.0)),
            flip=0.0,
            mean=(78.03, 78.03, 78.03),  # of the training images
            std=(95.90, 95.90, 95.90),
            classes=tuple("0123456789"),
            counts=(1198, 599),
            licence="CC BY 4.0, E. Alpaydin and C. Kaynak",
            source="https://doi.org/10.24432/C50P49",
        ),
        DatasetInfo(
            name="imagenette",
            description="ten easily told classes of ImageNet, 13,394 photographs",
            num_classes=10,
            image_size=160,
            classes=tuple(NETTE.values()),
            folders=tuple(NETTE),
            counts=(9469, 3925),
            editions={
                "160": Edition("imagenette2-160", 160, 99, "e793b78cc4c9e9a4ccc0c1155377a412"),
                "320": Edition("imagenette2-320", 320, 342, "3df6f0d01a2c9592104656642f5e78a3"),
                "full": Edition("imagenette2", None, 1557, "fe2fc210e6bb7c5664d602c3cd71e612"),
            },
            licence="Apache 2.0 for the selection; the photographs' own for each",
            source="https://github.com/fastai/imagenette",
        ),
        DatasetInfo(
            name="imagewoof",
            description="ten breeds of dogs of ImageNet, hard to tell apart, 12,954 photographs",
            num_classes=10,
            image_size=160,
            classes=tuple(WOOF.values()),
            folders=tuple(WOOF),
            counts=(9025, 3929),
            editions={
                "160": Edition("imagewoof2-160", 160, 90),
                "320": Edition("imagewoof2-320", 320, 330),
                "full": Edition("imagewoof2", None, 1340),
            },
            licence="Apache 2.0 for the selection; the photographs' own for each",
            source="https://github.com/fastai/imagenette",
        ),
    )
}


def dataset_names() -> list[str]:
    """Every catalogue name, smallest data set first."""
    return list(_CATALOGUE)


def dataset_info(name: str) -> DatasetInfo:
    """What is known of `name`: a catalogue name, "imagefolder:PATH" or "package.module:function".

    Raises AblateError for an unknown name, DataError for a folder that is not there or is not laid
    out as train/CLASS/IMAGE.
    """
    check_name(name)
    if name in _CATALOGUE:
        return _CATALOGUE[name]
    if name.startswith("imagefolder:"):
        source = find_source(name, image_size=0, root=None)[1]
        return DatasetInfo(
            name=name,
            description=f"images in {shown(source.location)}",
            num_classes=len(source.classes),
            image_size=224,
            classes=source.classes,
            folders=source.classes,
            counts=(source.count("train"), source.count("eval")),
        )
    return load_arrays(name).info(name)


def check_name(name: str) -> None:
    """Raise AblateError unless `name` is in the catalogue or has the form of one's own data."""
    kind, _, rest = name.partition(":")
    if name in _CATALOGUE or (rest and kind):
        return
    known = [*_CATALOGUE, "imagefolder:PATH"]
    hint = "or package.module:function for your own"
    raise AblateError(f"unknown data set '{name}'{did_you_mean(name, known)}", hint=hint)


def dataset_ref(
    name: str, *, image_size: int, data_root: Path | None, limit: int | None
) -> DatasetRef:
    """The data set as a trial names it, with the fingerprint of its contents.

    Reads sizes and times of the files only, once their contents are known. Raises DataError where
    the files are missing, AblateError for an unknown name or a limit below the number of classes.
    """
    from ablate.data.identity import identify

    return identify(name, image_size=image_size, root=data_root).ref(limit)


def in_memory(name: str) -> bool:
    """Whether the data set comes from Python, not from image files."""
    return name == "digits" or (":" in name and not name.startswith("imagefolder:"))


def load_arrays(name: str) -> ImageArrays:
    """The images of an `in_memory` data set."""
    from ablate.data.arrays import ImageArrays, digits

    if name == "digits":
        return digits()
    module, _, function = name.partition(":")
    try:
        made: Callable[[], object] = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise AblateError(f"data set '{name}' does not import: {error}") from error
    arrays = made()
    if not isinstance(arrays, ImageArrays):
        raise AblateError(
            f"data set '{name}' returned {type(arrays).__name__}, expected ImageArrays",
            hint="from ablate.data.arrays import ImageArrays",
        )
    return arrays


def find_source(name: str, *, image_size: int, root: Path | None) -> tuple[str, Source]:
    """The variant and the files of a data set that lies on disk.

    Of the editions that are there, the smallest whose images need no enlarging, else the largest.
    """
    from ablate.data.source import ArchiveSource, FolderSource

    if name.startswith("imagefolder:"):
        folder = Path(name.partition(":")[2]).expanduser()
        if not folder.is_dir():
            raise DataError(f"{name}: there is no folder {shown(folder)}")
        return "", FolderSource(name, folder)
    info, root = _CATALOGUE[name], roots.data_root(root)
    wanted = info.variant_for(image_size)
    position = info.variants.index(wanted)
    for variant in (*info.variants[position:], *reversed(info.variants[:position])):
        folder = root / info.editions[variant].folder
        if folder.is_dir():
            return variant, FolderSource(name, folder)
        archive = folder.with_name(folder.name + ".tgz")
        if archive.is_file():
            return variant, ArchiveSource(name, archive)
    size = f"{wanted} px" if wanted != "full" else "full size"
    megabytes = info.editions[wanted].megabytes
    raise DataError(
        f"{name} ({size}) is not in {shown(root)}",
        hint=f"ablate datasets fetch {name} --size {wanted}      about {megabytes} MB; "
        "or --data DIR if you have it",
    )
