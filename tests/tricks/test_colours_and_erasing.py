"""random_erasing, color_jitter and pca_lighting against torchvision, colorsys and NumPy."""

from __future__ import annotations

import colorsys
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import stats
from torch import Tensor
from torchvision.transforms import RandomErasing as Published
from torchvision.transforms import functional as F

from ablate import Augmentation, NoEffect, Trial, Trick
from ablate.core import rng
from ablate.core.hook_types import Ragged
from ablate.data.pipeline import Pipeline, Task
from ablate.testing import check_trick
from ablate.tricks.hooks import Hooks
from ablate_tricks.color_jitter import ColorJitter
from ablate_tricks.pca_lighting import PcaLighting
from ablate_tricks.random_erasing import Erase, RandomErasing
from tests.helpers.support import recipe, run, same, trial, weights

B, SIZE = 16, 20
PIXELS = np.random.default_rng(0).integers(0, 256, (B, 3, SIZE, SIZE), dtype=np.uint8)
IMAGES = torch.from_numpy(PIXELS)
TRICKS = [RandomErasing(p=1.0), RandomErasing(p=1.0, fill="noise"), ColorJitter(), PcaLighting()]


def augmentation(trick: Trick) -> Augmentation:
    [_, [made]] = Hooks([trick]).augmentations(recipe(mean=(10, 20, 30), std=(50.0, 60.0, 70.0)))
    assert isinstance(made, Augmentation)
    return made


def uniforms(made: Augmentation, count: int = B) -> NDArray[np.float64]:
    return rng.uniforms(rng.stream_key(0, "test", made.name), np.arange(count), made.draws)


def given(made: Augmentation) -> Tensor:
    return IMAGES if made.slot in ("colour", "policy") else IMAGES.float() / 50


@pytest.mark.parametrize("trick", TRICKS, ids=lambda t: t.describe())
def test_an_image_depends_on_its_own_draws_only(trick: Trick) -> None:
    made = pickle.loads(pickle.dumps(augmentation(trick)))
    images, u = given(made), uniforms(made)
    before = images.clone()
    together = made.apply(images, u, SIZE)
    assert torch.equal(images, before), "what it was given is written to"
    assert together.dtype == images.dtype
    alone = torch.cat([made.apply(images[i : i + 1], u[i : i + 1], SIZE) for i in range(B)])
    assert torch.equal(together, alone)
    assert len({image.numpy().tobytes() for image in together - images}) == B


@pytest.mark.parametrize("trick", TRICKS, ids=lambda t: t.describe())
def test_it_trains_and_keeps_the_contract(trick: Trick) -> None:
    plain, _ = run(limit=32, epochs=1)
    other, _ = run([type(trick)(**trick.model_dump())], limit=32, epochs=1)
    assert other.step == 2
    assert not same(weights(plain), weights(other))
    assert "weights" in check_trick(type(trick), **trick.model_dump())


def test_the_box_is_erased_as_torchvision_erases_it() -> None:
    trick = RandomErasing(p=0.7)
    made = augmentation(trick)
    erase, u, images = made.apply, uniforms(made), IMAGES.float() + 1
    assert isinstance(erase, Erase)
    erased = erase(images, u, SIZE)
    chosen = 0
    for i, (top, left, h, w) in enumerate(zip(*erase.boxes(u, SIZE, SIZE), strict=True)):
        expected = F.erase(images[i], int(top), int(left), int(h), int(w), torch.tensor(0.0))
        assert torch.equal(erased[i], expected)
        assert (h > 0) == (u[i, 0] < 0.7)
        chosen += bool(h > 0)
    assert 0 < chosen < B


