"""The batched crop on the device against torchvision's kernel, image by image, and its images/s."""

from __future__ import annotations

import time

import numpy as np
from measure import Result, Row, wait
from place import Place

from ablate.data.resample import crops, resample_batched, resample_each


def measure(place: Place) -> Result:
    """Raises AssertionError where one value differs by more than 1 of 255."""
    result = Result()
    split = place.cached().train
    generator = np.random.default_rng(0)
    ids = split.ids[: 32 if place.tiny else 512]
    heights, widths = split.heights[ids], split.widths[ids]
    h = np.maximum(2, (heights * generator.uniform(0.3, 1, len(ids))).astype(np.int64))
    w = np.maximum(2, (widths * generator.uniform(0.3, 1, len(ids))).astype(np.int64))
    top = (generator.uniform(0, 1, len(ids)) * (heights - h + 1)).astype(np.int64)
    left = (generator.uniform(0, 1, len(ids)) * (widths - w + 1)).astype(np.int64)
    for size in (16,) if place.tiny else (128, 160, 224):
        views = crops(top, left, h, w, size)
        native = split.packed(ids)
        expected = resample_each(native, views, size)
        native.buffer = native.buffer.to(place.device)
        got = resample_batched(native, views, size)
        difference = (got.cpu().int() - expected.int()).abs()
        assert difference.max() <= 1, f"{size} px: {difference.max()} of 255"
        rates = []
        for number in range(place.repeats + 1):
            wait(place.device)
            began = time.perf_counter()
            resample_batched(native, views, size)
            wait(place.device)
            if number:
                rates.append(len(ids) / (time.perf_counter() - began))
        result.rows.append(Row(f"crops of {size} px", rates, "images/s"))
        result.details[f"{size} px"] = {
            "images": len(ids),
            "largest difference of 255": int(difference.max()),
            "share of values that differ": float((difference > 0).double().mean()),
        }
    return result
