"""Who trains what, with real processes that race, die and sleep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.store import lease as leases
from ablate.store.lease import Lease, claim, holder

pytestmark = pytest.mark.usefixtures("trials_folder")

KEY = "ab" * 32
KEYS = [f"{number:064x}" for number in range(20)]
CONTENDERS = 8

# Waits for the file "go", tries every key, says which it got, holds them until it is ended.
CONTENDER = """
    import sys, time
    from pathlib import Path
    from ablate.store.lease import claim
    store, keys = Path(sys.argv[1]), sys.argv[2].split(",")
    print("ready", flush=True)
    while not (store / "go").exists():
        pass
    held = [c for c in (claim(store, key, "race") for key in keys) if c]
    print(",".join(c.key for c in held), flush=True)
    sys.stdin.read()
"""


class Process:
    """A child that has said "ready"."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.child.stdout is not None
        return self.child.stdout.readline().strip()

    def kill(self) -> None:
        self.child.kill()
        self.child.wait()

    def close(self) -> None:
        self.kill()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def children() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in started:
        process.close()


def race(store: Path, children: list[Process]) -> Counter[str]:
    """How many of 8 contenders got each of 20 keys."""
    (store / "go").unlink(missing_ok=True)
    contenders = [Process(CONTENDER, str(store), ",".join(KEYS)) for _ in range(CONTENDERS)]
    children += contenders
    assert [process.line() for process in contenders] == ["ready"] * CONTENDERS
    (store / "go").touch()
    won = [process.line() for process in contenders]
    return Counter(key for line in won for key in line.split(",") if key)


def test_each_trial_is_claimed_once_and_again_after_a_kill(
    tmp_path: Path, children: list[Process]
) -> None:
    assert race(tmp_path, children) == Counter(KEYS)
    assert [claim(tmp_path, key, "late") for key in KEYS] == [None] * len(KEYS)
    pids = {process.child.pid for process in children}
    leases = [holder(tmp_path, key) for key in KEYS]
    assert {lease.pid for lease in leases if lease} <= pids
    for process in children:
        process.kill()
    assert [holder(tmp_path, key) for key in KEYS] == [None] * len(KEYS)
    # All the dead claims at once, contended for by another eight.
    assert race(tmp_path, children) == Counter(KEYS)


INSIDE = """
    import os, sys, time
    from pathlib import Path
    from ablate.store.lease import claim
    store, key, end = Path(sys.argv[1]), sys.argv[2], time.monotonic() + 1.5
    entered = 0
    while time.monotonic() < end:
        held = claim(store, key, "loop")
        if held:
            os.close(os.open(store / "inside", os.O_CREAT | os.O_EXCL))  # raises if two are in
            os.unlink(store / "inside")
            held.release()
            entered += 1
    print(entered)
"""


def test_a_link_in_a_claims_place_is_somebodys(tmp_path: Path) -> None:
    (tmp_path / "trials" / KEY).mkdir(parents=True)
    (tmp_path / "trials" / KEY / "claim").symlink_to("nowhere")
    assert claim(tmp_path, KEY, "study") is None
    assert not list((tmp_path / "trials" / KEY).glob(".claiming-*"))


def test_claims_and_releases_never_overlap(tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(INSIDE), str(tmp_path), KEY]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    entered = [int(child.communicate()[0]) for child in running]
    assert [child.returncode for child in running] == [0] * 4
    assert sum(entered) > 20
    assert [p.name for p in (tmp_path / "trials" / KEY).iterdir()] == []


