"""Tables that are hard to set, and what a real pdflatex says of a document."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from ablate.report import build_tables
from tests.helpers.compared_studies import compared, planned, spread, stacked
from tests.helpers.reference_tables import nette, woof
from tests.helpers.report_blocks import below, named
from tests.helpers.report_studies import GPU, GROUP1, State, cumulative, key, results, study, table

needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="needs pdflatex with booktabs, from the system"
)
SPECIAL = "#$%&_{}\\~^<>|\"'`[]*@!?-/+=:;,."
BEYOND = "γ×−Δ≈→√±°§†‡…–—µβλ é ü Å ñ ç ß ø Œ ½ ™ € « » “x” ‘y’ ² ₃ 混合 🎲 \u202e\x1b[2J\n"
BEYOND += " ffi -- --- '' ,, ?`!`"


def transposed(label="+ efficient"):
    tables = []
    for model in ("resnet50_v1", "mobilenet_v1", f"model {SPECIAL}"):
        rows = [("baseline", "baseline", None), (label, "step", 0)]
        values = {"baseline": (70.0, 71.0), label: (72.0, 73.5)}
        made = table(rows, 2, column=model, transpose=True, total=False)
        tables += build_tables(study(made), results(values, column=model), {})
    return tables


def incomplete():
    """Failed, diverged and missing seeds, a branch, a control, and rows of the same trials."""
    rows = [
        *cumulative("warmup", "mixup", "cosine", "resnet_d"),
        ("+ 2 epochs longer", "control", 4),
        ("+ distill", "branch", 4),
    ]
    values = {label: (70.0 + i, 70.4 + i, 71.0 + i) for i, (label, *_) in enumerate(rows)}
    done = results(values)
    states = {}
    for label, seed, state in (
        ("+ mixup", 1, State("oom", "out of memory; 0.9 GiB free, pid 4410 holds 19.8 GiB")),
        ("+ cosine", 2, State("diverged")),
        ("+ distill", 0, State("failed", "ValueError: 50% of {x} & y_z # no \\end{table}")),
    ):
        del done[key(label, seed)]
        states[key(label, seed)] = state
    return build_tables(study(table(rows)), done, states)


def hostile(name):
    rows = stacked("linear_scaling", "warmup", name, branches=["b" + name])
    plain = [("baseline", "baseline", None), (name, "step", 0)]
    made = build_tables(
        study(table(plain, 2, ablation=name, dataset=name, column=name), name=name, headline=name),
        results(
            {"baseline": (70.0, 71.0), name: (72.0, 73.5)},
            dataset=name,
            column=name,
            environment=GPU | {"device_name": name},
        ),
        {},
    )
    paper = compared(planned([table(rows)], name="table4", base=()), spread(rows))
    return [*below(made, named(name)), *transposed(name), *paper]


def studies():
    other = build_tables(
        study(table(GROUP1[:3], 2), name="other_study", margin=1.0),
        results(
            {label: (70.0, 71.5) for label, *_ in GROUP1[:3]},
            environment=GPU | {"device_name": "NVIDIA H100"},
        ),
        {},
    )
    return nette() + woof() + other


def compile_(text, folder, *packages):
    """The log of a document that has nothing but the packages named."""
    used = "".join(f"\\usepackage{package}\n" for package in packages)
    source = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n{used}\\begin{{document}}\n"
    (folder / "t.tex").write_text(f"{source}{text}\\end{{document}}\n", encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "t.tex"],
        cwd=folder,
        capture_output=True,
        timeout=60,
    )
    log = (folder / "t.log").read_text(encoding="latin-1")
    assert done.returncode == 0, log[-3000:]
    assert "Output written on t.pdf" in log
    return log