def test_boxes_are_distributed_as_torchvisions() -> None:
    count, scale, ratio = 2000, (0.02, 0.4), (0.3, 1 / 0.3)
    made = augmentation(RandomErasing(p=1.0, scale=scale, ratio=ratio))
    assert isinstance(made.apply, Erase)
    ours = np.stack(made.apply.boxes(uniforms(made, count), 96, 96), 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = torch.zeros(3, 96, 96)
        theirs = np.array(
            [Published.get_params(image, scale, ratio, [0.0])[:4] for _ in range(count)]
        )
    assert (ours[:, 2] > 0).all()
    for a, b in zip(features(ours), features(theirs), strict=True):
        assert stats.ks_2samp(a, b).pvalue > 1e-3


def features(boxes: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    top, left, h, w = boxes.astype(np.float64).T
    return [top, left, h, w, h * w, h / w, top / (96 - h), left / (96 - w)]


def test_a_box_that_never_fits_leaves_the_image() -> None:
    made = augmentation(RandomErasing(p=1.0, scale=(0.9, 0.95), ratio=(50, 60)))
    images = IMAGES.float()
    assert torch.equal(made.apply(images, uniforms(made), SIZE), images)
    with torch.random.fork_rng(devices=[]):
        found = Published.get_params(images[0], (0.9, 0.95), (50, 60), [0.0])
    assert found[:4] == (0, 0, SIZE, SIZE)  # torchvision then puts the image over itself
    assert torch.equal(found[4], images[0])


def test_noise_is_standard_normal_in_the_same_boxes() -> None:
    plain = augmentation(RandomErasing(p=1.0))
    noisy = augmentation(RandomErasing(p=1.0, fill="noise"))
    images = torch.full((200, 3, 32, 32), 7.0)
    u = uniforms(plain, 200)
    inside = plain.apply(images, u, 32) == 0
    result = noisy.apply(images, u, 32)
    assert torch.equal(result != 7, inside)
    values = result[inside].numpy()
    assert len(np.unique(values)) > 0.99 * len(values)
    assert stats.kstest(values[:5000], "norm").pvalue > 1e-3


@pytest.mark.parametrize("wrong", [{"scale": (0.4, 0.1)}, {"ratio": (2, 1)}, {"scale": (0, 1)}])
def test_ranges_that_are_none_are_refused(wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValidationError):
        RandomErasing.model_validate(wrong)


def coefficients(made: Augmentation, strength: float) -> NDArray[np.float64]:
    return 1 - strength + 2 * strength * uniforms(made)


def test_shifted_hue_saturation_and_brightness_are_torchvisions() -> None:
    made = augmentation(ColorJitter(hue="shift"))
    result = made.apply(IMAGES, uniforms(made), SIZE)
    for image, ours, (hue, saturation, brightness) in zip(
        IMAGES, result, coefficients(made, 0.4), strict=True
    ):
        x = F.adjust_hue(image.double() / 255, hue - 1)
        x = F.adjust_brightness(F.adjust_saturation(x, saturation), brightness)
        off = (ours - 255 * x).abs()
        assert off.max() < 0.501, "more than the rounding"


def test_scaled_hue_is_hsvs_angle() -> None:
    """colorsys of the standard library has HSV; what follows is torchvision's."""
    made = augmentation(ColorJitter())
    result = made.apply(IMAGES, uniforms(made), SIZE)
    for i, (hue, saturation, brightness) in enumerate(coefficients(made, 0.4)[:4]):
        pixels = PIXELS[i].reshape(3, -1).T / 255
        hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels.tolist()]
        rgb = np.array([colorsys.hsv_to_rgb(h * hue % 1, s, v) for h, s, v in hsv])
        x = torch.from_numpy(rgb.T.reshape(3, SIZE, SIZE))
        x = F.adjust_brightness(F.adjust_saturation(x, saturation), brightness)
        assert (result[i] - 255 * x).abs().max() < 0.51


def test_coefficients_of_one_change_nothing() -> None:
    for hue in ("scale", "shift"):
        made = augmentation(ColorJitter.model_validate({"hue": hue}))
        assert torch.equal(made.apply(IMAGES, np.full((B, 3), 0.5), SIZE), IMAGES)


def test_greys_keep_their_hue_and_saturation() -> None:
    grey = IMAGES[:, :1].expand(-1, 3, -1, -1)
    made = augmentation(ColorJitter(strength=1.0))
    u = uniforms(made)
    u[:, 2] = 0.5  # brightness × 1
    assert (made.apply(grey, u, SIZE).int() - grey.int()).abs().max() <= 1  # 0.2989 + … is 0.9999


def test_lighting_is_the_sum_by_hand() -> None:
    """λ and v as in the paper's list, on pixels in [0, 255], before they are normalised."""
    made = augmentation(PcaLighting(std=0.3))
    u = uniforms(made)
    mean, std = np.array([10, 20, 30]), np.array([50.0, 60.0, 70.0])
    normalised = torch.from_numpy((PIXELS - mean[:, None, None]) / std[:, None, None]).float()
    result = made.apply(normalised, u, SIZE).numpy()
    for i in range(B):
        c = [
            0.3 * np.sqrt(-2 * np.log(1 - u[i, k])) * np.cos(2 * np.pi * u[i, 3 + k])
            for k in range(3)
        ]
        red = -0.5675 * 55.46 * c[0] + 0.7192 * 4.794 * c[1] + 0.4009 * 1.148 * c[2]
        green = -0.5808 * 55.46 * c[0] + -0.0045 * 4.794 * c[1] + -0.8140 * 1.148 * c[2]
        blue = -0.5836 * 55.46 * c[0] + -0.6948 * 4.794 * c[1] + 0.4203 * 1.148 * c[2]
        lit = PIXELS[i] + np.array([red, green, blue])[:, None, None]
        expected = (lit - mean[:, None, None]) / std[:, None, None]
        np.testing.assert_allclose(result[i], expected, atol=2e-6)


def test_lighting_has_the_papers_distribution() -> None:
    """v is orthonormal (to its four digits), so that projecting gives N(0, 0.1·λ) back."""
    made = augmentation(PcaLighting())
    zero = torch.zeros(2000, 3, 1, 1)
    colours = made.apply(zero, uniforms(made, 2000), 1)[:, :, 0, 0].numpy() * [50.0, 60.0, 70.0]
    vectors = np.array(
        [[-0.5675, -0.5808, -0.5836], [0.7192, -0.0045, -0.6948], [0.4009, -0.8140, 0.4203]]
    )
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(3), atol=2e-3)
    for vector, value in zip(vectors, (55.46, 4.794, 1.148), strict=True):
        # float32 sums of the large component leave traces in the small ones
        projected = colours @ vector
        if value > 2:
            assert stats.kstest(projected, "norm", args=(0, 0.1 * value)).pvalue > 1e-3


