"""Everything that needs a GPU, in one call: correctness first, then throughput, then real studies.

    python benchmarks/gpu.py --out FOLDER --data ROOT [--part NAME …] [--minutes 10] [--tiny]

Each part writes `FOLDER/<part>.json` (result, hardware, versions, command, date) as soon as it is
done, and is skipped when that file is there: the same call continues. A part that fails writes its
error and the others go on. `--tiny` runs every part in small on any device, `--device cpu`
included: that is how it is kept working where there is no GPU.

Parts: augment    the batched crop on the device against torchvision's, image by image
       exact      the `exact` profile: the same trial twice, and resumed, bit for bit
       formats    FP16 and BF16 against FP32: losses of the first steps, weights stay FP32
       throughput the engine's step against a bare loop on the same batches, paired, interleaved
       data       real images through the loader against synthetic batches on the device
       studies    group1 and group2 through the command line, and with --editions the Imagenette
                  editions of the paper's tables (--seeds N for fewer or more of each row)
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from real_studies import Place, UnfinishedError, run_studies
from torch import nn

from ablate import Trick
from ablate.data.cache import ensure_cache
from ablate.data.cached import CachedDataset
from ablate.data.catalogue import dataset_info
from ablate.data.loader import RawBatch, TrialData, open_data
from ablate.data.resample import crops, resample_batched, resample_each
from ablate.engine import train
from ablate.models import build_model
from ablate.models.init import initialise
from ablate.recipe import Recipe
from ablate.training_process import cpu_name, set_numerics
from ablate.trial import Numerics, Trial
from ablate_tricks.bf16 import Bf16
from ablate_tricks.fp16 import Fp16
from ablate_tricks.label_smoothing import LabelSmoothing
from ablate_tricks.mixup import Mixup
from ablate_tricks.warmup import Warmup
from ablate_tricks.zero_gamma import ZeroGamma

ROOT = Path(__file__).resolve().parent.parent


class Setting:
    """What was asked for on the command line, and what follows from it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.tiny: bool = options.tiny
        self.device = torch.device(options.device)
        self.data: Path = options.data
        self.out: Path = options.out
        self.editions: bool = options.editions
        self.seeds: int | None = options.seeds
        self.ends = time.monotonic() + 60 * options.minutes
        self.dataset = "digits" if options.tiny else "imagenette"
        self.model = "resnet8" if options.tiny else "resnet50_v1"

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def cached(self) -> CachedDataset:
        return ensure_cache(self.dataset, self.data, 160)

    def recipe(self, **settings: Any) -> Recipe:
        info = dataset_info(self.dataset)
        size = settings.pop("image_size", 16 if self.tiny else 128)
        defaults: dict[str, Any] = {
            "model": self.model,
            "epochs": 1,
            "batch_size": 16 if self.tiny else 64,
            "image_size": size,
            "eval_size": size,
            "eval_resize": round(size * 256 / 224),
            "crop": info.crop,
            "flip": info.flip,
            "mean": info.mean,
            "std": info.std,
        }
        return Recipe(**(defaults | settings))

    def trial(self, profile: str, recipe: Recipe, limit: int | None = None) -> Trial:
        return Trial(
            recipe=recipe,
            dataset=self.cached().limited(limit).ref(limit),
            tricks=(),
            numerics=Numerics.named(profile, self.device.type),
            seed=0,
        )

    def wait(self) -> None:
        """For the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


class Memory:
    """A recorder in memory; `state` is the checkpoint after the first epoch."""

    def __init__(self, saved: dict[str, Any] | None = None) -> None:
        self.saved = saved
        self.state: dict[str, Any] | None = None
        self.records: list[dict[str, Any]] = []

    def resume(self) -> dict[str, Any] | None:
        return self.saved

    def epoch(self, record: dict[str, Any], state: Callable[[], dict[str, Any]]) -> None:
        import copy

        self.records.append(record)
        if self.state is None:
            self.state = copy.deepcopy(state())

    def finished(self, run: Any, tested: Any, model: Any) -> None:
        self.scores = tested.scores

    def check(self, run: Any) -> None:
        pass


def trained(
    setting: Setting,
    trial: Trial,
    tricks: Sequence[Trick] = (),
    saved: dict[str, Any] | None = None,
) -> tuple[dict[str, torch.Tensor], Memory]:
    """(weights, what was recorded) of a trial in this process."""
    set_numerics(trial.numerics)
    memory = Memory(saved)
    cached = setting.cached().limited(trial.dataset.limit)
    layout = trial.numerics.channels_last
    run = train(
        trial,
        tricks,
        lambda augmentations: open_data(
            cached, trial.recipe, augmentations, 0, setting.device, channels_last=layout
        ),
        setting.device,
        memory,
    )
    return {k: v.detach().cpu().clone() for k, v in run.model.state_dict().items()}, memory


# ---------------------------------------------------------------------------------------- parts


def augment(setting: Setting) -> dict[str, Any]:
    """Differences of the batched crop from torchvision's kernel, and its images/s."""
    split = setting.cached().train
    generator = np.random.default_rng(0)
    ids = split.ids[: 64 if setting.tiny else 512]
    heights, widths = split.heights[ids], split.widths[ids]
    h = np.maximum(2, (heights * generator.uniform(0.3, 1, len(ids))).astype(np.int64))
    w = np.maximum(2, (widths * generator.uniform(0.3, 1, len(ids))).astype(np.int64))
    top = (generator.uniform(0, 1, len(ids)) * (heights - h + 1)).astype(np.int64)
    left = (generator.uniform(0, 1, len(ids)) * (widths - w + 1)).astype(np.int64)
    result: dict[str, Any] = {"images": len(ids)}
    for size in (16,) if setting.tiny else (128, 160, 224):
        views = crops(top, left, h, w, size)
        native = split.packed(ids)
        expected = resample_each(native, views, size)
        native.buffer = native.buffer.to(setting.device)
        got = resample_batched(native, views, size)
        difference = (got.cpu().int() - expected.int()).abs()
        seconds = []
        for _ in range(6):
            setting.wait()
            began = time.perf_counter()
            resample_batched(native, views, size)
            setting.wait()
            seconds.append(time.perf_counter() - began)
        result[str(size)] = {
            "largest difference of 255": int(difference.max()),
            "share of values that differ": float((difference > 0).double().mean()),
            "images per second": spread([len(ids) / s for s in seconds[1:]]),
        }
        assert difference.max() <= 1
    return result


