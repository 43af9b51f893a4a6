"""`ablate datasets`, `datasets show NAME`, `datasets fetch NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ablate.cli.app import command, group
from ablate.cli.options import Options
from ablate.errors import AblateError
from ablate.util.paths import shown
from ablate.util.text import megabytes

if TYPE_CHECKING:
    from ablate.data.catalogue import DatasetInfo
    from ablate.data.sources.file_names import LeftOut

HELP = """\
List the data sets that a study may name, and whether they are on this machine.

Usage: ablate datasets [options]
       ablate datasets show NAME
       ablate datasets fetch NAME --size SIZE
Example    ablate datasets fetch imagenette --size 160

Data sets are also: imagefolder:PATH, with train/CLASS/ and val/CLASS/ in it, and
package.module:function, your own. Looked for in --data DIR, else ABLATE_DATA, else ~/.cache/ablate.
"""

SHOW = """\
Show one data set: classes, images, sizes, licence, what a recipe gets by default.

Usage: ablate datasets show NAME [options]
Example    ablate datasets show imagenette
"""

FETCH = """\
Download a data set, check it and unpack it; an interrupted download continues.

Usage: ablate datasets fetch NAME [options]
Example    ablate datasets fetch imagenette --size 160

           --size SIZE          which edition; `datasets show NAME` lists them [default: smallest]
           --from URL           a mirror: the folder that has the archive
           --data DIR           where to [env: ABLATE_DATA] [default: ~/.cache/ablate]
"""


@group("datasets", HELP)
def datasets(options: Options) -> None:
    """List them."""
    from ablate.data.catalogue import dataset_info, dataset_names

    output = options.output()
    infos = [dataset_info(name) for name in dataset_names()]
    if output.json:
        output.document({"datasets": [_as_json(info, options) for info in infos]})
        return
    rows = [["data set", "what it is", "here", "sizes"]]
    for info in infos:
        sizes = ", ".join(v for v in info.variants if v)
        rows.append([info.name, info.description, _here(info, options), sizes])
    head, *lines = output.table(rows)
    output.result([(head, "dim")], *lines)
    output.note([("also imagefolder:PATH and package.module:function", "dim")])


def _here(info: DatasetInfo, options: Options) -> str:
    """ "✓", "✓ 160" or "–"."""
    from ablate.data.catalogue import find_source, in_memory

    if in_memory(info.name):
        return "✓"
    try:
        variant, _ = find_source(info.name, image_size=info.image_size, root=options.data)
    except AblateError:
        return "–"
    return f"✓ {variant}".rstrip()


@command("datasets show", SHOW)
def show(options: Options, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Show one."""
    from ablate.data.catalogue import dataset_info
    from ablate.data.sources.file_names import kinds_in_words

    output = options.output()
    info = dataset_info(name)
    if output.json:
        document = _as_json(info, options)
        document["left_out"] = [
            {"folder": folder, "kind": kind, "files": number}
            for folder, kind, number in _left_out(info, options)
        ]
        output.document({"dataset": document})
        return
    output.result([(f"{info.name}: {info.description}", "bold")])
    rows = [["  classes", _classes(info)]]
    if info.counts:
        rows.append(["  images", f"{info.counts[0]:,} train, {info.counts[1]:,} test"])
    rows.append(["  left out", kinds_in_words(_left_out(info, options))])
    for variant, edition in info.editions.items():
        size = f"{edition.pixels} px" if edition.pixels else "original sizes"
        download = f", about {edition.megabytes:,} MB" if edition.url else ""
        rows.append([f"  size {variant}".rstrip(), f"{size}{download}"])
    rows += [
        ["  here", _here(info, options)],
        ["  a recipe gets", f"image_size = {info.image_size}, flip = {info.flip:g}"],
        ["  licence", info.licence],
        ["  source", info.source],
        ["  in a study", f'datasets = ["{info.name}"]'],
    ]
    output.result(*output.table([row for row in rows if row[1]], gap=3))


def _left_out(info: DatasetInfo, options: Options) -> LeftOut:
    """Files that are not taken as images; of archives nothing, which would have to be read."""
    from ablate.data.catalogue import find_source, in_memory
    from ablate.data.sources.folder import FolderSource

    if in_memory(info.name):
        return ()
    try:
        _, source = find_source(info.name, image_size=info.image_size, root=options.data)
    except AblateError:
        return ()
    return source.left_out if isinstance(source, FolderSource) else ()


def _classes(info: DatasetInfo) -> str:
    names = ", ".join(info.classes[:12])
    if not names:
        return f"{info.num_classes:,}"
    more = ", …" if len(info.classes) > 12 else ""
    return f"{info.num_classes:,}: {names}{more}"


def _as_json(info: DatasetInfo, options: Options) -> dict[str, Any]:
    return {
        "name": info.name,
        "description": info.description,
        "num_classes": info.num_classes,
        "classes": list(info.classes),
        "counts": info.counts,
        "image_size": info.image_size,
        "here": _here(info, options).startswith("✓"),
        "sizes": {
            name: {"pixels": e.pixels, "megabytes": e.megabytes or None, "download": bool(e.url)}
            for name, e in info.editions.items()
        },
        "licence": info.licence,
        "source": info.source,
    }


@command("datasets fetch", FETCH)
def fetch(
    options: Options,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    size: Annotated[str, typer.Option("--size")] = "",
    base_url: Annotated[str | None, typer.Option("--from")] = None,
) -> None:
    """Download one."""
    from ablate.console.progress import Progress
    from ablate.data.catalogue import check_name, in_memory
    from ablate.data.download import fetch as download

    output = options.output()
    check_name(name)
    if in_memory(name):
        output.note(f"{name} needs no download")
        return
    label = f"{name} {size}".strip()
    with Progress(output) as progress:

        def told(done: int, total: int | None) -> None:
            of = f"/{megabytes(total)}" if total else ""
            progress.update(label, "download", done, total, f"{megabytes(done)}{of}")

        place = download(name, size, options.data, base_url=base_url, progress=told)
    if output.json:
        output.document({"name": name, "size": size or None, "path": str(place)})
    else:
        output.note([("✓", "good"), (f" {label} in {shown(place)}", "")])