HOLDER = """
    import sys
    from pathlib import Path
    from ablate.store.lease import claim
    print(claim(Path(sys.argv[1]), sys.argv[2], "s") is not None, flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_that_nobody_waited_for_is_dead(
    tmp_path: Path, children: list[Process]
) -> None:
    process = Process(HOLDER, str(tmp_path), KEY)
    children.append(process)
    assert process.line() == "True"
    assert claim(tmp_path, KEY, "mine") is None
    os.kill(process.child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while (held := claim(tmp_path, KEY, "mine")) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert held is not None
    held.release()


def test_a_stopped_process_is_alive(tmp_path: Path, children: list[Process]) -> None:
    process = Process(HOLDER, str(tmp_path), KEY)
    children.append(process)
    assert process.line() == "True"
    os.kill(process.child.pid, signal.SIGSTOP)
    assert claim(tmp_path, KEY, "mine") is None


def rewrite(store: Path, **changes: object) -> Path:
    """Claim KEY with this process, then change the lease."""
    held = claim(store, KEY, "old")
    assert held is not None
    path = held.path / "lease.json"
    path.write_text(json.dumps(vars(held.lease) | changes))
    return path


@pytest.mark.parametrize("change", [{"started": "1"}, {"boot": "another"}, {"pid": 2**22 + 1}])
def test_on_this_machine_the_process_decides(tmp_path: Path, change: dict[str, object]) -> None:
    lease = rewrite(tmp_path, **change)
    os.utime(lease)  # however fresh
    assert holder(tmp_path, KEY) is None
    assert claim(tmp_path, KEY, "new") is not None
    assert claim(tmp_path, KEY, "third") is None


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"machine": "elsewhere"}])
def test_on_another_machine_the_heartbeat_decides(
    tmp_path: Path, change: dict[str, object]
) -> None:
    lease = rewrite(tmp_path, **change, pid=2**22 + 1, boot="another")
    assert claim(tmp_path, KEY, "new") is None
    os.utime(lease, (time.time() - 590, time.time() - 590))
    assert claim(tmp_path, KEY, "new") is None
    os.utime(lease, (time.time() - 610, time.time() - 610))
    assert claim(tmp_path, KEY, "new") is not None


def test_a_heartbeat_from_the_future_expires_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "EXPIRY", 0.3)
    lease = rewrite(tmp_path, host="elsewhere")
    os.utime(lease, (time.time() + 9000, time.time() + 9000))  # the clock was set back since
    assert claim(tmp_path, KEY, "new") is None
    time.sleep(0.2)
    os.utime(lease, (time.time() + 8000, time.time() + 8000))  # it beats
    assert claim(tmp_path, KEY, "new") is None
    time.sleep(0.2)
    assert claim(tmp_path, KEY, "new") is None
    time.sleep(0.2)
    assert claim(tmp_path, KEY, "new") is not None


def test_whoever_judged_first_and_acts_last_takes_nothing(tmp_path: Path) -> None:
    rewrite(tmp_path, boot="another")
    place = tmp_path / "trials" / KEY / "claim"
    judged = Lease.read(place)
    assert judged is not None
    held = claim(tmp_path, KEY, "faster")
    assert held is not None
    assert leases._bury(place, judged.token) is None
    assert held.held()


def test_heartbeat_and_release_leave_a_successor_alone(tmp_path: Path) -> None:
    first = claim(tmp_path, KEY, "first")
    assert first is not None
    os.utime(first.path / "lease.json", (0, 0))
    assert first.heartbeat()
    assert (first.path / "lease.json").stat().st_mtime > time.time() - 60
    rewritten = vars(first.lease) | {"boot": "another"}
    (first.path / "lease.json").write_text(json.dumps(rewritten))
    second = claim(tmp_path, KEY, "second")
    assert second is not None
    assert not first.heartbeat()
    first.release()
    assert second.held()
    second.release()
    second.release()
    assert holder(tmp_path, KEY) is None
    assert not second.heartbeat()


def test_a_forked_child_does_not_give_back_its_parents_claim(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from ablate.store.lease import claim
        held = claim(Path(sys.argv[1]), sys.argv[2], "s")
        child = os.fork()
        if child == 0:
            held.release()
            os._exit(0)
        os.waitpid(child, 0)
        sys.exit(0 if held.held() else 1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), KEY]
    assert subprocess.run(command).returncode == 0


def test_a_damaged_lease_blocks_until_it_is_old(tmp_path: Path) -> None:
    lease = rewrite(tmp_path)
    lease.write_text("{")
    assert claim(tmp_path, KEY, "new") is None
    long_ago = time.time() - 700
    os.utime(lease.parent, (long_ago, long_ago))
    assert claim(tmp_path, KEY, "new") is not None


WRITER = """
    import sys
    from pathlib import Path
    from ablate.store.attempt_writer import Attempt
    attempt = Attempt.begin(Path(sys.argv[1]), sys.argv[2])
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_trial_is_not_given_away_while_a_process_still_trains_it(
    tmp_path: Path, children: list[Process]
) -> None:
    """Its coordinator is dead and its claim gone; it has not noticed."""
    writer = Process(WRITER, str(tmp_path), KEY)
    children.append(writer)
    assert writer.line() == "ready"
    assert claim(tmp_path, KEY, "mine") is None
    assert holder(tmp_path, KEY) is None
    writer.kill()
    assert claim(tmp_path, KEY, "mine") is not None