def exact(setting: Setting) -> dict[str, Any]:
    """The `exact` profile gives the same bits twice, and when resumed after an epoch."""
    limit = 64 if setting.tiny else 1280
    result: dict[str, Any] = {}
    for name, tricks in {
        "fp32": [Mixup()],
        "fp16": [Fp16(), Mixup()],
        "bf16": [Bf16(), Mixup()],
    }.items():
        trial = setting.trial("exact", setting.recipe(epochs=2), limit)
        one, first = trained(setting, trial, tricks)
        two, _ = trained(setting, trial, tricks)
        three, _ = trained(setting, trial, tricks, saved=first.state)
        result[name] = {
            "repeated": all(torch.equal(one[k], two[k]) for k in one),
            "resumed": all(torch.equal(one[k], three[k]) for k in one),
        }
    return result


def formats(setting: Setting) -> dict[str, Any]:
    """Training loss and accuracy after two epochs in each number format, profile `fast`."""
    limit = 64 if setting.tiny else 2560
    result = {}
    for name, tricks in {"fp32": [], "fp16": [Fp16()], "bf16": [Bf16()]}.items():
        trial = setting.trial("fast", setting.recipe(epochs=2), limit)
        weights, memory = trained(setting, trial, tricks)
        result[name] = {
            "train_loss": [r["metrics"]["train_loss"] for r in memory.records],
            "top1": memory.records[-1]["metrics"]["top1"],
            "weights": sorted({str(v.dtype) for v in weights.values() if v.is_floating_point()}),
            "seconds": [r["seconds"] for r in memory.records],
        }
    return result


