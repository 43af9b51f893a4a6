"""`[tricks]`: aliases, parameters, bundles and side changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ablate.errors import AblateError, close_to, did_you_mean
from ablate.study.document import printable
from ablate.study.model import TrickConfig
from ablate.study.toml_positions import Path
from ablate.study.validator import SETTINGS, Checker, alike, as_json
from ablate.util.text import name_key

if TYPE_CHECKING:
    from ablate.tricks.base import Trick
    from ablate.tricks.discovery import Catalogue, LoadedTrick

_EXAMPLE = "a table, as in mixup = { alpha = 0.2 }"
_FEW = 12  # names that a message may list
_NOT_PARAMETERS = ("use", "bundle", "set")


class Names:
    """The names that stacks may use: configured and installed ones. Loads what is asked for."""

    def __init__(self, check: Checker, catalogue: Catalogue, left_out: Sequence[str] = ()) -> None:
        """`left_out`: the study's plugins that `--no-plugins` keeps from being loaded."""
        self.check = check
        self.left_out = left_out
        self.catalogue = catalogue
        self.configs: dict[str, TrickConfig] = {}
        self.aliases: tuple[str, ...] = ()  # of [tricks], sound or not
        self._loaded: dict[str, LoadedTrick | AblateError] = {}

    def known(self) -> list[str]:
        """Everything a stack may name."""
        return sorted({*self.aliases, *self.catalogue.names})

    def exists(self, path: Path, label: str, *, key: bool = False) -> bool:
        """Whether `label` is a trick, alias or bundle; a problem at `path` if not."""
        if label in self.aliases or label in self.catalogue.names:
            return True
        self._unknown(path, label, self.known(), key=key)
        return False

    def usable(self, path: Path, label: str) -> bool:
        """Whether `label` exists and the tricks behind it can be imported."""
        if not self.exists(path, label):
            return False
        config = self.configs.get(label)
        members = config.members if config else ()
        if config is None and label in self.aliases:
            return False  # reported where it is configured
        if members:
            # each member is named in the bundle, which is checked by itself
            return all(self._loads(path, leaf) for leaf in self.leaves(label))
        return self._loads(path, label)

    def leaves(self, label: str) -> tuple[str, ...]:
        """The labels of the tricks that `label` stands for: itself, or a bundle's, flattened."""
        found: dict[str, None] = {}
        waiting, seen = [label], set()
        while waiting:
            name = waiting.pop(0)
            if name in seen:
                continue
            seen.add(name)
            config = self.configs.get(name)
            if config is not None and config.members:
                waiting = [*config.members, *waiting]
            elif name in self.configs or name in self.catalogue.names:
                found[name] = None
        return tuple(found)

    def trick_of(self, label: str) -> str:
        """The installed trick's name behind an alias."""
        config = self.configs.get(label)
        return config.trick if config else label

    def _unknown(
        self,
        path: Path,
        label: str,
        known: Sequence[str],
        *,
        hint: str | None = None,
        key: bool = False,
    ) -> None:
        shown = printable(label)
        if twin := next((name for name in known if name_key(name) == name_key(label)), None):
            self.check.problem(path, alike(label, twin), hint="copy the name", key=key)
            return
        if self.check.within(("study", "plugins")) and not close_to(label, known):
            return  # it is likely from the plugin that is reported: one line for one cause
        if self.catalogue.names:
            meant = did_you_mean(label, known)
            if len(known) > _FEW and not meant.startswith("; did you mean"):
                meant = "; ablate tricks lists them"
            message = f"unknown trick '{shown}'{meant}"
        else:
            message = f"unknown trick '{shown}': no tricks are installed at all"
            hint = "the installation is incomplete: pip install --force-reinstall ablate-study"
        if self.left_out and not close_to(label, known):
            plugins = ", ".join(map(printable, self.left_out))
            message = f"unknown trick '{shown}' without {plugins}, which --no-plugins leaves out"
            hint = "leave --no-plugins away, or drop the trick from the stack"
        self.check.problem(path, message, hint=hint, key=key)

    def _load(self, name: str) -> LoadedTrick | AblateError:
        if name not in self._loaded:
            try:
                self._loaded[name] = self.catalogue.load(name)
            except AblateError as error:
                self._loaded[name] = error
        return self._loaded[name]

    def _loads(self, path: Path, label: str) -> bool:
        name = self.trick_of(label)
        if name not in self.catalogue.names:
            return False
        loaded = self._load(name)
        if isinstance(loaded, AblateError):
            self.check.problem(path, loaded.message, hint=loaded.hint)
            return False
        return True

    def read(self, table: Mapping[str, Any]) -> None:
        """Parse `[tricks]`, every entry whether a stack uses it or not."""
        self.aliases = tuple(table)
        seen = {name_key(name): name for name in self.catalogue.names}
        for label, value in table.items():
            path: Path = ("tricks", label)
            self.check.label(path, label)
            if label == "baseline":  # two rows of that name could not be told apart
                self.check.problem(path, "is what the row without tricks is called", key=True)
            if label.isdecimal():
                message = f"'{label}' is no name: rows have numbers, and it would be one"
                self.check.problem(path, message, hint=f"as a name: t{label}", key=True)
            if (other := seen.setdefault(name_key(label), label)) != label:
                self.check.problem(path, alike(label, other), key=True)
            if isinstance(value, dict):
                config = self._config(path, label, value)
                if config is not None:
                    self.configs[label] = config
            else:
                self.check.problem(path, f"expected {_EXAMPLE}")
        for config in list(self.configs.values()):
            if config.members:
                self._check_bundle(config)

    def _config(self, path: Path, label: str, value: Mapping[str, Any]) -> TrickConfig | None:
        settings = self.check.settings((*path, "set"), value.get("set", {}))
        params = {key: item for key, item in value.items() if key not in _NOT_PARAMETERS}
        if "bundle" in value:
            return self._bundle(path, label, value, settings, params)
        name = value.get("use", label)
        where = (*path, "use") if "use" in value else path
        if not isinstance(name, str):
            self.check.problem(where, 'expected the name of a trick, as in use = "mixup"')
            return None
        if name not in self.catalogue.names:
            own = 'an own name needs use = "TRICK" or bundle = ["TRICK", ...]'
            hint, key = (None, False) if "use" in value else (own, True)
            self._unknown(where, name, self.catalogue.names, hint=hint, key=key)
            return None
        self.params(path, name, params, params)
        return TrickConfig(label, name, params, settings, (), path)

    def _bundle(
        self,
        path: Path,
        label: str,
        value: Mapping[str, Any],
        settings: dict[str, Any],
        params: Mapping[str, Any],
    ) -> TrickConfig | None:
        if "use" in value:
            self.check.problem((*path, "use"), "a bundle uses no trick; keep use or bundle")
        for key in params:
            message = "a bundle has no parameters; give them under its member's own name"
            self.check.problem((*path, key), message, key=True)
        where = (*path, "bundle")
        members = self.check.texts(where, value["bundle"], "a list of tricks")
        if value["bundle"] == []:
            self.check.problem(where, "is empty; name at least one trick")
        names = [name for _, name in members]
        for index, name in members:
            if self.exists((*where, index), name) and name in names[:index]:
                self.check.problem((*where, index), f"'{printable(name)}' stands twice")
        if not members:
            return None
        return TrickConfig(label, "", {}, settings, tuple(names), path)

    def _check_bundle(self, config: TrickConfig) -> None:
        """Refuse a bundle that contains itself."""
        reached: set[str] = set()
        waiting = list(config.members)
        while waiting:
            name = waiting.pop()
            if name == config.label:
                message = f"bundle '{printable(name)}' contains itself"
                self.check.problem((*config.path, "bundle"), message)
                return
            inner = self.configs.get(name)
            if inner is not None and name not in reached:
                reached.add(name)
                waiting += inner.members

    def params(
        self, path: Path, name: str, params: Mapping[str, Any], given: Mapping[str, Any]
    ) -> None:
        """Validate a trick's parameters; of the problems, report those of the `given` ones.

        A trick that does not import is reported by the stack that uses it.
        """
        loaded = self._load(name)
        if isinstance(loaded, AblateError):
            return
        error = trick_error(loaded.cls, params)
        if error is None:
            return
        if not loaded.cls.model_fields and given:
            for key in given:
                self.check.problem((*path, key), f"'{name}' has no parameters", key=True)
            return
        details = [
            detail
            for detail in error.errors(include_url=False)
            if not detail["loc"] or detail["loc"][0] in given or detail["type"] == "missing"
        ]
        self._report(path, details, params, tuple(loaded.cls.model_fields))

    def _report(
        self, path: Path, details: Sequence[Any], params: Any, known: tuple[str, ...]
    ) -> None:
        from ablate.study.messages import findings

        for finding in findings(details, params, known, "parameter"):
            message, name = finding.message, finding.path[0] if finding.path else None
            if finding.key and name not in known and name in SETTINGS:
                message = f"unknown parameter; the recipe's comes with the trick as set.{name}"
            self.check.problem((*path, *finding.path), message, key=finding.key)


def trick_error(cls: type[Trick], params: Mapping[str, Any]) -> ValidationError | None:
    """What is wrong with a trick's parameters, if anything."""
    try:
        make_trick(cls, params)
    except ValidationError as error:
        return error
    except Exception:  # noqa: BLE001 - the trick's own; the row that has it tells of it
        return None
    return None


def make_trick(cls: type[Trick], params: Mapping[str, Any]) -> Trick:
    """The trick with these parameters, TOML types not coerced. Raises pydantic's error."""
    return cls.model_validate_json(as_json(params), strict=True)
