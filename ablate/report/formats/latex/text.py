"""Text and numbers as LaTeX source that pdflatex sets with nothing but its default packages.

Every special character of TeX is escaped; signs beyond ASCII become commands that the encoding OT1
has, accents included. What it lacks (other scripts, pictures) is spelled out as \\u6df7, as in an
ASCII terminal.
"""

from __future__ import annotations

import re
import unicodedata

from ablate.report.formats.escape import ascii_only, visible

_SPECIAL = {
    **{c: f"\\{c}" for c in "#$%&_{}"},
    "\\": "\\textbackslash{}",
    "~": "\\textasciitilde{}",
    "^": "\\textasciicircum{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    # by number: in these encodings the characters are others, or make ligatures with neighbours
    '"': "{\\char34}",
    "`": "{\\char96}",
}
_GREEK = (
    "α=alpha β=beta γ=gamma δ=delta ε=varepsilon ζ=zeta η=eta θ=theta ι=iota κ=kappa λ=lambda "
    "μ=mu µ=mu ν=nu ξ=xi π=pi ρ=rho σ=sigma ς=varsigma τ=tau υ=upsilon φ=varphi χ=chi ψ=psi "
    "ω=omega ϕ=phi ϵ=epsilon Γ=Gamma Δ=Delta Θ=Theta Λ=Lambda Ξ=Xi Π=Pi Σ=Sigma Υ=Upsilon Φ=Phi "
    "Ψ=Psi Ω=Omega"
)
_MATH = (
    "±=pm ∓=mp ×=times ÷=div ≈=approx ≤=leq ≥=geq ≠=neq ≡=equiv ∞=infty √=surd ·=cdot ∂=partial "
    "∇=nabla ∑=sum ∏=prod ∫=int ∈=in ∅=emptyset →=rightarrow ←=leftarrow ↔=leftrightarrow "
    "⇒=Rightarrow ∝=propto ∼=sim ∧=wedge ∨=vee ¬=neg ℓ=ell ⊕=oplus ⊗=otimes ∘=circ ∆=Delta"
)
_SIGNS = {
    **{sign: f"$\\{name}$" for sign, _, name in (p.partition("=") for p in _GREEK.split())},
    **{sign: f"$\\{name}$" for sign, _, name in (p.partition("=") for p in _MATH.split())},
    "−": "$-$",
    "–": "--",
    "—": "---",
    "‐": "-",
    "‑": "-",
    "…": "\\ldots{}",
    "°": "$^{\\circ}$",
    # from the fonts of mathematics, which are everywhere; those of text symbols are not
    "†": "$\\dagger$",
    "‡": "$\\ddagger$",
    "§": "$\\mathsection$",
    "¶": "$\\mathparagraph$",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "\u00a0": "~",
    "\u202f": "\\,",
    "ß": "\\ss{}",
    "Æ": "\\AE{}",
    "æ": "\\ae{}",
    "Œ": "\\OE{}",
    "œ": "\\oe{}",
    "Ø": "\\O{}",
    "ø": "\\o{}",
    "Ł": "\\L{}",
    "ł": "\\l{}",
    "ı": "\\i{}",
    "•": "$\\bullet$",
    **{sign: f"$^{{{i}}}$" for i, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **{sign: f"$_{{{i}}}$" for i, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")},
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0308": '"',
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
    "\u0323": "d",
}
_LIGATURES = re.compile(r"(?<=-)(?=-)|(?<=,)(?=,)|(?<=')(?=')")
_RUN = 18  # characters of a name without a place to break, before one is made
_LONG = 5.0  # em of a word that may not fit what is left of a line
_NUMBER = r"[+−]?[\d,]*\d(?:\.\d+)?"
_NUMBERS = re.compile(
    rf"\[(?P<low> *{_NUMBER}), (?P<high> *{_NUMBER})\]"
    rf"|(?P<mean>(?<![\w.]){_NUMBER}) ?± ?(?P<sd>{_NUMBER})"
    rf"|(?P<sign>[±×])(?P<of>{_NUMBER})"
    rf"|(?<![\w.])(?P<signed>[+−][\d,]*\d(?:\.\d+)?)"
)


def latex(text: str) -> str:
    """A text, whoever wrote it, as LaTeX source that sets it."""
    parts = ("".join(map(_character, part)) for part in _LIGATURES.split(visible(text)))
    return "{}".join(parts)


def breakable(text: str) -> str:
    """The same with places to break a line: after signs, and within long runs of letters."""
    found: list[str] = []
    run = 0
    for part in _LIGATURES.split(visible(text)):
        if found:
            found.append("{}")
        for character in part:
            found.append(_character(character))
            run = run + 1 if character.isalnum() else 0
            if character in "_-/.+:=,;@\\" or run >= _RUN or not character.isascii():
                found.append("\\allowbreak{}")
                run = 0
    return "".join(found)


def prose(text: str) -> str:
    """A text in a caption or a note, where a word too long for a line has places to break."""
    return " ".join(
        breakable(word) if em(word) > _LONG else latex(word) for word in text.split(" ")
    )


def number(text: str) -> str:
    """A cell of numbers: "+0.4 [−0.2, +1.0]" as $+0.4$ $[-0.2,+1.0]$; other text as `latex` has it.

    Spaces that align numbers below each other within brackets become spaces as wide as digits.
    """
    found, end = [], 0
    for match in _NUMBERS.finditer(text := text.strip()):
        found.append(latex(text[end : match.start()]))
        found.append(_math(match))
        end = match.end()
    return "".join([*found, latex(text[end:])])


def em(text: str) -> float:
    """About how wide a text is, in the font's em; rather too wide than too narrow."""
    return sum(_width(c) for c in (c for sign in visible(text) for c in _spelled(sign)))


def comment(text: str) -> str:
    """A text after a `%`, on that line."""
    return ascii_only(visible(text))


def _math(match: re.Match[str]) -> str:
    part = match.groupdict()
    if part["low"]:
        return f"$[{_digits(part['low'])},{_digits(part['high'])}]$"
    if part["mean"]:
        return f"${_digits(part['mean'])}\\pm{_digits(part['sd'])}$"
    if part["sign"]:
        sign = "\\pm" if part["sign"] == "±" else "\\times"
        return f"${sign}{_digits(part['of'])}$"
    return f"${_digits(part['signed'])}$"


def _digits(text: str) -> str:
    number = text.lstrip(" ")
    phantom = "\\phantom{0}" * (len(text) - len(number))
    said = number.replace("−", "-").replace(",", "{,}")
    # after a digit, seen or not, a bare sign would be an operator with space around it
    return f"{phantom}{{{said[0]}}}{said[1:]}" if phantom and said[0] in "+-" else phantom + said


def _character(character: str) -> str:
    known = _known(character)
    if known is not None:
        return known
    return "".join(_SPECIAL.get(c, c) for c in ascii_only(character))


def _known(character: str) -> str | None:
    """Its source, None for what the encoding does not have."""
    if character.isascii():
        return _SPECIAL.get(character, character)
    if character in _SIGNS:
        return _SIGNS[character]
    base, *marks = list(unicodedata.normalize("NFD", character))
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return None


def _spelled(character: str) -> str:
    """The characters that a reader sees in the place of one."""
    return ascii_only(character) if _known(character) is None else character


def _width(character: str) -> float:
    """Of Computer Modern's characters, in em."""
    if character in "ijl.,:;!|[]'`":
        return 0.29
    if character in "Ifrst() ":
        return 0.4
    if character.isdigit():
        return 0.5
    if character in "mwMW@%→↔∞":
        return 1.03
    if character in "+−±×<>=≈~^\\√Δ":
        return 0.8
    if character.isupper() or not character.isascii():
        return 0.78
    return 0.53
