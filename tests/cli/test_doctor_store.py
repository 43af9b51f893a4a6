"""`ablate doctor` on a store that can be read and not written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from tests.helpers.environment import environment

# As another user where this one is root, whom no permission stops.
AS_NOBODY = """
    import json, os, sys
    from pathlib import Path
    from ablate.cli.commands.doctor.store import store_findings as _store
    from ablate.cli.options import Options
    options = Options(store=Path(sys.argv[1]))
    list(_store(options))  # all imports done: another user may not read the library
    if os.getuid() == 0:
        os.setgid(65534); os.setuid(65534)
    found = list(_store(options))
    print(json.dumps([(one.kind, one.message, one.todo) for one in found]))
"""


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
@pytest.mark.parametrize("writable", [False, True])
def test_a_store_that_cannot_be_written_is_something_to_do(store: Path, writable: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:  # where another user may look, too
        os.chmod(directory, 0o755)
        path = Path(directory) / "results"
        shutil.copytree(store / "ablate-results", path)
        folders = [path, *(p for p in path.rglob("*") if p.is_dir())]
        for folder in folders:
            folder.chmod(0o777 if writable else 0o555)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(AS_NOBODY), str(path)],
            env=environment(), capture_output=True, text=True,
        )  # fmt: skip
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    (kind, message, todo), size = json.loads(done.stdout)
    assert size[0] == "fine"
    if writable:
        assert (kind, todo) == ("fine", "")
        assert message.endswith("6 trials, no orphans, format 1, database matches the spool")
    else:
        assert kind == "attention"
        assert message.endswith("can be read but not written: Permission denied")
        assert todo == f"make it yours (chmod -R u+w {path}), or --store DIR"
