"""The study that `ablate init` writes."""

from __future__ import annotations

_TEXT = """\
[study]
datasets = ["digits"]             # ablate datasets lists them; digits needs no download
seeds    = 3                      # 3 sees big effects only; ablate plan says how big
stack    = ["warmup", "mixup"]    # rows of the table, in this order; ablate tricks lists them

[recipe]                          # the baseline: what every row shares
model      = "resnet18_small"
epochs     = 20
batch_size = 64
lr         = 0.025

[tricks]                          # parameters; what is left out has the trick's default
mixup = { alpha = 0.2 }           # ablate tricks show mixup
"""


def init_text() -> str:
    """A small study with comments, ready to be trained and edited."""
    return _TEXT
