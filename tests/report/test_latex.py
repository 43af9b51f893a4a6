"""LaTeX: the reference's layout, and documents that a real pdflatex sets without a complaint."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache

import pytest

from ablate.report import build_tables, render_latex
from ablate.report.formats.latex.text import breakable, latex, number, prose
from tests.helpers.compared_studies import (
    table4,
    table5,
    tricks,
)
from tests.helpers.costly_tables import uneven
from tests.helpers.latex_documents import (
    BEYOND,
    SPECIAL,
    compile_,
    hostile,
    incomplete,
    needs_latex,
    studies,
    transposed,
)
from tests.helpers.reference_tables import nette, one_seed, woof
from tests.helpers.report_blocks import ALL, below, classes
from tests.helpers.report_studies import State, cumulative, key, results, study, table

REFERENCE = r"""% needs \usepackage{booktabs}

\begin{table}\centering  % ablate report studies/group1.toml --format latex
\caption{group1, imagenette: top-1 (\%), mean $\pm$ sd, $n=3$ seeds, last of 20 epochs. $\Delta$ to
the row above with 95\% interval, moderated $t$, 5 df. Last line: $\Delta$ to the baseline. Verdicts
Holm-corrected, 5 comparisons. Equivalent: 90\% interval within $\pm0.5$ points. Differences from
about 1.1 to 1.7 points could be seen with 80\% power.}\label{tab:group1}\smallskip
\begin{tabular}{lrrl}\toprule
row & top-1 & $\Delta$ [95\%] & verdict \\ \midrule
baseline & $89.8\pm0.4$ &  &  \\
+ warmup & $90.1\pm0.3$ & $+0.4$ $[-0.4,+1.2]$ & unresolved \\
+ fp16 & $90.1\pm0.3$ & $-0.1$ $[-0.9,+0.7]$ & unresolved \\
+ mixup & $90.4\pm0.3$ & $+0.3$ $[-0.4,+1.0]$ & unresolved \\
+ zero\_gamma & $91.6\pm0.3$ & $+1.2$ $[+0.7,+1.8]$ & gain \\ \midrule
all 4 tricks &  & $+1.9$ $[+1.3,+2.4]$ & gain \\ \bottomrule
\end{tabular}\end{table}
"""


def many_rows():
    rows = cumulative(*(f"trick_{i}" for i in range(70)))
    values = {label: (70.0 + i / 9, 70.4 + i / 9) for i, (label, *_) in enumerate(rows)}
    return build_tables(study(table(rows, 2)), results(values), {})


def many_failures():
    rows = cumulative("warmup", "mixup")
    done = results({label: (70.0,) * 9 for label, *_ in rows})
    states = {key("+ mixup", s): State("failed", "no such file: " + "x/" * 60) for s in range(9)}
    done = {k: v for k, v in done.items() if k not in states}
    return build_tables(study(table(rows, 9)), done, states)


DOCUMENTS = {
    "plain": (nette, "auto"),
    "several": (lambda: nette() + woof(), "auto"),
    "studies": (studies, "auto"),
    "one_seed": (one_seed, "auto"),
    "all": (nette, "all"),
    "cost": (nette, "cost"),
    "uneven": (uneven, "all"),
    "paper": (table4, "auto"),
    "paper_costs": (table5, "auto"),
    "paper_tricks": (tricks, "auto"),
    "blocks": (lambda: below(nette(), *ALL), "auto"),
    "classes": (lambda: below(nette(), classes(120, "a long name of a class")), "auto"),
    "transposed": (transposed, "auto"),
    "incomplete": (incomplete, "auto"),
    "incomplete_all": (incomplete, "all"),
    "many_rows": (many_rows, "auto"),
    "many_failures": (many_failures, "auto"),
    "special": (lambda: hostile(SPECIAL), "auto"),
    "beyond": (lambda: hostile(BEYOND), "auto"),
    "endless": (lambda: hostile("averylongnamewithoutaplacetobreakit" * 3), "auto"),
    "brackets": (lambda: hostile("[2ex] * \\\\[1cm] % \\end{tabular}"), "all"),
}


@cache
def document(name):
    make, columns = DOCUMENTS[name]
    return render_latex(make(), columns=columns)


@needs_latex
@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_compiles_without_a_complaint(name, tmp_path):
    text = document(name)
    log = compile_(text, tmp_path)
    wrong = ("Overfull", "undefined", "multiply defined", "Float too large", "Missing character")
    assert [line for line in log.splitlines() if any(word in line for word in wrong)] == []
    known = re.findall(r"\\newlabel\{(.*?)\}", (tmp_path / "t.aux").read_text(encoding="latin-1"))
    assert known == re.findall(r"\\label\{(.*?)\}", text)  # what \ref will find


@needs_latex
@pytest.mark.parametrize(
    "packages",
    [
        ("[english]{babel}", "{hyperref}", "{caption}"),
        pytest.param(("[T1]{fontenc}",), marks=pytest.mark.long),  # may have to draw its letters
    ],
)
def test_other_common_packages_are_no_obstacle(packages, tmp_path):
    compile_(render_latex(hostile(SPECIAL + BEYOND)), tmp_path, *packages)


@needs_latex
def test_what_is_set_is_what_was_measured(tmp_path):
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext, from poppler-utils")
    compile_(render_latex(below(nette(), *ALL)), tmp_path)
    subprocess.run(["pdftotext", "-layout", "t.pdf"], cwd=tmp_path, check=True, timeout=60)
    text = re.sub(r"\s+", " ", (tmp_path / "t.txt").read_text(encoding="utf-8"))
    assert "91.6 ± 0.3 +1.2 [+0.6, +1.8] gain" in text
    assert "all 4 tricks +1.9 [+1.3, +2.5] gain" in text
    assert "warmup × mixup −1.1 [−1.6, −0.7] unresolved" in text
    assert "n = 3 seeds" in text


def test_it_is_the_reference_s_layout():
    assert render_latex(nette()) == REFERENCE


def test_captions_say_n_interval_correction_and_df():
    for make in (nette, woof, lambda: below(nette(), *ALL)):
        for caption in re.findall(r"\\caption\{(.*?)\}\\label", render_latex(make()), re.DOTALL)[
            :1
        ]:
            said = " ".join(caption.split())
            for fact in ("$n=3$ seeds", "95\\% interval", "Holm-corrected", " df."):
                assert fact in said
    said = " ".join(render_latex(one_seed()).split())
    assert "$n=1$ seed," in said
    assert "no interval and no verdict" in said
    assert "$\\sqrt{\\mathrm{error}/2N}$" in said
    assert "gain" not in said


def test_ascii_alone_leaves():
    """An old inputenc knows no UTF-8 at all, and ours need none."""
    for name in DOCUMENTS:
        assert document(name).isascii()


def test_labels_are_unique_and_plain():
    text = render_latex(studies() + studies()[:1])
    labels = re.findall(r"\\label\{(.*?)\}", text)
    assert len(labels) == len(set(labels)) == 4
    assert labels[:2] == ["tab:group1-imagenette", "tab:group1-imagewoof"]
    assert all(re.fullmatch(r"tab:[a-z0-9-]+", label) for label in labels)


def test_long_tables_go_on_with_one_number():
    text = render_latex(many_rows())
    assert text.count("\\begin{table}") == text.count("\\addtocounter{table}{-1}") + 1 > 1
    assert text.count("\\label") == 1
    assert text.count("trick\\_") == 70


def test_rows_short_of_seeds_say_so():
    text = render_latex(incomplete())
    assert "+ mixup & 72.5 (n 2)" in text
    assert "& incomplete (2 of 3 seeds) " in text
    assert "& diverged (1 of 3) " in text
    text = text.replace("\\allowbreak{}", "")
    assert "50\\% of \\{x\\} \\& y\\_z \\# no \\textbackslash{}end\\{table\\}" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zero_gamma", "zero\\_gamma"),
        ("50% & #1", "50\\% \\& \\#1"),
        ("a\\b{c}", "a\\textbackslash{}b\\{c\\}"),
        ("x^2 ~", "x\\textasciicircum{}2 \\textasciitilde{}"),
        ("γ × −1", "$\\gamma$ $\\times$ $-$1"),
        ("é Å", "\\'{e} \\r{A}"),
        ("混", "\\textbackslash{}u6df7"),
        ("\u202e", "\\textbackslash{}u202e"),
        ("--", "-{}-"),
    ],
)
def test_text(text, said):
    assert latex(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("+0.4 [−0.2, +1.0]", "$+0.4$ $[-0.2,+1.0]$"),
        ("−8.7 [−10.6,  −6.8]", "$-8.7$ $[-10.6,\\phantom{0}{-}6.8]$"),
        ("89.8 ±0.4", "$89.8\\pm0.4$"),
        ("80.4 (n 2)", "80.4 (n 2)"),
        ("+2.1 on 2 seeds", "$+2.1$ on 2 seeds"),
        ("1,234.5 ±0.4", "$1{,}234.5\\pm0.4$"),
        ("4.1 s ×0.51", "4.1 s $\\times0.51$"),
        ("inside ±1.4", "inside $\\pm1.4$"),
        ("–", "--"),
    ],
)
def test_numbers(text, said):
    assert number(text) == said


def test_only_long_words_are_broken():
    assert "allowbreak" not in prose("a_name of words, each of them short")
    assert breakable("x" * 40).count("\\allowbreak{}") == 2
