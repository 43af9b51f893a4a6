"""Small arrays on their way to the device, without anyone waiting for them.

A copy from pinned memory goes into the device's queue like a kernel; one from ordinary memory holds
the caller up until the device has caught up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor


def upload(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array on the device; on the CPU it shares the array's memory."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def upload_rows(device: torch.device, *rows: NDArray[Any]) -> list[Tensor]:
    """Arrays of one length, int64 or float64, each with its own type, in one copy."""
    table = upload(np.stack([row.view(np.int64) for row in rows]), device)
    return [
        sent.view(torch.float64) if row.dtype == np.float64 else sent
        for row, sent in zip(rows, table, strict=True)
    ]
