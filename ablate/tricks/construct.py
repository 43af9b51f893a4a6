"""Tricks made from what a trial says of them: a fresh one of each for every trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ablate.errors import AblateError, TrickError, brief
from ablate.tricks.discovery import load_catalogue
from ablate.tricks.file_params import checked
from ablate.tricks.parameters import made
from ablate.util import heartbeat

if TYPE_CHECKING:
    from ablate.core.trial import TrickSpec
    from ablate.tricks.base import Trick
    from ablate.tricks.discovery import Catalogue, LoadedTrick


def construct(
    specs: tuple[TrickSpec, ...], *, bundled_only: bool = False, check_files: bool = True
) -> list[Trick]:
    """Fresh tricks from their parameters; files that are not what was planned are refused."""
    catalogue = catalogue_of(specs, bundled_only=bundled_only)
    tricks = []
    for spec in specs:
        with heartbeat.here.doing(f"making trick '{spec.name}'"):
            loaded = catalogue.load(spec.name)
            if loaded.behaviour != spec.behaviour:
                raise AblateError(
                    f"trick '{spec.name}' changed since the study was planned; run it again"
                )
            tricks.append(_made(loaded, checked(spec) if check_files else spec.given()))
    return tricks


def catalogue_of(specs: Iterable[TrickSpec], *, bundled_only: bool = False) -> Catalogue:
    """The tricks there are, each of these from where it was planned from."""
    sources = {spec.name: spec.source for spec in specs}
    loose = sorted({source for source in sources.values() if source.endswith(".py")})
    return load_catalogue(loose, bundled_only=bundled_only, sources=sources)


def _made(loaded: LoadedTrick, params: Mapping[str, Any]) -> Trick:
    """The trick; what its class raises when it is made is reported under its name."""
    try:
        return made(loaded.cls, params)
    except (AblateError, KeyboardInterrupt):
        raise
    except BaseException as error:  # as of a hook
        raise TrickError(loaded.name, "when made", brief(error)) from error
