"""Contender (b): timm's model, loader, mixup, loss and schedule, as its script drives them.

What that script is known to do, written anew: `create_dataset` and `create_loader` with the
prefetcher (uint8 batches, normalised on the device one batch ahead), `FastCollateMixup`,
`SoftTargetCrossEntropy` or `LabelSmoothingCrossEntropy`, `create_optimizer_v2` (no decay of biases
and norms), `create_scheduler_v2` stepped per update, channels last, automatic mixed precision with
`NativeScaler`, optionally `torch.compile`, an evaluation and a checkpoint after every epoch. No
waiting for the device in the step.

    python benchmarks/contenders/timm_script.py --data-dir IMAGES --model resnet50 --epochs 20 …
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from timm import create_model
from timm.data import FastCollateMixup, create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import NativeScaler
from torch import nn

FORMATS = {"none": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TimmTraining:
    """One training; `epoch()` does the next one."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.options, self.device = options, device
        self.dtype = FORMATS[options.amp_dtype]
        self.layout = torch.channels_last if options.channels_last else torch.contiguous_format
        model = create_model(options.model, num_classes=10)
        model = model.to(device=device, memory_format=self.layout)
        self.optimizer = create_optimizer_v2(
            model, opt="nesterov", lr=options.lr, weight_decay=options.weight_decay, momentum=0.9
        )
        self.model = torch.compile(model) if options.torchcompile else model
        collate = None
        if options.mixup > 0:
            collate = FastCollateMixup(
                mixup_alpha=options.mixup, label_smoothing=options.smoothing, num_classes=10
            )
        common = {
            "input_size": (3, options.img_size, options.img_size),
            "batch_size": options.batch_size,
            "num_workers": options.workers,
            "interpolation": "bilinear",
            "pin_memory": device.type == "cuda",
            "device": device,
            "use_prefetcher": True,
            "persistent_workers": options.workers > 0,
        }
        root = options.data_dir
        self.train = create_loader(
            create_dataset("", root=root, split="train", is_training=True),
            is_training=True, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5,
            color_jitter=0.0, collate_fn=collate, **common,
        )  # fmt: skip
        self.test = create_loader(
            create_dataset("", root=root, split="val"),
            is_training=False, crop_pct=0.875, **common,
        )  # fmt: skip
        if options.mixup > 0:
            self.loss: nn.Module = SoftTargetCrossEntropy()
        elif options.smoothing > 0:
            self.loss = LabelSmoothingCrossEntropy(smoothing=options.smoothing)
        else:
            self.loss = nn.CrossEntropyLoss()
        self.loss = self.loss.to(device)
        self.scaler = NativeScaler(device=device.type) if self.dtype == torch.float16 else None
        self.schedule, _ = create_scheduler_v2(
            self.optimizer, sched="cosine", num_epochs=options.epochs, min_lr=0.0,
            warmup_epochs=options.warmup_epochs, step_on_epochs=False,
            updates_per_epoch=len(self.train),
        )  # fmt: skip
        self.updates = self.epochs = 0

    def autocast(self) -> Any:
        """Of one forward pass."""
        return torch.autocast(
            self.device.type, dtype=self.dtype or torch.float16, enabled=self.dtype is not None
        )

    def epoch(self) -> tuple[int, float]:
        """(images, seconds) of the next epoch's training."""
        self.model.train()
        began, images = time.perf_counter(), 0
        self.optimizer.zero_grad()
        for native, target in self.train:
            inputs = native.contiguous(memory_format=self.layout)
            with self.autocast():
                loss = self.loss(self.model(inputs), target)
            if self.scaler is not None:
                self.scaler(loss, self.optimizer)
            else:
                loss.backward()
                self.optimizer.step()
            self.optimizer.zero_grad()
            self.updates += 1
            self.schedule.step_update(num_updates=self.updates)
            images += len(inputs)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        seconds = time.perf_counter() - began
        self.epochs += 1
        self.schedule.step(self.epochs)
        return images, seconds

    def evaluate(self) -> float:
        """Top-1 on the test images."""
        self.model.eval()
        right, count = torch.zeros((), device=self.device), 0
        with torch.inference_mode():
            for inputs, target in self.test:
                with self.autocast():
                    output = self.model(inputs.contiguous(memory_format=self.layout))
                right += (output.argmax(1) == target).sum()
                count += len(inputs)
        return float(right) / count

    def save(self, path: Path) -> None:
        """The last checkpoint."""
        state = {"state_dict": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**state, "epoch": self.epochs}, path)


def parser() -> argparse.ArgumentParser:
    """Its options, under its names."""
    p = argparse.ArgumentParser(description="one training, as timm's script does it")
    p.add_argument("--data-dir", required=True)
    p.add_argument("--output", type=Path)
    p.add_argument("--model", default="resnet50")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--amp-dtype", choices=FORMATS, default="none")
    p.add_argument("--channels-last", action="store_true")
    p.add_argument("--torchcompile", action="store_true")
    for name, default in {
        "epochs": 20, "batch-size": 64, "workers": 4, "img-size": 128, "warmup-epochs": 0,
        "seed": 42,
    }.items():  # fmt: skip
        p.add_argument(f"--{name}", type=int, default=default)
    for name, default in {
        "lr": 0.025, "weight-decay": 1e-4, "mixup": 0.0, "smoothing": 0.0
    }.items():  # fmt: skip
        p.add_argument(f"--{name}", type=float, default=default)
    return p


def main() -> int:
    """Train and evaluate, and print the last accuracy."""
    options = parser().parse_args()
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.manual_seed(options.seed)
    training = TimmTraining(options, torch.device(options.device))
    accuracy = 0.0
    for _ in range(options.epochs):
        training.epoch()
        accuracy = training.evaluate()
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            training.save(options.output / "last.pth.tar")
    print(f"{accuracy:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