def test_lighting_acts_on_normalised_pixels_before_erasing() -> None:
    tricks = [RandomErasing(p=1.0), PcaLighting(), ColorJitter()]
    each = Hooks(tricks).augmentations(recipe())
    pipeline = Pipeline.of([a for some in each for a in some], 0)
    names = [a.name for a in pipeline.augmentations]
    assert names[-4:] == ["color_jitter", "normalise", "pca_lighting", "random_erasing"]
    flat = torch.from_numpy(PIXELS.transpose(0, 2, 3, 1).reshape(-1).copy())
    sides = np.full(B, SIZE)
    ragged = Ragged(flat, np.arange(B) * 3 * SIZE * SIZE, sides, sides)
    images = pipeline(ragged, Task(np.arange(B), 0, 12))
    assert ((images == 0).sum(dim=(1, 2, 3)) > 0).all(), "erased pixels are lit"


def erasing(**settings: Any) -> tuple[RandomErasing, Trial]:
    trick = RandomErasing.model_validate(settings)
    return trick, trial(image_size=SIZE)


@pytest.mark.parametrize(
    "settings", [{"scale": (1e-5, 2e-5)}, {"scale": (0.99, 0.995), "ratio": (1, 1)}]
)
def test_boxes_that_erase_nothing_are_refused_when_planning(settings: dict[str, Any]) -> None:
    """Less than half a pixel, and a box that torchvision, too, refuses as too large."""
    trick, planned = erasing(**settings)
    torch.manual_seed(0)
    image = IMAGES[0].float()
    boxes = [Published.get_params(image, trick.scale, trick.ratio) for _ in range(50)]
    whole = (0, 0, SIZE, SIZE)  # what torchvision answers where no box fits
    assert all(box[:4] == whole or box[2] * box[3] == 0 for box in boxes)
    with pytest.raises(NoEffect, match="no box of this scale and ratio fits into 20 pixels"):
        trick.preflight(planned)


def test_boxes_that_seldom_fit_are_told_with_the_share_that_is_erased() -> None:
    trick, planned = erasing(scale=(0.7, 0.9), p=0.5)
    trick.preflight(planned)
    [said] = trick.warnings(planned.recipe)
    torch.manual_seed(0)
    image = IMAGES[0].float()
    whole = (0, 0, SIZE, SIZE)
    fitting = sum(
        Published.get_params(image, trick.scale, trick.ratio)[:4] != whole for _ in range(2000)
    )
    share = re.search(r"(\d+)% of the time, so that (\d+)% of the images", said)
    assert share is not None
    assert int(share[1]) == pytest.approx(fitting / 20, abs=5)
    assert int(share[2]) == pytest.approx(int(share[1]) / 2, abs=1)
    assert RandomErasing().warnings(planned.recipe) == []
