"""`ablate doctor` on what limits a machine: containers' files as kernels write them, real disks."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from ablate.cli.commands.doctor import machine
from ablate.util import resources
from ablate.util.devices import choose_devices, slots
from tests.helpers.cli_process import run_cli

GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemFree: 1048576 kB\nMemAvailable:    8388608 kB\n"
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def system(root: Path, **files: str) -> Path:
    """A root with these files; `__` in a name stands for `/`, `_dot_` for `.`."""
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("inner", "outer", "quota"),
    [
        ("150000 100000", "max 100000", 1.5),
        ("max 100000", "200000 50000", 4.0),  # set on the group above
        ("300000 100000", "200000 100000", 2.0),  # the narrower counts
        ("max 100000", "max 100000", None),
    ],
)
def test_the_share_of_cores_in_cgroups_2(
    tmp_path: Path, inner: str, outer: str, quota: float | None
) -> None:
    root = system(
        tmp_path, proc__self__cgroup="0::/pods/one\n",
        sys__fs__cgroup__pods__one__cpu_dot_max=inner, sys__fs__cgroup__pods__cpu_dot_max=outer,
    )  # fmt: skip
    assert resources.cpu_quota(root) == quota


@pytest.mark.parametrize(("value", "quota"), [("50000", 0.5), ("-1", None)])
def test_the_share_of_cores_in_cgroups_1(tmp_path: Path, value: str, quota: float | None) -> None:
    root = system(  # the path is the host's, of which a container sees the top only
        tmp_path, proc__self__cgroup="4:cpu,cpuacct:/docker/12ab\n1:memory:/docker/12ab\n",
        sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us=value,
        sys__fs__cgroup__cpu__cpu_dot_cfs_period_us="100000\n",
    )  # fmt: skip
    assert resources.cpu_quota(root) == quota


def test_a_containers_memory_counts_where_it_is_less(tmp_path: Path) -> None:
    root = system(
        tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n",
        sys__fs__cgroup__memory_dot_max=str(4 * GIB),
        sys__fs__cgroup__memory_dot_current=str(3 * GIB),
        sys__fs__cgroup__memory_dot_stat=f"anon {GIB}\nfile {2 * GIB}\ninactive_file {GIB}\n",
    )  # fmt: skip
    assert resources.memory(root) == resources.Memory(4 * GIB, 2 * GIB, limited=True)
    (root / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert resources.memory(root) == resources.Memory(16 * GIB, 8 * GIB, limited=False)
    (root / "sys/fs/cgroup/memory.max").write_text(str(64 * GIB))
    assert resources.memory(root) == resources.Memory(16 * GIB, 8 * GIB, limited=False)


def test_where_the_kernel_says_nothing_nothing_is_known(tmp_path: Path) -> None:
    assert resources.cpu_quota(tmp_path) is None
    assert resources.memory(tmp_path) is None


@linux
def test_this_machine_is_what_the_system_says() -> None:
    assert resources.cores() == len(os.sched_getaffinity(0))
    found = resources.memory()
    assert found is not None
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < found.free <= found.total <= whole * 1.01
    assert 1 <= slots(choose_devices("cpu")) <= resources.cores()


def test_a_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = resources.disk(tmp_path)
    assert found is not None
    assert found.write > 0
    assert found.sync > 0
    assert list(tmp_path.iterdir()) == []
    assert resources.disk(tmp_path / "nowhere") is None


def test_what_nvidia_smi_prints() -> None:
    text = "GPU-12ab, 1024, 81559, 37\nGPU-34cd, [N/A], 81559, [N/A]\nno line of a table\n"
    assert machine.parse_usage(text) == {"GPU-12ab": (1024.0, 81559.0, 37.0)}
    assert machine.parse_usage("") == {}


def test_the_largest_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path))
    assert machine.largest_cache() == ("", 0)
    for name, size in (("one-160-pillow-1-ab", 100), ("two-320-pillow-1-cd", 5000)):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "pixels.npy", np.zeros(size, np.uint8))
    name, size = machine.largest_cache()
    assert name == "two-320"
    assert size == (tmp_path / "two-320-pillow-1-cd" / "pixels.npy").stat().st_size


@linux
def test_doctor_names_the_limits_and_they_are_nothing_to_do(tmp_path: Path) -> None:
    bare = {"PATH": str(tmp_path), "CXX": "", "CUDA_VISIBLE_DEVICES": "-1"}  # no compiler, no GPU
    done = run_cli("doctor", "--json", cwd=tmp_path, env=bare)
    found = json.loads(done.stdout)["findings"]
    by = {one["subject"]: one for one in found}
    assert {"machine", "gpu", "compiler", "cores", "memory", "disk", "store"} <= set(by)
    assert by["gpu"]["message"].startswith("none: ")
    assert "no a C++ compiler" not in by["compiler"]["message"]
    assert "does not compile models: without a C++ compiler (g++)" in by["compiler"]["message"]
    assert by["cores"]["message"].startswith(f"{len(os.sched_getaffinity(0))} core")
    assert "MB/s" in by["disk"]["message"]
    limiting = {"gpu", "compiler", "cores", "load", "memory", "disk"}
    assert not [one for one in found if one["subject"] in limiting and one["todo"]]
    assert done.returncode == (1 if any(one["todo"] for one in found) else 0)
    assert list(tmp_path.iterdir()) == []
