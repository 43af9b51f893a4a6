"""Tricks that fail where a study is read: their file, and what is asked of them before training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.cli.main import main
from ablate.tricks import guard

STUDY = """\
[study]
datasets = ["digits"]
seeds    = 1
stack    = ["label_smoothing", "bad"]
plugins  = ["./bad.py"]

[recipe]
model      = "resnet8"
epochs     = 1
batch_size = 16
"""
TRICK = """\
from ablate import Trick, hookimpl

class Bad(Trick):
    \"\"\"Bad.\"\"\"

    @hookimpl{kind}
    def {hook}(self):
        {code}
"""
# What the file has: what is said of it.
IMPORTS = {
    "def broken(:": "SyntaxError",
    "import nowhere_to_be_found": "no module named 'nowhere_to_be_found'",
    "from ablate import Nothing": "ImportError: cannot import name 'Nothing'",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "import os; os._exit(0)": "SystemExit: os._exit(0)",
    "from os import _exit; _exit(7)": "SystemExit: os._exit(7)",
    "def f(): return f()\nf()": "RecursionError",
    "raise MemoryError": "MemoryError",
    "raise GeneratorExit('\\x1b[31m\\u202e')": "GeneratorExit: \\u001b[31m\\u202e",
    "class E(BaseException):\n  def __str__(self): 1 / 0\nraise E": "(its text raises ZeroDivis",
    "while True: pass": "TooLong: no end after 0.4 s",
    "import time; time.sleep(1e6)": "TooLong: no end after 0.4 s",
    "x = 1": "defines no subclass of ablate.Trick",
    "\x00": "does not import: ",
    "import os; os.chdir('/'); os.umask(0o777); raise KeyError('moved')": "KeyError: 'moved'",
}
# What a hook does that is called before training: what is said of it.
HOOKS = {
    "raise KeyError('x')": "KeyError: 'x'",
    "import os; os._exit(0)": "SystemExit: os._exit(0)",
    "import time; time.sleep(1e6)": "TooLong: no end after 0.4 s",
}


@pytest.mark.timeout(300, method="thread")  # its own way is an alarm, of which there is one
def test_a_trick_that_fails_before_training_is_named_and_ends_nothing(
    tmp_path: Path,
    proved: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(guard, "LIMIT", 0.4)
    monkeypatch.setattr(guard, "NOTICE", 0.2)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    (tmp_path / "study.toml").write_text(STUDY)
    mask = os.umask(0o022)
    os.umask(mask)
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    times = 0
    for text, said in IMPORTS.items():
        (tmp_path / "bad.py").write_text(text)
        assert main(["check", "study.toml"]) == 2, text
        told = "".join(capfd.readouterr())
        assert "study.toml:5: study.plugins[0]: plugin ./bad.py" in told, text
        assert said in told
        assert ("waiting for plugin ./bad.py" in told) == ("TooLong" in said)
        assert "Traceback" not in told
        assert "\x1b" not in told
        times += 1
    for hook in ("resolve_recipe", "build_model", "init_model", "param_groups"):
        for code, said in HOOKS.items():
            (tmp_path / "bad.py").write_text(TRICK.format(kind="", hook=hook, code=code))
            assert main(["plan", "study.toml", "--limit", "40"]) == 2, (hook, code)
            told = "".join(capfd.readouterr())
            assert f"trick 'bad', {hook}: {said}" in told, (hook, code)
            assert "Traceback" not in told
            times += 1
    assert Path.cwd() == tmp_path
    assert os.umask(mask) == mask
    assert before == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    assert threading.active_count() < 10
    assert os._exit.__module__ == "posix"
    # the rest of the study is as it was
    (tmp_path / "study.toml").write_text(STUDY.replace(', "bad"]', "]").replace('"./bad.py"', ""))
    assert main(["check", "study.toml"]) == 0
    proved("tricks", "a trick fails to import, or where a study is planned",
           "SyntaxError, ImportError, sys.exit, os._exit, endless recursion, a loop, a sleep, a "
           "BaseException; the same in the four hooks that are called before training",
           times, "nothing: refused before training, file or trick and hook named")  # fmt: skip
