"""User text (names, messages, paths) made safe to print; signs for outputs without UTF-8."""

from __future__ import annotations

import re
import unicodedata

# Other (control, bidirectional, surrogate, private, unassigned) and line or paragraph separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKDOWN = re.compile(r"([\\`*<>\[\]|~$#])|(?<![^\W_])(_)|(_)(?![^\W_])")

_LIST = re.compile(r"^(\d*)([-+.)])(?=\s|$)")
# What begins a formula, by OWASP's list; tabs and returns are spelled out before that. The wide
# ones are the same signs to a spreadsheet in Japanese.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")

_SIGNS = "±=+/- Δ=d ×=x −=- –=- ≈=~ →=-> †=* ‡=** °=? §=& √=sqrt ·=| ─=- │=| ┼=+ "
_SIGNS += "α=alpha γ=gamma ε=epsilon λ=lambda ▲=^ ▼=v ⊕=(+) ⊖=(-) "
_SIGNS += "■=[] ○=o …=... ↯=!! ∅=0 ●=# ◐=> ◆=s ✗=x ✓=ok"
_ASCII = {sign: word for sign, _, word in (pair.partition("=") for pair in _SIGNS.split())}
_ASCII["\u00a0"] = " "


def visible(text: str) -> str:
    """Characters that hide, move or reorder text, as \\u202e."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_code(c) if unicodedata.category(c) in _HIDDEN else c for c in text)


def markdown(text: str) -> str:
    """Text in a markdown table or paragraph that stays the text it is."""
    safe = visible(text).replace("&", "&amp;")
    return _MARKDOWN.sub(lambda m: "\\" + m.group(0), safe).replace("\\<", "&lt;")


def paragraph(text: str) -> str:
    """The same where it begins a line: "+ warmup: …" is no list, "1. warmup: …" neither."""
    safe = markdown(text)
    return _LIST.sub(lambda m: f"{m[1]}\\{m[2]}", safe)


def spreadsheet(text: str) -> str:
    """A text as a cell of CSV that no spreadsheet computes: `+ warmup` and `=1+1` after an
    apostrophe, with which they are texts. For texts only: −1.5 is to stay a number."""
    safe = visible(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe


def code(text: str) -> str:
    """A markdown code span, whatever backticks the text has."""
    safe = visible(text)
    fence = "`" * (max((len(run) for run in re.findall(r"`+", safe)), default=0) + 1)
    pad = " " if safe.startswith("`") or safe.endswith("`") else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def ascii_only(text: str) -> str:
    """The project's signs in ASCII; anything else beyond ASCII as \\u00e9."""
    if text.isascii():
        return text
    return "".join(c if c.isascii() else _ASCII.get(c) or _code(c) for c in text)


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