class Synthetic(TrialData):
    """Batches that are on the device already, the same ones every epoch."""

    def __init__(self, setting: Setting, recipe: Recipe, steps: int, layout: Any) -> None:
        size, count = recipe.image_size, recipe.batch_size
        assert size is not None
        generator = torch.Generator().manual_seed(0)
        self.steps_per_epoch = steps
        self._batch = RawBatch(
            np.arange(count),
            torch.randn(count, 3, size, size, generator=generator)
            .to(setting.device)
            .contiguous(memory_format=layout),
            torch.randint(10, (count,), generator=generator).to(setting.device),
        )

    def train_batches(self, epoch: int, size: int) -> Iterator[RawBatch]:
        return iter([self._batch] * self.steps_per_epoch)

    def eval_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
        yield self._batch.images, self._batch.labels, len(self._batch.labels)


def throughput(setting: Setting) -> dict[str, Any]:
    """Images/s of the engine and of a bare loop on the same synthetic batches, interleaved."""
    result: dict[str, Any] = {}
    repeats, steps = (2, 3) if setting.tiny else (5, 60)
    dtypes = {"fp32": None, "fp16": torch.float16}
    for size in (16,) if setting.tiny else (128, 160, 224):
        for batch in (16,) if setting.tiny else (64, 256):
            for name, dtype in dtypes.items():
                recipe = setting.recipe(image_size=size, batch_size=batch)
                trial = setting.trial("fast", recipe)
                set_numerics(trial.numerics)
                layout = (
                    torch.channels_last if trial.numerics.channels_last else torch.contiguous_format
                )
                data = Synthetic(setting, recipe, steps, layout)
                stacks: dict[str, list[Trick]] = {
                    "no tricks": [Fp16()] if dtype else [],
                    "tricks": [*([Fp16()] if dtype else []), Warmup(epochs=0.5), Mixup()]
                    + [LabelSmoothing(), ZeroGamma()],
                }
                bare(setting, recipe, data, dtype, layout)  # not counted: kernels are chosen here
                rates: dict[str, list[float]] = {"bare": [], **{k: [] for k in stacks}}
                for _ in range(repeats):
                    rates["bare"].append(bare(setting, recipe, data, dtype, layout))
                    for label, tricks in stacks.items():
                        rates[label].append(engine(setting, trial, data, tricks))
                result[f"{size} px, batch {batch}, {name}"] = {
                    "images per second": {k: spread(v) for k, v in rates.items()},
                    "step time ÷ bare loop's": {
                        k: spread([b / r for b, r in zip(rates["bare"], v, strict=True)])
                        for k, v in rates.items()
                        if k != "bare"
                    },
                }
    return result


def bare(setting: Setting, recipe: Recipe, data: Synthetic, dtype: Any, layout: Any) -> float:
    """Images/s of a loop as one writes it by hand."""
    model = initialise(build_model(recipe.model, 10), 0)
    model = model.to(device=setting.device, memory_format=layout).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=1e-4, nesterov=True
    )
    scaler = torch.amp.GradScaler(setting.device.type, enabled=dtype == torch.float16)
    setting.wait()
    began = time.perf_counter()
    for raw in data.train_batches(0, 0):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(setting.device.type, dtype=dtype, enabled=dtype is not None):
            loss = nn.functional.cross_entropy(model(raw.images), raw.labels)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    setting.wait()
    return data.steps_per_epoch * recipe.batch_size / (time.perf_counter() - began)


