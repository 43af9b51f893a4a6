"""`ablate doctor`: is everything here that is needed, and what to do if not."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ablate.cli.app import command
from ablate.cli.commands.doctor.machine import Finding
from ablate.cli.options import Options
from ablate.errors import AblateError
from ablate.util.devices import choose_devices, cpu_name, sign_of_gpu, slots
from ablate.util.files import check_working_folder
from ablate.util.package_metadata import version_of
from ablate.util.paths import data_root, shown

if TYPE_CHECKING:
    import torch

    from ablate.data.sources.base import Source

HELP = """\
Check this machine and what limits it, the data sets, the tricks and the store; say what to do.

Usage: ablate doctor [options]
Example    ablate doctor

Nothing is changed; each line that wants something ends in what to run.

           --deep               read the whole store: lines, checksums, arrays, database
           --store DIR          [env: ABLATE_STORE] [default: ablate-results]
           --data DIR           [env: ABLATE_DATA] [default: ~/.cache/ablate]
Exit: 0 all fine, 1 something to do.
"""


_MARKS = {"fine": ("✓", "good"), "attention": ("!", "worse"), "wrong": ("✗", "failed")}


@command("doctor", HELP)
def doctor(options: Options, deep: Annotated[bool, typer.Option("--deep")] = False) -> None:
    """Check."""
    from ablate.cli.commands.doctor import machine as limits
    from ablate.cli.commands.doctor.store import store_findings

    check_working_folder()

    def stored(options: Options) -> Iterator[Finding]:
        return store_findings(options, deep=deep)

    output = options.output()
    checks: tuple[Callable[[Options], Iterator[Finding]], ...] = (
        _machine, limits.gpus, limits.compiling, limits.processor, limits.memory, limits.disks,
        _names, _data, _plugins, stored,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(options)]
    todo = [finding for finding in found if finding.todo]
    if output.json:
        output.document({"findings": [asdict(one) for one in found], "to_do": len(todo)})
    else:
        rows = [[f"{one.subject}", one.message, one.todo] for one in found]
        lines = output.table(rows, gap=2)
        for one, line in zip(found, lines, strict=True):
            mark, style = _MARKS[one.kind]
            output.result([(mark, style), (f" {line}", "")])
        if todo:
            output.result(f"{len(todo)} thing{'s' * (len(todo) != 1)} to do")
    if todo:
        raise typer.Exit(1)


def _machine(options: Options) -> Iterator[Finding]:
    python = f"python {platform.python_version()}"
    try:
        import torch
        import torchvision
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        yield Finding(
            "wrong", "torch", f"{python} · does not import: {reason}",
            "pip install --force-reinstall torch torchvision",
        )  # fmt: skip
        return
    versions = f"{python} · torch {torch.__version__} · torchvision {torchvision.__version__}"
    if not torch.cuda.is_available():
        cores = slots(choose_devices("cpu"))
        plural = "s" * (cores != 1)
        yield Finding("fine", "machine", f"{versions} · {cores} core{plural} of {cpu_name()}")
        if sign_of_gpu():
            yield Finding(
                "attention", "gpu", "there are signs of an NVIDIA GPU, but torch finds none",
                "install a torch build for your driver: pytorch.org/get-started",
            )  # fmt: skip
        return
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        name = torch.cuda.get_device_name(index)
        works = ", ".join(
            word
            for word, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16))
            if _multiplies(index, dtype)
        )
        text = f"{versions} · CUDA {torch.version.cuda} · cuda:{index} {name} {memory:.0f} GiB"
        yield Finding("fine", "machine", f"{text}: {works} work")


def _multiplies(index: int, dtype: torch.dtype) -> bool:
    """Whether a matrix product in this number format gives what it should."""
    import torch

    try:
        ones = torch.ones(16, 16, dtype=dtype, device=f"cuda:{index}")
        return bool(((ones @ ones) == 16).all())
    except RuntimeError:  # what CUDA raises for what a device cannot do
        return False


def _names(options: Options) -> Iterator[Finding]:
    """The other `ablate` on the package index has the same import name."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("ablate")
    except PackageNotFoundError:
        return
    other = version_of("ablate")
    yield Finding(
        "wrong", "names", f"the distribution ablate {other} has this one's import name",
        "pip uninstall ablate && pip install --force-reinstall ablate-study",
    )  # fmt: skip


def _data(options: Options) -> Iterator[Finding]:
    from ablate.data.catalogue import dataset_info, dataset_names, find_source, in_memory
    from ablate.data.sources.folder import FolderSource

    here, wanted = [], _wanted(options)
    for name in dataset_names():
        info = dataset_info(name)
        if in_memory(name):
            here.append(name)
            continue
        try:
            variant, source = find_source(name, image_size=info.image_size, root=options.data)
        except AblateError as error:
            if name in wanted:
                todo = (error.hint or "").split("      ")[0]
                yield Finding("attention", "data", f"{name} is missing", todo)
            continue
        here.append(f"{name} {variant}".strip())
        if isinstance(source, FolderSource):  # of an archive it would have to be read
            yield from _left_out(name, source)
    for name in sorted(wanted):
        if name.startswith("imagefolder:"):
            with contextlib.suppress(AblateError, OSError):  # a store from elsewhere names it
                yield from _left_out(name, find_source(name, image_size=0, root=None)[1])
    yield Finding("fine", "data", f"{', '.join(here)} in {shown(data_root(options.data))}")


def _left_out(name: str, source: Source) -> Iterator[Finding]:
    from ablate.data.sources.file_names import notes

    for note in notes(name, source.left_out):
        yield Finding("attention", "data", note, "save or move what you want to train on")


def _wanted(options: Options) -> set[str]:
    """Data sets of the stored studies."""
    from ablate.store.store import Store

    try:
        store = Store.open(options.store_path, create=False)
    except AblateError:
        return set()
    studies = [store.latest_study(name) for name in store.studies()]
    return {table.dataset for study in studies if study for table in study.tables}


def _plugins(options: Options) -> Iterator[Finding]:
    from ablate.tricks.discovery import load_catalogue

    catalogue = load_catalogue(bundled_only=options.no_plugins)
    loaded = 0
    for package in catalogue.unreadable:
        yield Finding(
            "wrong", "packages", f"{package}; its tricks, if it has any, are left out",
            f"pip install --force-reinstall {package.package}",
        )  # fmt: skip
    for clash in catalogue.clashes:
        if clash.used:
            yield Finding("attention", "tricks", str(clash))
    for found in catalogue.load_all():
        if isinstance(found, AblateError):
            todo = (found.hint or "").partition(" · ")[0].removeprefix("fix or remove it: ")
            yield Finding("wrong", "tricks", found.message, todo or "fix or remove it")
        else:
            loaded += 1
    if not loaded:
        yield Finding(
            "wrong", "tricks", "no tricks are installed at all",
            "pip install --force-reinstall ablate-study",
        )  # fmt: skip
        return
    from importlib.util import find_spec

    timm = "timm models too" if find_spec("timm") else "without timm"
    yield Finding("fine", "tricks", f"{loaded} tricks import · {timm}")
