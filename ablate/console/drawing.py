"""Small drawings of the live view: bars and dots."""

from __future__ import annotations

DOTS = {"done": "●", "running": "◐", "new": "○", "shared": "◆"}
STYLES = {"done": "good", "running": "bold", "new": "dim", "shared": "good", "failed": "failed"}


def bar(fraction: float, cells: int) -> str:
    """`cells` wide: ━━━╸───."""
    filled = max(0.0, min(1.0, fraction)) * cells
    whole = int(filled)
    if whole >= cells:
        return "━" * cells
    return "━" * whole + "╸" + "─" * (cells - whole - 1)


def dot(status: str) -> tuple[str, str]:
    """(symbol, style) of a trial."""
    return DOTS.get(status, "✗"), STYLES.get(status, "failed")