def engine(setting: Setting, trial: Trial, data: TrialData, tricks: Sequence[Trick]) -> float:
    """Images/s of the engine's own epoch."""
    memory = Memory()
    train(trial, tricks, lambda augmentations: data, setting.device, memory)
    record = memory.records[-1]
    return float(record["images"] / record["seconds"])


def data(setting: Setting) -> dict[str, Any]:
    """Images/s with real images, loaded and augmented, over synthetic ones on the device."""
    result = {}
    repeats, limit = (2, 64) if setting.tiny else (3, None)
    for size in (16,) if setting.tiny else (128, 160):
        recipe = setting.recipe(image_size=size, epochs=2, batch_size=16 if setting.tiny else 256)
        trial = setting.trial("fast", recipe, limit)
        tricks: list[Trick] = [] if setting.tiny else [Fp16()]
        layout = torch.channels_last if trial.numerics.channels_last else torch.contiguous_format
        real, synthetic = [], []
        for _ in range(repeats):
            _, memory = trained(setting, trial, tricks)
            real.append(memory.records[-1]["images"] / memory.records[-1]["seconds"])
            steps = memory.records[-1]["images"] // recipe.batch_size
            batches = Synthetic(setting, recipe, steps, layout)
            synthetic.append(engine(setting, trial, batches, tricks))
        result[f"{size} px"] = {
            "real images per second": spread(real),
            "synthetic images per second": spread(synthetic),
            "real ÷ synthetic": spread([r / s for r, s in zip(real, synthetic, strict=True)]),
        }
    return result


def studies(setting: Setting) -> dict[str, Any]:
    """Shipped studies on real images through the command line; see real_studies.py."""
    place = Place(
        data=setting.data,
        out=setting.out,
        device=str(setting.device),
        left=lambda: setting.left,
        provenance=provenance(setting),
    )
    return run_studies(place, editions=setting.editions, seeds=setting.seeds, tiny=setting.tiny)


PARTS: dict[str, Callable[[Setting], dict[str, Any]]] = {
    "augment": augment,
    "exact": exact,
    "formats": formats,
    "throughput": throughput,
    "data": data,
    "studies": studies,
}


def spread(values: Sequence[float]) -> dict[str, float]:
    """n, least, median and largest."""
    return {
        "n": len(values),
        "min": min(values),
        "median": statistics.median(values),
        "max": max(values),
    }


def provenance(setting: Setting) -> dict[str, Any]:
    """Hardware, versions, command, date."""
    import torchvision

    import ablate

    cuda = setting.device.type == "cuda"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", *sys.argv]),
        "device": torch.cuda.get_device_name(setting.device) if cuda else cpu_name(),
        "cuda": torch.version.cuda,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "ablate": ablate.__version__,
    }


def main() -> int:
    """Run the parts that have no result yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "ablate-gpu")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("ABLATE_DATA", ".")))
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--editions", action="store_true", help="of part studies: also those")
    parser.add_argument("--seeds", type=int, help="of part studies: instead of each study's own")
    setting = Setting(parser.parse_args())
    setting.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in parser.parse_args().part or PARTS:
        file = setting.out / f"{name}.json"
        if file.exists():
            print(f"{name}: done before, {file}")
            continue
        if setting.left < 15:
            print(f"{name}: no time left; run the same command again")
            continue
        began = time.monotonic()
        document: dict[str, Any] = {"part": name, **provenance(setting)}
        try:
            document["result"] = PARTS[name](setting)
        except UnfinishedError as rest:
            print(f"{name}: {rest}; run the same command again")
            continue
        except Exception:  # noqa: BLE001 - the other parts still count; this one is repeated
            failed += 1
            (setting.out / f"{name}.error").write_text(traceback.format_exc())
            print(f"{name}: FAILED\n{traceback.format_exc()}")
            continue
        document["seconds"] = time.monotonic() - began
        file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        print(f"{name}: {document['seconds']:.0f} s, {file}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
