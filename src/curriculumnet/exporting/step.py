"""The step `export`: the used images, with their curriculum, in the layout of another tool."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet import console
from curriculumnet.errors import InputError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.version import __version__
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, Stopwatch, WorkFolder, make_folder, writing

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.exporting.delivery import About, Delivery
    from curriculumnet.exporting.formats import Format
    from curriculumnet.exporting.options import Options
    from curriculumnet.exporting.pictures import Selection


@dataclass(frozen=True)
class Export:
    """What `export` has written, or found written.

    Attributes
    ----------
    work, output : Path
        The work folder, and the folder with the export.
    format : str
        Its format.
    curriculum : str or None
        The curriculum that orders it; None where there is none.
    subsets : tuple of int
        The subsets that its training images were limited to; empty where all take part.
    images : dict of str to int
        Images by split.
    subset_sizes : dict of str to int
        Training images by subset.
    categories : int
        Categories.
    files : int
        Files written, ``export.json`` not among them.
    seconds : float
        How long it took; 0 when it was there.
    up_to_date : bool
        Whether it was there already.
    """

    work: Path
    output: Path
    format: str
    curriculum: str | None
    subsets: tuple[int, ...]
    images: dict[str, int]
    subset_sizes: dict[str, int]
    categories: int
    files: int
    seconds: float
    up_to_date: bool

    def table(self) -> pa.Table:
        """Return a row per image, in the order of the export."""
        return _arranged(WorkFolder.open(self.work), self.curriculum, self.subsets)

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        counts = ", ".join(f"{n:,} {split}" for split, n in self.images.items())
        along = f"along the curriculum {self.curriculum}" if self.curriculum else "without a curriculum: there is none"
        lines: list[str | console.Grid] = [
            f"Exported as {self.format}: {counts} images of {self.categories:,} categories, {along}."
        ]
        if self.subset_sizes:
            rows = tuple((subset, f"{n:,}") for subset, n in self.subset_sizes.items())
            lines.append(console.Grid("Training images", ("subset", "images"), rows))
        lines.append(f"{self.files:,} file{'' if self.files == 1 else 's'}, and their list: {self.output}")
        return lines


def export(
    work: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str],
    format_: str,
    curriculum: str | None = None,
    subset: Sequence[int] = (),
    shard_size: int = 10_000,
    copy: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Export:
    """Write the used images with their curriculum as another tool reads them.

    Every picture is read, and must be the one that was ingested. Neither the work folder nor the source is written to.

    Parameters
    ----------
    work : path-like
        The work folder.
    output : path-like
        The folder to write; a new one, or one with an earlier export.
        An earlier export is replaced; a folder with other files in it is refused.
    format_ : str
        webdataset, huggingface, folders, cleanlab or lists.
    curriculum : str, optional
        The curriculum that orders the training images; the newest.
        Where there is none, images are exported without.
    subset : sequence of int
        A subset of the training images, 0 the cleanest; all unless given.
    shard_size : int
        Pictures in a tar of webdataset at most.
    copy : bool
        Copy pictures into folders instead of linking to them.
        Those that lie in an archive are always copied.
    workers : int, optional
        Threads that read; as many as cores, at most 8.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Export

    Raises
    ------
    UnknownNameError, UsageError
        There is no such format, curriculum or subset, or the output folder is not ours to write.
    WorkFolderError
        No work folder, or nothing ingested yet.
    InputError
        A picture is gone or has changed, a category's name does not fit the format, the curriculum is that of an
        earlier reading of the crawl, or no image is left to export.
    MachineError
        The disk is full or may not be written.

    Examples
    --------
    curriculumnet export crawl-work --format webdataset --output crawl-shards
    """
    from curriculumnet.exporting.delivery import Delivery
    from curriculumnet.exporting.formats import FORMATS
    from curriculumnet.exporting.lines import check_kept
    from curriculumnet.exporting.options import Options
    from curriculumnet.images.loader import worker_count

    watch = Stopwatch()
    if format_ not in FORMATS:
        raise UnknownNameError("format", format_, FORMATS)
    if shard_size < 1:
        raise UsageError(f"--shard-size is {shard_size}: it must be at least 1.")
    threads = worker_count(workers)
    folder = WorkFolder.open(work)
    curriculum = _curriculum(folder, curriculum, quiet)
    _check_subsets(folder, curriculum, subset)
    check_kept(folder.categories)
    out = _output(folder, output)
    how, options, subsets = FORMATS[format_], Options(shard_size, copy), tuple(sorted(set(subset)))
    _warn_of_unused(format_, how, options)
    _warn_of_urls(folder, format_, how)
    about = _about(folder, out, format_, how, options, curriculum, subsets)
    with writing(out):
        delivery = Delivery(out)
        table = _arranged(folder, curriculum, subsets)
        done = not delivery.interrupted and delivery.holds(about)
        if done:
            console.say(f"{out}: the export is there already; nothing to do.", quiet=quiet)
        else:
            make_folder(out)
            _deliver(folder, delivery, how, options, about, table, threads, quiet)
    return Export(
        work=folder.path,
        output=out,
        format=format_,
        curriculum=curriculum,
        subsets=subsets,
        images=_counted(table["split"]),
        subset_sizes=_counted(table["subset"].drop_null()),
        categories=len(folder.categories),
        files=len((delivery.about or about)["files"]),
        seconds=0.0 if done else watch.seconds,
        up_to_date=done,
    )


# -- before anything is written ---------------------------------------------------------------------------------------


def _curriculum(folder: WorkFolder, name: str | None, quiet: bool) -> str | None:
    """Return the curriculum that is meant, once it is clear that it is one of these images."""
    if not folder.file(IMAGES).is_file():
        raise WorkFolderError(f"{folder.file(IMAGES)} is gone: `curriculumnet ingest` makes it again.")
    if name is None and not folder.names("design"):
        console.say(
            f"{folder.path} has no curriculum: the images are exported without subsets and cleanliness. "
            f"`curriculumnet design {folder.path}` makes one.",
            quiet=quiet,
        )
        return None
    name = folder.find("design", name, "curriculum", f"`curriculumnet design {folder.path}` makes one.")
    record, images = folder.record(f"design:{name}"), folder.digest(IMAGES)
    if record and record.inputs.get(IMAGES, images) != images:
        features = record.settings["features"]
        raise InputError(
            f"The curriculum {name} in {folder.path} orders the images of an earlier reading of the crawl: "
            f"`curriculumnet embed` with what gave the features {features}, then `curriculumnet design {folder.path} "
            f"--features {features}`, make it again."
        )
    if not folder.file(_file(name)).is_file():
        raise WorkFolderError(f"{folder.file(_file(name))} is gone: `curriculumnet design` makes it again.")
    return name


def _check_subsets(folder: WorkFolder, curriculum: str | None, subset: Sequence[int]) -> None:
    if not subset:
        return
    if curriculum is None:
        raise UsageError(f"--subset needs a curriculum: `curriculumnet design {folder.path}` makes one.")
    known = _n_subsets(folder, curriculum)
    strange = [each for each in subset if not 0 <= each < known]
    if strange:
        raise UsageError(f"--subset is {strange[0]}: the curriculum {curriculum} has the subsets 0 to {known - 1}.")


def _output(folder: WorkFolder, output: str | os.PathLike[str]) -> Path:
    """Return the folder to write, which lies in nothing that is only to be read."""
    if not os.fspath(output):
        raise UsageError("-o names no folder: give the name of one.")
    out = Path(output)
    if out.resolve().is_relative_to(folder.path.resolve()):
        raise UsageError(f"{out} would lie inside the work folder {folder.path}: give a folder outside it with -o.")
    for source in folder.project["sources"].values():
        place = Path(source["place"])
        if place.is_dir() and out.resolve().is_relative_to(place.resolve()):
            raise UsageError(f"{out} would lie inside the pictures' folder {place}: give a folder outside it with -o.")
    return out


def _warn_of_unused(name: str, how: Format, options: Options) -> None:
    given = [option for option, value in vars(options).items() if value != getattr(type(options), option)]
    for option in sorted(set(given) - how.uses):
        console.warn(f"The format {name} does not use --{option.replace('_', '-')}: it changes nothing.")


def _warn_of_urls(folder: WorkFolder, name: str, how: Format) -> None:
    from curriculumnet.images.archives import is_url

    roots = [root for root in _roots(folder).values() if is_url(root)]
    if how.without_pictures and roots:
        console.warn(
            f"The pictures lie on the network ({roots[0]}): what {name} names can be read by tools that know such "
            "URLs, but not by `ingest`, for which webdataset, huggingface and folders hold the pictures themselves."
        )


def _about(
    folder: WorkFolder,
    out: Path,
    format_: str,
    how: Format,
    options: Options,
    curriculum: str | None,
    subsets: tuple[int, ...],
) -> About:
    """Return what tells this export from others."""
    from curriculumnet.exporting.pictures import seen_from

    inputs = folder.digests(IMAGES, *([_file(curriculum)] if curriculum else []))
    if how.points:
        # Not the paths themselves: an export is given to others.
        seen = {key: seen_from(out, root) for key, root in _roots(folder).items()}
        inputs["sources"] = hashlib.blake2b(json.dumps(seen).encode(), digest_size=16).hexdigest()
    used = {name: value for name, value in vars(options).items() if name in how.uses}
    settings = {"format": format_, "curriculum": curriculum, "subsets": list(subsets), **used}
    return {"curriculumnet": __version__, "inputs": inputs, "settings": settings}


def _file(curriculum: str) -> str:
    return tables.CURRICULUM.file.replace("NAME", curriculum)


def _roots(folder: WorkFolder) -> dict[str, str]:
    return {key: source["root"] for key, source in folder.project["sources"].items()}


def _n_subsets(folder: WorkFolder, curriculum: str) -> int:
    import pyarrow.parquet as pq

    metadata = pq.read_schema(folder.file(_file(curriculum))).metadata
    return int(json.loads(metadata[b"settings"])["n_subsets"])


def _counted(values: pa.ChunkedArray) -> dict[str, int]:
    """Return how often each value is there, in the order in which they come."""
    return {str(each["values"]): each["counts"] for each in values.value_counts().to_pylist()}


# -- writing ----------------------------------------------------------------------------------------------------------


def _arranged(folder: WorkFolder, curriculum: str | None, subsets: Sequence[int]) -> pa.Table:
    """Return the images in their order.

    Raises
    ------
    InputError
        There are none.
    """
    from curriculumnet.exporting.order import OF_IMAGES, WHERE_THERE, arranged

    images = tables.read_images(folder.file(IMAGES), ("state", *OF_IMAGES, *WHERE_THERE))
    found = arranged(images, None if curriculum is None else tables.read(folder.file(_file(curriculum))), subsets)
    if "train" not in found["split"].unique().to_pylist():
        which = f"in the subsets {', '.join(map(str, subsets))}" if subsets else "usable"
        raise InputError(f"{folder.path} has no training image that is {which}: there is nothing to export.")
    return found


def _deliver(
    folder: WorkFolder,
    delivery: Delivery,
    how: Format,
    options: Options,
    about: About,
    table: pa.Table,
    threads: int,
    quiet: bool,
) -> None:
    """Write the export aside, and put it in its place."""
    with delivery.alone():
        delivery.settle()
        if delivery.holds(about):
            delivery.give_up()
            return
        if delivery.about is not None:
            console.say(f"{delivery.out} holds another export: it is replaced.", quiet=quiet)
        staging = delivery.begin(about)
        try:
            with closing(staging), console.Progress("exporting", len(table), "pictures", quiet=quiet) as progress:
                how.write(_selection(folder, about, table, threads, progress), staging, options)
        except InputError:
            delivery.give_up()
            raise
        delivery.deliver(staging, about)


def _selection(
    folder: WorkFolder, about: dict[str, Any], table: pa.Table, threads: int, progress: console.Progress
) -> Selection:
    from curriculumnet.exporting.pictures import Selection
    from curriculumnet.images.loader import Pictures

    curriculum, roots = about["settings"]["curriculum"], _roots(folder)
    return Selection(
        table=table,
        categories=folder.categories,
        n_subsets=None if curriculum is None else _n_subsets(folder, curriculum),
        # With the digests, which it verifies.
        bytes_of=Pictures(tables.read_images(folder.file(IMAGES), tables.PLACES), roots),
        roots=roots,
        threads=threads,
        advance=progress.advance,
    )
