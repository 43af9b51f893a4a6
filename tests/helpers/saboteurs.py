"""Tricks that leave their process dirty, or end it."""

from __future__ import annotations

import os
import signal
from typing import Any

import torch

from ablate import Augmentation, Mixer, Trick, hookimpl


class DirtyDtype(Trick):
    """Changes the default dtype after training."""

    @hookimpl
    def on_epoch_end(self) -> None:
        torch.set_default_dtype(torch.float64)


class DirtyPatch(Trick):
    """Monkeypatches the loss for everybody after."""

    @hookimpl
    def on_epoch_end(self) -> None:
        original = torch.nn.functional.cross_entropy
        torch.nn.functional.cross_entropy = lambda *a, **k: 2 * original(*a, **k)


class DirtyFlags(Trick):
    """Leaves generators, threads, folder and environment changed."""

    @hookimpl
    def on_epoch_end(self) -> None:
        torch.manual_seed(99)
        torch.set_num_threads(2)
        torch.set_float32_matmul_precision("medium")
        torch.autograd.set_detect_anomaly(True)
        os.chdir("/")
        os.environ["OMP_NUM_THREADS"] = "7"


class Raises(Trick):
    """Raises in a hook."""

    @hookimpl
    def on_step_end(self) -> None:
        raise ValueError("as written")


class Forgets(Trick):
    """Forgets its `return`."""

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Any:
        targets = yield
        targets * 2


class Dies(Trick):
    """Kills its own process."""

    @hookimpl
    def on_step_end(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class DiesWhenDone(Trick):
    """Kills its own process when its trial's ending is written, and nobody has been told."""

    @hookimpl
    def on_trial_start(self) -> None:
        from ablate.store.attempt_writer import Attempt

        finish = Attempt.finish

        def last(*args: Any, **more: Any) -> None:
            finish(*args, **more)
            os.kill(os.getpid(), signal.SIGKILL)

        Attempt.finish = last


class Explodes(Trick):
    """Makes the loss infinite."""

    @hookimpl(wrapper=True)
    def compute_loss(self) -> Any:
        loss = yield
        return loss * float("inf")


class Hungry(Trick):
    """Asks for more memory than there is."""

    @hookimpl
    def on_step_end(self) -> None:
        torch.empty(1 << 50, dtype=torch.uint8)


class Idle(Trick):
    """Finds nothing to do only when it trains."""

    @hookimpl
    def on_trial_start(self) -> None:
        from ablate.errors import NoEffect

        raise NoEffect(self.name, "nothing to act on")


class Slow(Trick):
    """Takes its time, so that a test can interrupt it."""

    @hookimpl
    def on_step_end(self) -> None:
        import time

        time.sleep(0.05)


class BadMixer(Trick):
    """Raises when the mixer is called."""

    @hookimpl
    def batch_mixers(self) -> Mixer:
        def apply(images: Any, targets: Any, draws: Any) -> Any:
            raise ValueError("no partner")

        return Mixer(self.name, apply)


class WrongMixer(Trick):
    """Drops half of the batch."""

    @hookimpl
    def batch_mixers(self) -> Mixer:
        return Mixer(self.name, lambda images, targets, draws: (images[::2], targets[::2]))


class BadSchedule(Trick):
    """Raises when the schedule is called."""

    @hookimpl
    def build_schedule(self) -> Any:
        return lambda step, start, total: 1 / 0


class BadAugmentation(Trick):
    """Raises when the images are augmented."""

    @hookimpl
    def augmentations(self) -> list[Augmentation]:
        return [Augmentation("colour", self.name, 1, _too_dark)]


class Leaves(Trick):
    """Calls sys.exit, as code made for a script does."""

    @hookimpl
    def on_step_end(self) -> None:
        import sys

        sys.exit(3)


class Interrupts(Trick):
    """Raises what Ctrl-C raises, where nobody has pressed it."""

    @hookimpl(wrapper=True)
    def encode_targets(self) -> Any:
        yield
        raise KeyboardInterrupt


def _too_dark(images: Any, u: Any, size: int) -> Any:
    raise RuntimeError("too dark")


class Heavy(Trick):
    """Has a state of 48 MB, so that writing a checkpoint takes longer than an epoch."""

    _steps: int = 0

    def state_dict(self) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(self._steps)
        return {"steps": self._steps, "filling": torch.rand(12 << 20, generator=generator)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        generator = torch.Generator().manual_seed(state["steps"])
        assert torch.equal(state["filling"], torch.rand(12 << 20, generator=generator))
        self._steps = state["steps"]

    @hookimpl
    def on_step_end(self) -> None:
        self._steps += 1
