"""Every mistake in a study file: where, what, and all of them at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablate.errors import Problem, StudyError
from ablate.study import load_study
from tests.helpers.stand_ins import catalogue

GOOD = """\
[study]
datasets = ["digits"]
stack = ["warmup", "mixup"]
[recipe]
model = "resnet18"
"""


def problems_of(folder: Path, text: str | bytes, **options: object) -> tuple[Problem, ...]:
    file = folder / "mine.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StudyError) as caught:
        load_study(file, catalogue=catalogue(), **options)  # type: ignore[arg-type]
    return caught.value.problems


def lines(problems: tuple[Problem, ...]) -> list[str]:
    return [f"{problem.line}: {problem.key}: {problem.message}" for problem in problems]


def test_all_problems_at_once_as_ux_has_them(tmp_path: Path) -> None:
    text = """\
[study]
datasets = ["digits"]
seeds    = 3
stack    = ["cosine", "label_smothing"]

[recipe]
model     = "resnet18"
epochs    = "20"
batchsize = 64

[tricks]
# a comment
mixup = { alpha = -0.2 }
"""
    problems = problems_of(tmp_path, text)
    assert lines(problems) == [
        "4: study.stack[1]: unknown trick 'label_smothing'; did you mean 'label_smoothing'?",
        '8: recipe.epochs: expected a whole number, found the text "20"; write epochs = 20',
        "9: recipe.batchsize: unknown setting; did you mean 'batch_size'?",
        "13: tricks.mixup.alpha: -0.2 is out of range; must be above 0",
    ]
    assert str(problems[0]) == f"{tmp_path}/mine.toml:{lines(problems)[0]}"
    underlined = [p.source[p.span[0] : sum(p.span)] for p in problems if p.source and p.span]
    assert underlined == ['"label_smothing"', '"20"', "batchsize", "-0.2"]


RECIPE = "[recipe]\nmodel = 'resnet18'\n"
FORTY = list(range(1, 41))
STUDY = "[study]\ndatasets = ['digits']\nstack = ['mixup']\n"

# (text, what is reported); a text without [study] or [recipe] gets a good one below it
CASES = {
    "huge integer": (f"lr = {10**40}", "recipe.lr: is out of range; must have fewer than 19"),
    "nan": ("lr = nan", "recipe.lr: nan is not a finite number"),
    "inf": ("crop = { scale = [0.1, inf] }", "recipe.crop.scale[1]: inf is not a finite number"),
    "backwards": (
        "crop = { scale = [0.5, 0.1] }",
        "recipe.crop.scale: [0.5, 0.1] is a range that ends before it begins",
    ),
    "no spread": ("std = [1, 0, 1]", "recipe.std[1]: 0 is out of range; must be above 0"),
    "date": ("epochs = 2020-01-01", "recipe.epochs: no setting is a date or time"),
    "zero": ("epochs = 0", "recipe.epochs: 0 is out of range; must be at least 1"),
    "momentum": ("momentum = 1.0", "recipe.momentum: 1 is out of range; must be below 1"),
    "fraction": ("epochs = 2.5", "recipe.epochs: expected a whole number, found 2.5"),
    "whole float": (
        "epochs = 20.0",
        "recipe.epochs: expected a whole number, found 20.0; write epochs = 20",
    ),
    "number as text": (
        'lr = "0.1"',
        'recipe.lr: expected a number, found the text "0.1"; write lr = 0.1',
    ),
    "truth": ("lr = true", "recipe.lr: expected a number, found true"),
    "bool as text": (
        'nesterov = "True"',
        'recipe.nesterov: expected true or false, found the text "True"; write nesterov = true',
    ),
    "table": ("schedule = 3", "recipe.schedule: expected a table, found 3"),
    "inner key": (
        "schedule = { milestone = [0.5] }",
        "recipe.schedule.milestone: unknown setting",
    ),
    "too few": ("mean = [1, 2]", "recipe.mean: expected 3 values, found 2"),
    "too many": ("std = [1, 2, 3, 4]", "recipe.std: expected at most 3 values, found 4"),
    "in a list": ("mean = [1, 'a', 3]", 'recipe.mean[1]: expected a number, found the text "a"'),
    "model": (
        "[recipe]\nmodel = 'resnet19'",
        "recipe.model: unknown model 'resnet19'; did you mean 'resnet1",
    ),
    "model type": (
        "[recipe]\nmodel = 18",
        'recipe.model: expected a text, found 18; write model = "18"',
    ),
    "no model": ("[recipe]\nepochs = 3", 'recipe.model: is missing; write model = "resnet18"'),
    "recipe is no table": ("recipe = 3", "recipe: expected a table, found 3"),
    "data set": (
        "[study]\ndatasets = ['imagenete']\nstack = ['mixup']",
        "study.datasets[0]: unknown data set 'imagenete'; did you mean 'imagenet",
    ),
    "data set twice": (
        "[study]\ndatasets = ['digits', 'digits']\nstack = ['mixup']",
        "study.datasets[1]: 'digits' stands twice",
    ),
    "no data set": (
        "[study]\ndatasets = []\nstack = ['mixup']",
        'study.datasets: is empty; write datasets = ["digits"]',
    ),
    "data sets as text": (
        "[study]\ndatasets = 'digits'\nstack = ['mixup']",
        'study.datasets: expected a list, found the text "digits"; write datasets = ["digits"]',
    ),
    "seeds": (STUDY + "seeds = 0", "study.seeds: 0 is out of range; must be at least 1"),
    "many seeds": (
        STUDY + "seeds = 1001",
        "study.seeds: 1001 is out of range; must be at most 1000",
    ),
    "numerics": (
        STUDY + "numerics = 'fasst'",
        "study.numerics: expected 'exact' or 'fast', found the text \"fasst\"",
    ),
    "name": (STUDY + "name = '../x'", "study.name: '..' is no name: it begins with ."),
    "name with control": (STUDY + 'name = "a\\u202eb"', "study.name: 'a\\u202eb' is no name"),
    "misplaced": ("seeds = 3\n" + STUDY, "seeds: unknown setting; it belongs under [study]"),
    "unknown table": ("[trics]\nx = 1", "trics: unknown setting; did you mean 'tricks'?"),
    "nothing": ("[study]\ndatasets = ['digits']", "study: compares nothing; add stack ="),
    "empty stack": ("[study]\ndatasets = ['digits']\nstack = []", "study.stack: is empty; name at"),
    "stack as text": (
        "[study]\ndatasets = ['digits']\nstack = 'mixup'",
        'study.stack: expected a list of tricks, found the text "mixup"; write stack = ["mixup"]',
    ),
    "stack twice": (
        "[study]\ndatasets = ['digits']\nstack = ['mixup', 'cosine', 'mixup']",
        "study.stack[2]: 'mixup' stands twice in this stack",
    ),
    "in the bundle already": (
        "[study]\ndatasets = ['digits']\nstack = ['both', 'mixup']\n"
        "[tricks]\nboth = { bundle = ['mixup', 'cosine'] }",
        "study.stack[1]: 'mixup' is in the row above already",
    ),
    "stack of numbers": (
        "[study]\ndatasets = ['digits']\nstack = [3]",
        "study.stack[0]: expected the name of a trick or a list of them, found 3",
    ),
    "branch in branch": (
        "[study]\ndatasets = ['digits']\nstack = [['mixup', ['cosine']]]",
        "study.stack[0][1]: expected the name of a trick, found a list",
    ),
    "parameter": ("[tricks]\nmixup.alfa = 1", "tricks.mixup.alfa: unknown parameter; did you mean"),
    "parameter type": (
        "[tricks]\nmixup = { alpha = '0.2' }",
        'tricks.mixup.alpha: expected a number, found the text "0.2"; write alpha = 0.2',
    ),
    "no parameters": ("[tricks]\nfp16.x = 1", "tricks.fp16.x: 'fp16' has no parameters"),
    "missing parameter": ("[tricks]\ndistill = {}", "tricks.distill.teacher: is missing"),
    "trick is no table": ("[tricks]\nmixup = 0.2", "tricks.mixup: expected a table, as in mixup ="),
    "unknown alias": ("[tricks]\nmixpu = {}", "tricks.mixpu: unknown trick 'mixpu'; did you mean"),
    "unknown use": (
        "[tricks]\nm = { use = 'mixpu' }",
        "tricks.m.use: unknown trick 'mixpu'; did you mean 'mixup'?",
    ),
    "bundle of itself": (
        "[tricks]\na = { bundle = ['mixup', 'a'] }",
        "tricks.a.bundle: bundle 'a' contains itself",
    ),
    "bundle with parameter": (
        "[tricks]\na = { bundle = ['mixup'], alpha = 1 }",
        "tricks.a.alpha: a bundle has no parameters",
    ),
    "bundle of unknown": (
        "[tricks]\na = { bundle = ['mixpu'] }",
        "tricks.a.bundle[0]: unknown trick 'mixpu'; did you mean 'mixup'?",
    ),
    "alias": ("[tricks]\n'a/b' = { use = 'mixup' }", "tricks.\"a/b\": a name may not have / in it"),
    "side change": (
        "[tricks]\nmixup.set.epoch = 200",
        "tricks.mixup.set.epoch: unknown setting; did you mean 'epochs'?",
    ),
    "unknown teacher": (
        "[tricks]\ndistill.teacher = '@big'",
        "tricks.distill.teacher: unknown trial '@big'; describe it under [trial.big]",
    ),
    "own teacher": (
        "[tricks]\ndistill.teacher = '@big'\n[trial.big]\ntricks = ['distill']",
        "trial.big.tricks: trial 'big' learns from itself",
    ),
    "trial": ("[trial.t]\ntrick = ['mixup']", "trial.t.trick: unknown setting; did you mean"),
    "margin": ("[protocol]\nmargin = 0", "protocol.margin: 0 is out of range; must be above 0"),
    "kind": (
        "[[ablation]]\nkind = 'leave_on_out'\nstack = ['mixup']",
        "ablation[0].kind: the text \"leave_on_out\" is no kind of ablation; did you mean",
    ),
    "two of a name": (
        "[[ablation]]\nname = 'main'\nstack = ['mixup']",
        "ablation[0].name: two ablations are named 'main'; give one another name "
        "(study.stack makes the other)",
    ),
    "empty choice": (
        "[[ablation]]\nname = 'a'\ntune = { lr = [] }",
        "ablation[0].tune.lr: expected a list of values, found an empty list",
    ),
    "a trick called baseline": (
        "[tricks]\nbaseline = { use = 'mixup' }",
        "tricks.baseline: is what the row without tricks is called",
    ),
    "one bracket": ("[ablation]\nstack = ['mixup']", "ablation: write [[ablation]], with two"),
    "over": (
        "[[ablation]]\nname = 'a'\nover = { batchsize = [1] }",
        "ablation[0].over.batchsize: unknown setting; did you mean 'batch_size'?",
    ),
    "over value": (
        "[[ablation]]\nname = 'a'\nover = { batch_size = [1, 'x'] }",
        'ablation[0].over.batch_size[1]: expected a whole number, found the text "x"',
    ),
    "over inner": (
        "[[ablation]]\nname = 'a'\nover = { schedule.gamma = [0.1, 2] }",
        "ablation[0].over.schedule.gamma[1]: 2 is out of range; must be at most 1",
    ),
    "over scalar": (
        "[[ablation]]\nname = 'a'\nover = { batch_size = 256 }",
        "ablation[0].over.batch_size: expected a list of values, found 256; write batch_size = [",
    ),
    "over twice": (
        "[[ablation]]\nname = 'a'\nover = [{ lr = 1 }, { lr = 1 }]",
        "ablation[0].over[1]: is the same column as one before it",
    ),
    "too many columns": (
        f"[[ablation]]\nname = 'a'\nover = {{ lr = {FORTY}, epochs = {FORTY} }}",
        "ablation[0].over: has 1,600 columns; at most 1,000",
    ),
    "base": (
        "[[ablation]]\nname = 'a'\nbase = ['mixup']\nstack = ['mixup']",
        "ablation[0].stack[0]: 'mixup' is in the row above already",
    ),
    "tune": (
        "[[ablation]]\nname = 'a'\ntune = { lr.factor = [0, 1] }",
        "ablation[0].tune.lr.factor[0]: expected a number above 0, found 0",
    ),
    "override without when": (
        "[[override]]\nset = { lr = 1 }",
        "override[0].when: has no condition; what always holds belongs in [recipe] or [tricks]",
    ),
    "override of nothing": (
        "[[override]]\nwhen = { model = 'resnet18' }",
        "override[0]: changes nothing; add set, tricks.NAME.PARAMETER or drop",
    ),
    "override condition": (
        "[[override]]\nwhen = { models = 'resnet18' }\nset.lr = 1",
        "override[0].when.models: unknown setting; did you mean 'model'?",
    ),
    "override parameter": (
        "[[override]]\nwhen = { model = 'resnet18' }\ntricks.mixup.alpha = 0",
        "override[0].tricks.mixup.alpha: 0 is out of range; must be above 0",
    ),
    "override drop": (
        "[[override]]\nwhen = { model = 'resnet18' }\ndrop = ['mixpu']",
        "override[0].drop[0]: unknown trick 'mixpu'; did you mean 'mixup'?",
    ),
    "syntax": ("[recipe]\nmodel == 3", "is not valid TOML: "),
    "plugin": ("plugins = ['x']", "plugins: unknown setting; it belongs under [study]"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_problem_each(case: str, tmp_path: Path) -> None:
    text, expected = CASES[case]
    if not text.startswith(("[", "recipe =", "seeds =", "plugins =")):
        text = RECIPE + text
    if "recipe" not in text:
        text += "\n" + RECIPE
    if "[study]" not in text:
        text += "\n" + STUDY
    problems = problems_of(tmp_path, text)
    found = lines(problems)
    assert len(found) == 1, found
    shown = f"{problems[0].key}: {problems[0].message}" if problems[0].key else problems[0].message
    assert shown.startswith(expected), found
    assert problems[0].line >= 1


BYTES = {
    "not UTF-8": (b"[study]\nx = '\xff'", 2, "is not UTF-8 text"),
    "nested": (b"a = " + b"[" * 5000, 0, "tables or lists are nested too deeply"),
    "dotted": (b".".join([b"a"] * 900) + b" = 1", 0, "tables or lists are nested too deeply"),
    "digits": (b"a = 1\nb = " + b"9" * 5000, 2, "a number has more than 4,300 digits"),
    "large": (b"#" * (2**20 + 1), 0, "is larger than 1 MiB; a study file is not"),
    "many": (b"a = [" + b"1," * 6000 + b"]", 0, "has more than 5,000 values; a study file has not"),
}


@pytest.mark.parametrize("case", BYTES)
def test_unreadable_files(case: str, tmp_path: Path) -> None:
    data, line, message = BYTES[case]
    (problem,) = problems_of(tmp_path, data)
    assert (problem.line, problem.message) == (line, message)


def test_missing_file_folder_and_name(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone.toml: no such study file"):
        load_study(tmp_path / "gone.toml")
    with pytest.raises(StudyError, match="is a folder, not a study file"):
        load_study(tmp_path)
    with pytest.raises(StudyError, match=r"group3: no such study file; did you mean 'group"):
        load_study("group3")
    with pytest.raises(StudyError, match="no such study file"):
        load_study("a\0b")


def test_broken_plugins_are_named_and_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "empty.py").write_text("")
    text = GOOD.replace("stack", "plugins = ['./broken.py', './empty.py', 'no-such-dist']\nstack")
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(StudyError) as caught:
        load_study(file)
    assert [(p.key, p.message) for p in caught.value.problems] == [
        (
            "study.plugins[0]",
            "plugin ./broken.py does not import: no module named 'nothing_of_that_name'",
        ),
        ("study.plugins[1]", "plugin ./empty.py: defines no subclass of ablate.Trick"),
        ("study.plugins[2]", "plugin 'no-such-dist' is not installed"),
    ]
    file.write_text(text.replace("stack = [", 'stack = ["of_broken", "mixupp", '))
    with pytest.raises(StudyError) as caught:
        load_study(file)
    # a name that the broken file may have is not reported too; a misspelt one is
    assert [p.message for p in caught.value.problems if p.key.startswith("study.stack")] == [
        "unknown trick 'mixupp'; did you mean 'mixup'?"
    ]
    file.write_text(text)
    assert load_study(file, bundled_only=True).plugins == (
        "./broken.py", "./empty.py", "no-such-dist",
    )  # fmt: skip
