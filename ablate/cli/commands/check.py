"""`ablate check`: every mistake of study files, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command
from ablate.cli.errors import REFUSED, problem_lines
from ablate.cli.options import Options
from ablate.errors import AblateError, Problem, StudyError
from ablate.util.text import count

if TYPE_CHECKING:
    from ablate.core.resolved_study import ResolvedStudy
    from ablate.errors import Problem
    from ablate.planning.check import Checked

HELP = """\
List every mistake in study files, with file, line and what was meant. Trains nothing.

Usage: ablate check FILE... [options]
Example    ablate check studies/*.toml

On a terminal every problem shows its source line; elsewhere it is one line each.
Plugins are imported (--no-plugins: none is); functions as data sets or models are not called.
Exit: 0 all good, 2 problems.
"""


@command("check", HELP)
def check(options: Options, files: Annotated[list[str], typer.Argument(metavar="FILE...")]) -> None:
    """Check the files."""

    output = options.output()
    found = {file: _check(file, options) for file in dict.fromkeys(files)}
    bad = {file: result for file, result in found.items() if isinstance(result, tuple)}
    if output.json:
        output.document({"files": [_as_json(file, result) for file, result in found.items()]})
    else:
        for file, result in found.items():
            if not isinstance(result, tuple):
                part = "a part for other studies: no rows of its own"
                size = _size(result.resolved) if result else part
                output.result([(f"{file}:", "bold"), (" ok", "good"), (f" ({size})", "")])
                for place in result.not_called if result else ():
                    output.result(f"  not called: {place}; ablate plan calls it")
                continue
            for problem in result:
                on_terminal = output.out.interactive
                output.result(*problem_lines(problem, source=on_terminal, hint=on_terminal))
        if bad:
            total = count(sum(len(problems) for problems in bad.values()), "problem")
            output.result(f"{total} in {len(bad)} of {count(len(found), 'file')}")
    if bad:
        raise typer.Exit(REFUSED)


def _check(file: str, options: Options) -> Checked | tuple[Problem, ...] | None:
    """The study, its problems, or None for a part, which is sound and has no rows.

    Tricks are imported, since their parameters stand in them; functions that are data sets or
    models are not called, only looked for.
    """
    from ablate.planning.check import check_study
    from ablate.study import load_study

    try:
        study = load_study(file, bundled_only=options.no_plugins)
        if study.part:
            return None
        command = f"ablate check {file}"
        return check_study(study, options.data, command, bundled_only=options.no_plugins)
    except StudyError as error:
        return error.problems
    except AblateError as error:
        return (Problem(error.where or file, 0, "", error.message, error.hint),)


def _size(study: ResolvedStudy) -> str:
    """ "2 datasets × 5 rows × 3 seeds = 30 trials"; without the product where it is not one."""
    datasets = {table.dataset for table in study.tables}
    rows = {len(table.rows) for table in study.tables}
    per_dataset = len(study.tables) // max(1, len(datasets))
    trials = len(study.trials)
    if len(rows) == 1 and per_dataset == 1:
        row_count = rows.pop()
        parts = (
            f"{count(len(datasets), 'dataset')} × {count(row_count, 'row')} × "
            f"{count(len(study.seeds), 'seed')}"
        )
        product = len(datasets) * row_count * len(study.seeds)
        return (
            f"{parts} = {count(trials, 'trial')}"
            if product == trials
            else (f"{parts}, {count(trials, 'different trial')}")
        )
    all_rows = sum(len(table.rows) for table in study.tables)
    return (
        f"{count(len(study.tables), 'table')}, {count(all_rows, 'row')}, "
        f"{count(len(study.seeds), 'seed')}: {count(trials, 'trial')}"
    )


def _as_json(file: str, result: Checked | tuple[Problem, ...] | None) -> dict[str, Any]:
    if result is None:
        return {"file": file, "ok": True, "problems": [], "part": True}
    if isinstance(result, tuple):
        problems = [
            {
                "file": p.file,
                "line": p.line or None,
                "key": p.key,
                "message": p.message,
                "hint": p.hint,
                "column": p.span[0] + 1 if p.span else None,
                "length": p.span[1] if p.span else None,
            }
            for p in result
        ]
        return {"file": file, "ok": False, "problems": problems}
    return {
        "file": file,
        "ok": True,
        "problems": [],
        "study": result.resolved.name,
        "tables": len(result.resolved.tables),
        "trials": len(result.resolved.trials),
        "seeds": list(result.resolved.seeds),
        "not_called": list(result.not_called),
    }
