"""Taking a person's paths and names out of what is handed on.

Always: the home folder becomes `~`, whoever's it is, and the working directory `.`. Anonymous: host
names become `host-1`, `host-2`, and of every absolute path only the last part stays.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

_HOMES: Final = re.compile(
    r"(?<![\w.~-])(?:/(?:home|Users)/[^/\s\"':;,)\]]+|[A-Za-z]:\\Users\\[^\\\s\"':;,)\]]+)"
)
_PATHS: Final = re.compile(r"(?<![\w.~/-])(?:~/|/(?!/))(?:[^/\s\"':;,)\]]+/)*([^/\s\"':;,)\]]+)")
_WINDOWS: Final = re.compile(r"(?<!\w)[A-Za-z]:\\(?:[^\\\s\"':;,)\]]+\\)*([^\\\s\"':;,)\]]+)")


class Scrubber:
    """Cleans strings, and whatever holds strings.

    hosts: every host name there is; the order numbers them when anonymous.
    """

    def __init__(self, *, anonymous: bool, hosts: list[str]) -> None:
        self._anonymous = anonymous
        places = {str(Path.home()): "~", os.path.realpath(Path.home()): "~"}
        here = {os.getcwd(): ".", os.path.realpath(os.getcwd()): "."}
        # The longer first: a working directory is often in the home folder.
        pairs = sorted((here | places).items(), key=lambda pair: -len(pair[0]))
        self._places = [(place, sign) for place, sign in pairs if len(place) > 1]
        names = [host for host in dict.fromkeys(hosts) if host]
        self._hosts = {host: f"host-{number}" for number, host in enumerate(names, 1)}
        words = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
        self._named = re.compile(rf"(?<![\w-])(?:{words})(?![\w-])") if names else None

    def host(self, name: str) -> str:
        """A host name as it may be written."""
        return self._hosts.get(name, "host") if self._anonymous and name else name

    def message(self, text: str) -> str:
        """A sentence about a trial, which may name hosts as well."""
        text = self.text(text)
        if self._anonymous and self._named is not None:
            text = self._named.sub(lambda match: self._hosts[match[0]], text)
        return text

    def text(self, text: str) -> str:
        """A text without the paths that name a person."""
        for place, sign in self._places:
            text = re.sub(rf"{re.escape(place)}(?![\w.-])", sign, text)
        text = _HOMES.sub("~", text)
        if self._anonymous:
            text = _WINDOWS.sub(r"\1", _PATHS.sub(r"\1", text))
        return text

    def of(self, value: Any) -> Any:
        """The same of everything in a JSON document; a "host" is a host name."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(str(name)): self.host(item)
                if name == "host" and isinstance(item, str)
                else self.of(item)
                for name, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.of(item) for item in value]
        return value
