"""A store, and trials that were trained in it."""

from __future__ import annotations

from tests.helpers.store_samples import store, trained

__all__ = ["store", "trained"]
