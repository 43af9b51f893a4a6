"""Every installed trick interrupted in one process and continued by `ablate run` in others."""

from __future__ import annotations

from pathlib import Path

from tests.helpers import faulty_runs
from tests.helpers.fault_table import Proved
from tests.helpers.installed import NAMES

# They refuse this little study, or need more than themselves; test_bit_exact_resume has them.
LEFT_OUT = {"distill", "resnet_b", "resnet_c", "progressive_resizing"}
ROWS = [name for name in NAMES if name not in LEFT_OUT]
STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1

[[ablation]]
kind  = "one_at_a_time"
stack = [{names}]

[recipe]
model      = "resnet8"
epochs     = 3
batch_size = 16
image_size = 8
"""


def test_each_trick_continues_with_the_same_bits_in_another_process(
    tmp_path: Path, proved: Proved
) -> None:
    names = ", ".join(f'"{name}"' for name in ROWS)
    (tmp_path / "study.toml").write_text(STUDY.format(names=names))
    done = faulty_runs.run(tmp_path, "whole")
    assert done.returncode == 0, done.stderr
    whole = faulty_runs.numbers(tmp_path / "whole")
    assert len(whole) > len(ROWS) * 0.8
    assert None not in whole.values()
    faulty_runs.stopped(tmp_path / "whole", tmp_path / "stopped")
    done = faulty_runs.run(tmp_path, "stopped")
    assert done.returncode == 0, done.stderr
    assert faulty_runs.numbers(tmp_path / "stopped") == whole
    logs = [max(f.glob("2*")) / "log.txt" for f in (tmp_path / "stopped/trials").iterdir()]
    assert all("after epoch 2" in log.read_text() for log in logs)
    proved(
        "checkpoints", "a study of one row for each trick is stopped, then run again",
        f"{len(whole)} trials interrupted in their third epoch, in one process; `ablate run`, "
        "which forks others", len(whole), "the running epochs; then as undisturbed",
    )  # fmt: skip
