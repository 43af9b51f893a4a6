"""Contender (c): torchvision's classification recipe: its data path, its loop, one run a process.

What it is known to do, written anew: ImageFolder of JPEGs decoded in every epoch, presets with
PIL or tensor transforms, a DataLoader, mixup in the collate function, SGD with separate decay for
norms, warmup by LinearLR and then a schedule per epoch, accuracies and `loss.item()` after every
step, an evaluation and a checkpoint after every epoch. The model is handed in, so that it is ours.

    python benchmarks/contenders/reference.py --data-path IMAGES --model resnet8 --epochs 3 …
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, default_collate
from torchvision.datasets import ImageFolder
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import InterpolationMode, v2
from torchvision.transforms import transforms as v1

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def train_preset(size: int, backend: str) -> Callable[[Any], Tensor]:
    """Random-resized crop, flip, to float, normalise: on PIL images, or on uint8 tensors."""
    crop = {"interpolation": InterpolationMode.BILINEAR, "antialias": True}
    if backend == "pil":
        return v1.Compose(
            [v1.RandomResizedCrop(size, **crop), v1.RandomHorizontalFlip(0.5),
             v1.PILToTensor(), v1.ConvertImageDtype(torch.float), v1.Normalize(MEAN, STD)]
        )  # fmt: skip
    return v2.Compose(
        [v2.RandomResizedCrop(size, **crop), v2.RandomHorizontalFlip(0.5),
         v2.ToDtype(torch.float, scale=True), v2.Normalize(MEAN, STD)]
    )  # fmt: skip


def eval_preset(resize: int, size: int) -> Callable[[Any], Tensor]:
    """Short side to `resize`, centre crop, to float, normalise."""
    return v1.Compose(
        [v1.Resize(resize, antialias=True), v1.CenterCrop(size), v1.PILToTensor(),
         v1.ConvertImageDtype(torch.float), v1.Normalize(MEAN, STD)]
    )  # fmt: skip


def folder(path: Path, transform: Callable[[Any], Tensor], backend: str = "pil") -> ImageFolder:
    """With its default loader, PIL's, or torchvision's own decoder."""
    if backend == "pil":
        return ImageFolder(str(path), transform)
    return ImageFolder(str(path), transform, loader=lambda p: decode_image(p, ImageReadMode.RGB))


class Reference:
    """One training; `epoch()` does the next one."""

    def __init__(
        self, model: nn.Module, options: argparse.Namespace, device: torch.device, classes: int
    ) -> None:
        self.options, self.device = options, device
        root = Path(options.data_path)
        self.model = model.to(device)
        self.layout = torch.channels_last if options.channels_last else torch.contiguous_format
        self.model = self.model.to(memory_format=self.layout)
        mixed = options.mixup_alpha > 0
        mixing = v2.MixUp(alpha=options.mixup_alpha, num_classes=classes) if mixed else None
        pin = device.type == "cuda"
        self.train = DataLoader(
            folder(root / "train", train_preset(options.train_crop_size, options.backend),
                   options.backend),
            batch_size=options.batch_size, shuffle=True, drop_last=True,
            num_workers=options.workers, pin_memory=pin,
            collate_fn=(lambda samples: mixing(*default_collate(samples))) if mixing else None,
        )  # fmt: skip
        self.test = DataLoader(
            folder(root / "val", eval_preset(options.val_resize_size, options.val_crop_size)),
            batch_size=options.batch_size, num_workers=options.workers, pin_memory=pin,
        )  # fmt: skip
        self.criterion = nn.CrossEntropyLoss(label_smoothing=options.label_smoothing)
        self.optimizer = torch.optim.SGD(
            self.groups(), lr=options.lr, momentum=0.9, weight_decay=options.weight_decay,
            nesterov=True,
        )  # fmt: skip
        self.scaler = torch.amp.GradScaler(device.type) if options.amp else None
        self.schedule = self.scheduler()
        self.epochs = 0

    def groups(self) -> list[dict[str, Any]]:
        """All parameters, or norms and biases apart where they have a decay of their own."""
        free = self.options.norm_weight_decay
        params = list(self.model.parameters())
        if free is None:
            return [{"params": params}]
        return [
            {"params": [p for p in params if p.ndim > 1]},
            {"params": [p for p in params if p.ndim <= 1], "weight_decay": free},
        ]

    def scheduler(self) -> Any:
        """Per epoch, after LinearLR over the warmup's epochs."""
        o, lr = self.options, torch.optim.lr_scheduler
        warm = o.lr_warmup_epochs
        if o.lr_scheduler == "cosineannealinglr":
            main: Any = lr.CosineAnnealingLR(self.optimizer, T_max=max(o.epochs - warm, 1))
        else:
            main = lr.StepLR(self.optimizer, step_size=max(o.epochs // 4, 1), gamma=0.1)
        if not warm:
            return main
        ramp = lr.LinearLR(self.optimizer, start_factor=0.01, total_iters=warm)
        return lr.SequentialLR(self.optimizer, schedulers=[ramp, main], milestones=[warm])

    def autocast(self) -> Any:
        """Of one forward pass."""
        return torch.autocast(
            self.device.type, dtype=torch.float16, enabled=self.scaler is not None
        )

    def epoch(self) -> tuple[int, float]:
        """(images, seconds) of the next epoch's training."""
        self.model.train()
        began, images, total = time.perf_counter(), 0, 0.0
        for native, truth in self.train:
            image = native.to(self.device).contiguous(memory_format=self.layout)
            target = truth.to(self.device)
            with self.autocast():
                output = self.model(image)
                loss = self.criterion(output, target)
            self.optimizer.zero_grad()
            if self.scaler is not None:
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
            else:
                loss.backward()
                self.optimizer.step()
            top1, _ = accuracies(output, target)
            total += loss.item() + top1.item()
            images += len(image)
        seconds = time.perf_counter() - began
        self.schedule.step()
        self.epochs += 1
        return images, seconds

    def evaluate(self) -> float:
        """Top-1 on the test images."""
        self.model.eval()
        right = count = 0
        with torch.inference_mode():
            for native, truth in self.test:
                image, target = native.to(self.device), truth.to(self.device)
                with self.autocast():
                    output = self.model(image)
                right += int((output.argmax(1) == target).sum())
                count += len(image)
        return right / count

    def save(self, path: Path) -> None:
        """As a run of the recipe leaves behind every epoch."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "lr_scheduler": self.schedule.state_dict()}, path)


def accuracies(output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Top 1 and top 5, of hard labels or the largest of mixed ones."""
    with torch.inference_mode():
        truth = target.max(dim=1)[1] if target.ndim == 2 else target
        best = output.topk(min(5, output.shape[1]), 1).indices.t()
        hits = best.eq(truth[None])
        return hits[0].float().mean(), hits.any(0).float().mean()


def parser() -> argparse.ArgumentParser:
    """Its options, under its names."""
    p = argparse.ArgumentParser(description="one training, as torchvision's recipe does it")
    p.add_argument("--data-path", required=True)
    p.add_argument("--output-dir", type=Path)
    p.add_argument("--model", default="resnet8", help="a name that `ablate models` has")
    p.add_argument("--device", default="cpu")
    p.add_argument("--backend", choices=("pil", "tensor"), default="pil")
    p.add_argument("--amp", action="store_true")
    p.add_argument("--channels-last", action="store_true")
    for name, default in {
        "epochs": 3, "batch-size": 32, "workers": 0, "train-crop-size": 32, "threads": 0,
        "val-resize-size": 37, "val-crop-size": 32, "lr-warmup-epochs": 0, "seed": 0,
    }.items():  # fmt: skip
        p.add_argument(f"--{name}", type=int, default=default)
    for name, default in {
        "lr": 0.025, "weight-decay": 1e-4, "label-smoothing": 0.0, "mixup-alpha": 0.0
    }.items():  # fmt: skip
        p.add_argument(f"--{name}", type=float, default=default)
    p.add_argument("--norm-weight-decay", type=float)
    p.add_argument("--lr-scheduler", default="steplr")
    return p


def main() -> int:
    """Train and evaluate, and print the last accuracy."""
    from ablate.models import build_model

    options = parser().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    training = Reference(
        build_model(options.model, 10), options, torch.device(options.device), classes=10
    )
    accuracy = 0.0
    for _ in range(options.epochs):
        training.epoch()
        accuracy = training.evaluate()
        if options.output_dir:
            options.output_dir.mkdir(parents=True, exist_ok=True)
            training.save(options.output_dir / "checkpoint.pth")
    print(f"{accuracy:.4f}")
    return 0


def cycled(loader: DataLoader[Any]) -> Iterator[Any]:
    """Batch after batch, epoch after epoch."""
    while True:
        yield from loader


if __name__ == "__main__":
    sys.exit(main())
