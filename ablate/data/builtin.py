"""What is known of each data set before its files are looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from ablate.core.recipe import Crop

Channels = tuple[float, float, float]

IMAGENET_MEAN: Channels = (123.675, 116.28, 103.53)
IMAGENET_STD: Channels = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Edition:
    """One size in which a data set is published.

    folder: its folder below the data root. archive: what is downloaded, from `url` ("": nothing
    is), and which may lie there instead of the folder; `unpack`: a fetch makes the folder of it.
    also: folders or archives with the same contents in another form. pixels: the images' short
    side, None for the original sizes. megabytes: of the download. md5: of the archive, where its
    publisher or torchvision gives one.
    """

    folder: str
    pixels: int | None
    megabytes: int = 0
    md5: str | None = None
    archive: str = ""
    url: str = ""
    unpack: bool = True
    also: tuple[str, ...] = ()


def _fastai(folder: str, pixels: int | None, megabytes: int, md5: str | None = None) -> Edition:
    archive = f"{folder}.tgz"
    url = f"https://s3.amazonaws.com/fast-ai-imageclas/{archive}"
    return Edition(folder, pixels, megabytes, md5, archive, url)


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
        return tuple(variant for variant in self.editions if variant)

    def variant_for(self, image_size: int) -> str:
        """The smallest edition whose images need no enlarging."""
        large = (v for v, e in self.editions.items() if (e.pixels or image_size) >= image_size)
        return next(large, list(self.editions)[-1])


def _cifar(name: str, folder: str, binary: str, megabytes: int, md5: str) -> Edition:
    archive = f"{name}-python.tar.gz"
    url = f"https://www.cs.toronto.edu/~kriz/{archive}"
    also = (f"{name}-{binary}", f"{name}-binary.tar.gz")
    return Edition(folder, 32, megabytes, md5, archive, url, unpack=False, also=also)


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

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)

CATALOGUE = {
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
                "160": _fastai("imagenette2-160", 160, 99, "e793b78cc4c9e9a4ccc0c1155377a412"),
                "320": _fastai("imagenette2-320", 320, 342, "3df6f0d01a2c9592104656642f5e78a3"),
                "full": _fastai("imagenette2", None, 1557, "fe2fc210e6bb7c5664d602c3cd71e612"),
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
                "160": _fastai("imagewoof2-160", 160, 90),
                "320": _fastai("imagewoof2-320", 320, 330),
                "full": _fastai("imagewoof2", None, 1340),
            },
            licence="Apache 2.0 for the selection; the photographs' own for each",
            source="https://github.com/fastai/imagenette",
        ),
        DatasetInfo(
            name="cifar10",
            description="ten classes, 60,000 colour images of 32 × 32",
            num_classes=10,
            image_size=32,
            crop=Crop(scale=(0.6, 1.0)),
            mean=(125.3, 123.0, 113.9),
            std=(63.0, 62.1, 66.7),
            classes=CIFAR10,
            counts=(50_000, 10_000),
            editions={
                "": _cifar(
                    *("cifar-10", "cifar-10-batches-py", "batches-bin", 170),
                    "c58f30108f718f92721af3b95e74349a",
                )
            },
            licence="none given by its publisher",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="cifar100",
            description="a hundred classes, 60,000 colour images of 32 × 32",
            num_classes=100,
            image_size=32,
            crop=Crop(scale=(0.6, 1.0)),
            mean=(129.3, 124.1, 112.4),
            std=(68.2, 65.4, 70.4),
            counts=(50_000, 10_000),
            editions={
                "": _cifar(
                    *("cifar-100", "cifar-100-python", "binary", 169),
                    "eb9058c3a382ffc7106e4002c42a8d85",
                )
            },
            licence="none given by its publisher",
            source="https://www.cs.toronto.edu/~kriz/cifar.html",
        ),
        DatasetInfo(
            name="imagenet",
            description="ILSVRC 2012, 1,000 classes; your own copy, in folders or as archives",
            num_classes=1000,
            image_size=224,
            counts=(1_281_167, 50_000),
            editions={"": Edition("imagenet", None)},
            licence="research only, from its publisher on request",
            source="https://image-net.org/download.php",
        ),
        DatasetInfo(
            name="places365",
            description="365 kinds of places; 24 GB, or your own copy of the original sizes",
            num_classes=365,
            image_size=224,
            counts=(1_803_460, 36_500),
            editions={
                "256": Edition(
                    "places365_standard",
                    256,
                    24_000,
                    archive="places365standard_easyformat.tar",
                    url="http://data.csail.mit.edu/places/places365/places365standard_easyformat.tar",
                    unpack=False,
                ),
                "full": Edition("places365", None),
            },
            licence="research only",
            source="http://places2.csail.mit.edu",
        ),
    )
}
