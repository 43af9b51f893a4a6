"""Where results go when nobody says."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_STORE = "ablate-results"


def store_path() -> Path:
    """ABLATE_STORE, else `ablate-results` in the working directory."""
    return Path(os.environ.get("ABLATE_STORE") or DEFAULT_STORE).expanduser()
