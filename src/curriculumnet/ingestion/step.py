"""Ingest a source: one row for each of its files, checked, without copies, split."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from curriculumnet.console import Grid, Progress, say, warn
from curriculumnet.errors import FeaturesError, SourceError, UsageError, WorkFolderError
from curriculumnet.images.archives import split_root
from curriculumnet.images.stored import NOWHERE, UNTOLD
from curriculumnet.version import __version__
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, INDEXES, UNPACKED, Record, Stopwatch, WorkFolder, file_digest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from curriculumnet.ingestion.findings import Findings, Known
    from curriculumnet.ingestion.rows import Rows
    from curriculumnet.ingestion.states import States
    from curriculumnet.sources.kinds import Source
    from curriculumnet.sources.packed import Packed

_STEP = "ingest"
_MODIFIED = tables.MODIFIED.file

_REASONS = 12
"""Reasons that the terminal shows; how many files have others is one line."""

_PART = 16_384
"""Rows of the table of images that are made at a time."""

_LISTED = {
    "file_name": "file_names",
    "label": "labels",
    "group": "groups",
    "rank": "ranks",
    "query": "queries",
    "url": "urls",
    "licence": "licences",
}
"""Columns of the table of images that are what the sources say, and what listings call them."""


@dataclass(frozen=True)
class Ingestion:
    """What `ingest` found, or had found before.

    Attributes
    ----------
    work : Path
        The work folder.
    images_path : Path
        Its table of images.
    source : str
        The crawl, as it was given.
    sources : dict of str to str
        The sources as they were given: `crawl`, and `val` and `test` where there are such.
    seen : int
        Files seen; names that are no images are not among them.
    seen_in : dict of str to int
        How many of them in each source.
    not_images : int
        Files passed over because of their names.
    states, reasons, formats : dict of str to int
        How many files are in each state, why they are not used, and what formats were found in them.
    used : dict of str to int
        Images that take part, by split.
    label_conflicts : int
        Used images whose picture lies in another category too.
    near_copies, near_groups, near_given : int
        Used images that have near copies, the groups that they form, and training images in a group with an image to
        measure on.
    quality : dict of str to int
        Used images that are low in each score of picture quality (`work.tables.QUALITY`).
    categories : dict of str to int
        Each category with its training images.
    excluded_categories : tuple of str
        Categories that were left out.
    seconds : float
        How long it took when it was done.
    """

    work: Path
    images_path: Path
    source: str
    sources: dict[str, str]
    seen: int
    seen_in: dict[str, int]
    not_images: int
    states: dict[str, int]
    reasons: dict[str, int]
    formats: dict[str, int]
    used: dict[str, int]
    label_conflicts: int
    near_copies: int
    near_groups: int
    near_given: int
    quality: dict[str, int]
    categories: dict[str, int]
    excluded_categories: tuple[str, ...]
    seconds: float

    def table(self) -> pa.Table:
        """Return the table of images."""
        return tables.read(self.images_path)

    def summary(self) -> list[str | Grid]:
        """Return the account in short."""
        from curriculumnet.sources.text import few

        sizes = sorted(self.categories.values())
        splits = ", ".join(f"{n:,} {split}" for split, n in self.used.items() if n)
        passed = f" {self.not_images:,} more are no images by their names." if self.not_images else ""
        lines: list[str | Grid] = [
            f"{self.seen:,} files seen{self._where()}.{passed}",
            Grid(
                "What became of them",
                ("state", "files"),
                tuple((state, f"{self.states[state]:,}") for state in tables.STATES if state in self.states),
            ),
        ]
        if self.reasons:
            top = list(self.reasons.items())
            shown = [*top[:_REASONS], *([("others", sum(n for _, n in top[_REASONS:]))] if top[_REASONS:] else [])]
            lines.append(Grid("Why not used", ("reason", "files"), tuple((why, f"{n:,}") for why, n in shown)))
        spread = f"{sizes[0]:,} training images each"
        if sizes[0] < sizes[-1]:
            spread = f"{sizes[0]:,} to {sizes[-1]:,} training images (median {median(sizes):,.0f})"
        lines.append(f"Used: {splits}, in {len(sizes):,} categories of {spread}.")
        if self.label_conflicts:
            lines.append(f"{self.label_conflicts:,} of them show a picture that lies in several categories.")
        if self.near_copies:
            given = f"; {self.near_given:,} are for training beside one to measure on" if self.near_given else ""
            lines.append(
                f"{self.near_copies:,} of them look like near copies of others, in {self.near_groups:,} "
                f"{'group' if self.near_groups == 1 else 'groups'}{given}."
            )
        if any(self.quality.values()):
            low = ", ".join(f"{n:,} {tables.QUALITY[name][1]}" for name, n in self.quality.items() if n)
            lines.append(f"Used, but worth a look: {low}.")
        if self.excluded_categories:
            lines.append(f"Categories left out: {few(self.excluded_categories)}.")
        lines.append(f"The table of images: {self.images_path}")
        return lines

    def _where(self) -> str:
        """Say where the files were seen: in one source, or how many in each."""
        if len(self.sources) == 1:
            return f" in {self.source}"
        if len(set(self.sources.values())) == 1:
            # A crawl that sets its own validation or test pictures apart.
            words = {"crawl": "to train on"} | dict.fromkeys(("val", "test"), "for {}")
            each = ", ".join(f"{self.seen_in[key]:,} {words[key].format(key)}" for key in self.sources)
            return f" in {self.source}: {each}"
        each = ", ".join(f"{self.seen_in[key]:,} in {source}" for key, source in self.sources.items())
        return f": {each}"


def ingest(
    source: str | os.PathLike[str],
    *,
    output: str | os.PathLike[str] | None = None,
    val: str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
    label_column: str = "label",
    file_column: str = "file_name",
    group_column: str | None = None,
    rank_column: str | None = None,
    rename: str | os.PathLike[str] | None = None,
    exclude_category: Sequence[str] = (),
    min_side: int = 16,
    min_images: int = 2,
    val_share: float = 0.1,
    near_features: str | os.PathLike[str] | None = None,
    seed: int = 0,
    reread: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> Ingestion:
    """Read a crawl, check every file and split it, without changing anything in it.

    Parameters
    ----------
    source : path-like
        A folder, archive, list, table or URL of crawled pictures. Folders (in a tar too) hold one folder per category,
        perhaps below ``train/``, ``val/`` and ``test/``; a list (.txt) has ``path label`` in each line; a table (.csv,
        .tsv, .jsonl, .parquet) has a column of file names and one of labels. Shards of WebDataset and img2dataset,
        Hugging Face's folders and tables, WebVision, Clothing1M and Food-101N are known by what lies there.
        ``crawl.tar#part`` names a folder or a table inside a tar. What cannot be read in place (.zip, .tar.gz, tables
        that hold pictures) is unpacked into the work folder.
    output : path-like, optional
        The work folder. ``./NAME-work`` by default, with the source's name.
    val : path-like, optional
        A source of clean pictures for validation. By default some of the crawl are held out.
    test : path-like, optional
        A source of clean pictures to test on.
    label_column : str
        The column of a table that holds the label.
    file_column : str
        The column of a table that holds the file's name.
    group_column : str, optional
        The column of a table by which images stay together. No group (a sender, a patient) is then partly held out.
        ``group`` where there is such a column.
    rank_column : str, optional
        The column of a table with the source's own order, least first. A number per image, such as its place among the
        results of a search; ``design --method given`` goes by it. ``rank`` where there is such a column of numbers.
    rename : path-like, optional
        A table (columns label, category) that renames or merges categories. Those that it does not name keep their
        name; where `category` is empty, the category is left out.
    exclude_category : sequence of str
        A category to leave out.
    min_side : int
        The least short side of an image, in pixels.
    min_images : int
        Leave out categories with fewer usable images.
    val_share : float
        The share of each category to hold out for validation. 0 holds out none.
    near_features : path-like, optional
        Features (.npy) by which near copies are confirmed. Row i is that of the file which an earlier ``ingest`` of the
        same files gave the image_id i, as ``embed`` writes them. More near copies are found then, and fewer wrong ones.
    seed : int
        Decides which images are held out.
    reread : bool
        Look into all files again. By default those whose size and time are as before are not.
    workers : int, optional
        Worker processes. As many as there are cores by default; 0 works in this process.
    quiet : bool
        Show no messages and no progress.

    Returns
    -------
    Ingestion
        The account of all files; `.table()` has a row for each.

    Raises
    ------
    SourceError
        A source is missing, empty or unusable, has one category only, or labels that the crawl does not have.
    FeaturesError
        The features are missing, no matrix, or of another length.
    UsageError, UnknownNameError
        A setting does not fit, or a category to leave out does not exist.
    WorkFolderError
        The work folder is one of another source, or a folder with other files.
    """
    import numpy as np

    from curriculumnet.ingestion.account import CHANGED, COLUMNS, account, changes
    from curriculumnet.ingestion.findings import Findings
    from curriculumnet.ingestion.renaming import as_the_crawl_writes, left_out, meant, read_names, renamed
    from curriculumnet.ingestion.rows import check_labels, gather, hidden_labels, too_deep, torn_groups
    from curriculumnet.ingestion.scan import EXAMINED
    from curriculumnet.ingestion.states import judge
    from curriculumnet.sources.kinds import check_there, read_source, source_name
    from curriculumnet.sources.layout import Columns

    watch = Stopwatch()
    _check_settings(min_side, min_images, val_share, seed, workers)
    settings: dict[str, Any] = {
        "label_column": label_column,
        "file_column": file_column,
        "group_column": group_column,
        "exclude_category": sorted(set(exclude_category)),
        "min_side": min_side,
        "min_images": min_images,
        "val_share": val_share,
        "seed": seed,
    }
    names = {} if rename is None else read_names(rename)
    # Only where it is named: work folders of versions without it stay up to date.
    if rank_column is not None:
        settings["rank_column"] = rank_column
    if rename is not None:
        settings["rename"] = os.path.abspath(rename)  # noqa: PTH100
    asked = {key: place for key, place in (("crawl", source), ("val", val), ("test", test)) if place is not None}
    # Before anything else is asked of their names.
    for each in asked.values():
        check_there(each)
    path = Path(output if output is not None else f"{source_name(source)}-work")
    _check_apart(path, asked.values())
    folder = WorkFolder(path)
    folder.check_free()
    unpacked: dict[str, str] = {}
    given = {
        key: read_source(
            place,
            columns=Columns(
                label_column, file_column, *((group_column, rank_column) if key == "crawl" else (None, None))
            ),
            unpack=partial(_unpacked, folder, key, unpacked, reread, quiet),
            indexes="" if reread else str(folder.file(INDEXES).absolute()),
        )
        for key, place in asked.items()
    }
    given = as_the_crawl_writes(given)
    names = meant(names, given["crawl"])
    _check_columns(given, label_column, file_column)
    given = renamed(given, names)
    exclude_category = (*exclude_category, *left_out(names))
    _say_what_they_are(folder, given, quiet)
    rows = gather(given)
    check_labels(rows, exclude_category)
    for doubt in (too_deep(rows), torn_groups(rows), hidden_labels(rows)):
        if doubt is not None:
            warn(doubt)
    folder = WorkFolder.create(path)
    with folder.lock(lambda message: say(message, quiet=quiet)):
        stamps = {key: each.stamps() for key, each in given.items()}
        inputs = {key: each.fingerprint(stamps[key]) for key, each in given.items()}
        if rename is not None:
            inputs["rename"] = file_digest(rename)
        if near_features is not None:
            settings["near_features"] = os.path.abspath(near_features)  # noqa: PTH100
            inputs["near_features"] = _features_digest(Path(near_features))
        _check_owner(folder, given["crawl"], inputs["crawl"])
        done = folder.finished(_STEP, inputs, settings)
        if done is not None and not reread and not _looks_otherwise(folder, done):
            if folder.project["sources"] != rows.projects():
                folder.update_project(sources=rows.projects())
            say(f"{folder.path}: the images are ingested and up to date; nothing to do.", quiet=quiet)
            return _result(folder, done.seconds)
        features = None if near_features is None else _features(folder, Path(near_features), len(rows))
        before = _before(folder, inputs)
        earlier = folder.record(_STEP)
        if earlier is not None and "near_features" in earlier.settings and near_features is None:
            warn("Near copies had been confirmed by features, and are not any more: --near-features does it again.")
        found, looked = Findings(len(rows)), np.zeros(len(rows), dtype=np.bool_)
        # Whatever comes before the record is written: what was read is kept.
        with _kept(folder, rows, stamps, settings, found, looked):
            _scan(
                folder, rows, stamps, settings, () if reread else (_known, _interrupted), found, looked, workers, quiet
            )
            labels = rows.column("labels")
            categories = labels.dictionary.to_pylist()
            states = judge(
                rows.source,
                labels.indices.to_numpy().astype("int64"),
                found,
                exclude={code for code, category in enumerate(categories) if category in set(exclude_category)},
                min_images=min_images,
                features=features,
            )
            _check_usable(rows, found, states)
            if states.near_radius is not None:
                warn(
                    "Unusually many pictures look alike: near copies are only those whose hashes differ in at most "
                    f"{states.near_radius} of 64 bits."
                )
            splits = _splits(rows, found, states, val_share, seed)
            folder.write_parts(IMAGES, _images(rows, found, states, splits, _stamped(rows, stamps, 2)))
            folder.write_table(_MODIFIED, _times(rows, stamps))
            folder.file(tables.READ).unlink(missing_ok=True)
            if before is not None:
                for line in changes(before, tables.read(folder.file(IMAGES), list(CHANGED))):
                    say(line, quiet=quiet)
            counts = account(tables.read_parts(folder.file(IMAGES), list(COLUMNS)), rows.not_images())
            folder.stamp(
                _STEP,
                inputs,
                settings,
                [IMAGES, _MODIFIED],
                watch.seconds,
                {"seen": counts["seen"], "used": counts["used"], "examined": EXAMINED},
                sources=rows.projects(),
                categories=list(counts["categories"]),
                account=counts,
            )
        _tidy(folder, given.values())
        return _result(folder, watch.seconds)


# -- before any picture is read ---------------------------------------------------------------------------------------


def _check_settings(min_side: int, min_images: int, val_share: float, seed: int, workers: int | None) -> None:
    if not 0 <= val_share < 1:
        raise UsageError(f"--val-share is {val_share:g}, but must be at least 0 and less than 1, such as 0.1.")
    for flag, value, least in (("min-side", min_side, 1), ("min-images", min_images, 1), ("seed", seed, 0)):
        if value < least:
            raise UsageError(f"--{flag} is {value}, but must be at least {least}.")
    if workers is not None and workers < 0:
        raise UsageError(f"--workers is {workers}, but must be at least 0; 0 works in this process.")


def _check_apart(work: Path, given: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write into a folder that is read: the user's pictures stay as they are."""
    from curriculumnet.images.archives import local_path

    for source in given:
        place = local_path(split_root(source)[0])
        # Path.is_dir would raise where a folder above may not be entered.
        if place is not None and os.path.isdir(place) and work.resolve().is_relative_to(place.resolve()):  # noqa: PTH112
            raise UsageError(
                f"The work folder {work} would lie inside the pictures' folder {source}: give one outside it with -o."
            )


def _check_columns(given: dict[str, Source], label_column: str, file_column: str) -> None:
    """Refuse the name of a column where no source has any."""
    from curriculumnet.sources.layout import COLUMNS

    asked = [
        flag
        for flag, name, usual in (
            ("--label-column", label_column, COLUMNS.label),
            ("--file-column", file_column, COLUMNS.file),
        )
        if name != usual
    ]
    if asked and not any(source.has_columns for source in given.values()):
        raise UsageError(f"{asked[0]} names a column of a table, but {given['crawl'].given} is no table: leave it out.")


def _say_what_they_are(folder: WorkFolder, given: dict[str, Source], quiet: bool) -> None:
    """Say what each source was taken for, unless it was before, and what differs from what is known of such."""
    known = folder.project["sources"]
    for key, source in given.items():
        if known.get(key, {}).get("kind") != source.kind:
            say(f"{source.given}: taken for {source.what}.", quiet=quiet)
        for note in source.listing.notes:
            warn(note)


def _unpacked(folder: WorkFolder, key: str, unpacked: dict[str, str], reread: bool, quiet: bool, packed: Packed) -> str:
    """Unpack a source into the work folder, unless that was done; return the path of the tar.

    What was unpacked in this call is in `unpacked`: the places by the names of the tars.
    """
    name = f"{UNPACKED}/{packed.digest}.tar"
    if unpacked.setdefault(name, packed.place) != packed.place:
        # Another file of the same name, size and time.
        name = f"{UNPACKED}/{packed.digest}-{key}.tar"
    elif folder.file(name).is_file() and not reread:
        return str(folder.file(name).resolve())
    known = folder.project["sources"].get("crawl")
    if key == "crawl" and known is not None and split_root(known["place"])[0] != packed.place:
        raise _of_another(folder, known)
    WorkFolder.create(folder.path)
    with folder.lock(lambda message: say(message, quiet=quiet)):
        say(
            f"{packed.given} is {packed.what}: its pictures are unpacked into {folder.file(name)}, as training reads "
            "each of them in place.",
            quiet=quiet,
        )
        for note in packed.notes:
            warn(note)
        with Progress("unpacking", packed.size, "bytes", quiet=quiet, aside=True) as progress:
            folder.write_with(name, lambda file: packed.write(file, progress.advance))
        _check_unpacked(folder.file(name), packed)
    return str(folder.file(name).resolve())


def _check_unpacked(path: Path, packed: Packed) -> None:
    """Check that there is a whole tar in what was compressed; nothing else is kept."""
    from curriculumnet.images.folder import Folder
    from curriculumnet.images.tar import open_tar

    try:
        open_tar(Folder(str(path.parent)), path.name)
    except SourceError as error:
        path.unlink()
        reason = str(error).replace(str(path), "what it unpacks to")
        raise SourceError(f"{packed.given} is no archive of pictures, or is damaged: {reason}") from error


def _tidy(folder: WorkFolder, given: Iterable[Source]) -> None:
    """Remove what was unpacked of earlier states of the sources."""
    kept = {Path(split_root(source.listing.root)[0]).name for source in given}
    for path in folder.file(UNPACKED).glob("*.tar"):
        if path.name not in kept:
            path.unlink()


def _check_owner(folder: WorkFolder, crawl: Source, fingerprint: str) -> None:
    """Refuse a work folder of another source; one whose source was only moved is the same."""
    known, record = folder.project["sources"].get("crawl"), folder.record(_STEP)
    if known is None or known["place"] == crawl.place:
        return
    if record is None or record.inputs.get("crawl") != fingerprint:
        raise _of_another(folder, known)


def _of_another(folder: WorkFolder, known: dict[str, str]) -> WorkFolderError:
    return WorkFolderError(
        f"{folder.path} is the work folder of another source, {known['place']}: give another folder with -o."
    )


def _features_digest(path: Path) -> str:
    if not path.is_file():
        raise FeaturesError(f"The features {path} are not there: give the path of a .npy file.")
    return file_digest(path)


def _features(folder: WorkFolder, path: Path, n: int) -> NDArray[Any]:
    """Open features without reading them; they must have a row for each file, as these are numbered now."""
    from curriculumnet.work.matrices import open_matrix

    features = open_matrix(path, n, mend="take what `embed` wrote for these files")
    for name in folder.names("embed"):
        record = folder.record(f"embed:{name}")
        known = record is not None and any(path.resolve() == folder.file(each).resolve() for each in record.outputs)
        now = folder.digest(IMAGES) if folder.file(IMAGES).is_file() else None
        if record is not None and known and record.inputs.get(IMAGES) != now:
            raise FeaturesError(
                f"{path} has the features of an earlier reading of the crawl, whose files may have had other numbers: "
                "`curriculumnet embed` makes them again."
            )
        if record is not None and known and record.settings["kind"] == "run":
            warn(
                f"{path.name} is of a run that was trained on the table which changes now: that run, and all that "
                "rests on it, is then to be made anew. A pretrained network's features only have to be taken again."
            )
    return features


# -- reading ----------------------------------------------------------------------------------------------------------


def _before(folder: WorkFolder, inputs: dict[str, str]) -> pa.Table | None:
    """Return what an earlier reading of other files said of each; None when there was none."""
    from curriculumnet.ingestion.account import CHANGED

    before = folder.record(_STEP)
    if before is None or before.inputs == inputs or not folder.file(IMAGES).is_file():
        return None
    return tables.read(folder.file(IMAGES), list(CHANGED), memory_map=False)


def _is_recorded(folder: WorkFolder, record: Record, name: str) -> bool:
    """Whether a table is the one that was recorded: of two, one may be newer, where `ingest` was killed between."""
    return folder.file(name).is_file() and folder.digest(name) == record.outputs.get(name, {}).get("digest")


def _looks_otherwise(folder: WorkFolder, record: Record) -> bool:
    """Whether something else may be found in the same files than was: by this version, or for what was in the way."""
    from curriculumnet.ingestion.scan import EXAMINED, may_be_readable

    return record.figures.get("examined") != EXAMINED or any(map(may_be_readable, folder.project["account"]["reasons"]))


def _known(folder: WorkFolder, settings: dict[str, Any]) -> Known | None:
    """Return what an earlier reading found in each file; None when there was none, or it looked otherwise."""
    import numpy as np

    from curriculumnet.ingestion.findings import Known

    before = folder.record(_STEP)
    made_by = folder.project.get("versions", {}).get("curriculumnet")
    if (
        before is None
        or [made_by, before.figures.get("examined"), before.settings["min_side"]] != _looked(settings)
        or not all(_is_recorded(folder, before, name) for name in (IMAGES, _MODIFIED))
    ):
        return None
    images = tables.read(folder.file(IMAGES), memory_map=False)
    times = tables.read(folder.file(_MODIFIED), memory_map=False)
    modified = np.full(images.num_rows, UNTOLD, dtype=np.int64)
    modified[times["image_id"].to_numpy()] = times["modified"].to_numpy()
    return Known(images, modified, {key: source["root"] for key, source in folder.project["sources"].items()})


def _interrupted(folder: WorkFolder, settings: dict[str, Any]) -> Known | None:
    """Return what a reading found before it was interrupted; None when there was none, or it looked otherwise."""
    from curriculumnet.ingestion.findings import Known

    path = folder.file(tables.READ)
    try:
        images = tables.read(path, memory_map=False)
    except (FileNotFoundError, WorkFolderError):
        return None
    about = json.loads((images.schema.metadata or {}).get(b"about", b"{}"))
    if about.get("looked") != _looked(settings):
        return None
    modified = images["modified"].to_numpy()
    return Known(images.select([name for name in images.column_names if name != "modified"]), modified, about["roots"])


def _looked(settings: dict[str, Any]) -> list[Any]:
    """Return what decides what is found in a file."""
    from curriculumnet.ingestion.scan import EXAMINED

    return [__version__, EXAMINED, settings["min_side"]]


@contextmanager
def _kept(
    folder: WorkFolder,
    rows: Rows,
    stamps: dict[str, NDArray[np.int64]],
    settings: dict[str, Any],
    found: Findings,
    done: NDArray[np.bool_],
) -> Iterator[None]:
    """Write down what was found in the files that are done, if the block does not come to its end."""
    import numpy as np

    try:
        yield
    except BaseException:
        if done.any():
            _keep(folder, rows, stamps, settings, found, np.flatnonzero(done))
        raise


def _keep(
    folder: WorkFolder,
    rows: Rows,
    stamps: dict[str, NDArray[np.int64]],
    settings: dict[str, Any],
    found: Findings,
    done: NDArray[np.int64],
) -> None:
    """Write down what was found in some files, so that they need not be read again."""
    import pyarrow as pa

    from curriculumnet.ingestion.findings import STATES

    roots = {origin: source.listing.root for origin, source in rows.given.items()}
    metadata = {b"about": json.dumps({"looked": _looked(settings), "roots": roots}).encode()}

    def parts() -> Iterator[pa.Table]:
        for number, (origin, source) in enumerate(rows.given.items()):
            these = done[rows.origin[done] == number]
            for start in range(0, len(these), _PART):
                some = these[start : start + _PART]
                places = rows.place[some]
                columns = {
                    "source": pa.array([origin] * len(some)),
                    "file_name": source.listing.file_names.take(pa.array(places)).cast(pa.string()),
                    "modified": stamps[origin][places, 1],
                    "state": pa.array([STATES[code] for code in found.state[some].tolist()]),
                    "reason": pa.array([found.reasons.known[code] for code in found.reason[some].tolist()]),
                    **found.columns(some),
                }
                yield pa.table(columns).replace_schema_metadata(metadata)

    folder.write_parts(tables.READ, parts())


def _scan(
    folder: WorkFolder,
    rows: Rows,
    stamps: dict[str, NDArray[np.int64]],
    settings: dict[str, Any],
    earlier: Sequence[Callable[[WorkFolder, dict[str, Any]], Known | None]],
    found: Findings,
    done: NDArray[np.bool_],
    workers: int | None,
    quiet: bool,
) -> None:
    """Look into every file that was not set aside and is not known, write what is found, and tick off what is done."""
    import numpy as np

    from curriculumnet.ingestion.scan import Found, scan
    from curriculumnet.sources.listing import Names

    unread = {origin: np.ones(len(source.listing), dtype=np.bool_) for origin, source in rows.given.items()}
    for origin, source in rows.given.items():
        if source.listing.set_aside:
            aside = np.array(list(source.listing.set_aside), dtype=np.int64)
            found.put(rows.of(origin)[aside], [Found(*why) for why in source.listing.set_aside.values()])
            unread[origin][aside] = False
    for reading in earlier:
        # One at a time: an earlier table of a million files takes some hundred megabytes.
        known = reading(folder, settings)
        if known is None:
            continue
        for origin, source in rows.given.items():
            same, there = known.same(source.listing, stamps[origin])
            new = unread[origin][same]
            same, there = same[new], there[new]
            of = rows.of(origin)
            for start in range(0, len(same), _PART):
                part = slice(start, start + _PART)
                found.put_known(of[same[part]], known.images.take(there[part]))
            unread[origin][same] = False
            done[of[same]] = True
        del known
    places = {origin: rows.given[origin].by_tar(np.flatnonzero(each)) for origin, each in unread.items()}
    kept, total = int(done.sum()), sum(map(len, places.values()))
    if kept:
        say(f"{kept:,} files are as they were; {total:,} are read.", quiet=quiet)
    with Progress("reading pictures", total, "files", quiet=quiet) as progress:
        for origin, source in rows.given.items():
            of = rows.of(origin)[places[origin]]
            names = Names(source.listing.file_names.take(places[origin]))
            with closing(scan(source.files, names, min_side=settings["min_side"], workers=workers)) as looked:
                for start, these in looked:
                    some = of[start : start + len(these)]
                    found.put(some, these)
                    done[some] = True
                    progress.advance(len(these))


def _check_usable(rows: Rows, found: Findings, states: States) -> None:
    """Check that there is something to learn from, and that what was given to measure on can be read."""
    import numpy as np

    from curriculumnet.ingestion.findings import STATES
    from curriculumnet.ingestion.rows import frequent
    from curriculumnet.ingestion.states import KEYS

    unread = np.isin(states.state, [STATES.index(state) for state in ("missing", "broken", "refused")])
    hidden = rows.hidden()
    for code, key in enumerate(KEYS):
        held = rows.source == code
        if held.any() and unread[held].all() and key not in hidden:
            raise rows.none_usable(key, _reasons(found, states.reason[held]))
    crawl = rows.source == KEYS.index("crawl")
    left = np.unique(rows.column("labels").indices.to_numpy()[crawl & states.used])
    if len(left) < 2:
        unused = crawl & ~states.used
        codes = states.state[unused]
        most = STATES[np.bincount(codes).argmax()] if len(codes) else ""
        mend = {
            "leak": "take the pictures to measure on from elsewhere",
            "excluded": "give more pictures, leave out fewer categories, or lower --min-images",
            "refused": "give larger pictures, or lower --min-side",
        }
        raise SourceError(
            f"{'Only one' if len(left) else 'None'} of the categories of {rows.given['crawl'].given} has pictures to "
            f"train on, but a classifier needs two ({frequent(_reasons(found, states.reason[unused]))}): "
            f"{mend.get(most, 'give more pictures')}."
        )


def _reasons(found: Findings, codes: NDArray[np.int32]) -> list[str]:
    return [found.reasons.known[code] for code in codes.tolist()]


# -- the table --------------------------------------------------------------------------------------------------------


def _splits(rows: Rows, found: Findings, states: States, val_share: float, seed: int) -> NDArray[np.int8]:
    """Return each row's split as a code of `tables.SPLITS`; validation images are held out where none were given."""
    import numpy as np

    from curriculumnet.ingestion.findings import STATES
    from curriculumnet.ingestion.splits import hold_out, to_hold_out
    from curriculumnet.ingestion.states import KEYS
    from curriculumnet.sources.text import few

    train, val = tables.SPLITS.index("train"), tables.SPLITS.index("val")
    code = np.array([train if key == "crawl" else tables.SPLITS.index(key) for key in KEYS], dtype=np.int8)
    splits = code[rows.source]
    if (states.used & (rows.source == KEYS.index("val"))).any():
        return splits
    used = np.flatnonzero(states.used & (rows.source == KEYS.index("crawl")))
    groups = _codes(rows.column("groups"))
    codes, category = np.unique(rows.column("labels").indices.to_numpy()[used], return_inverse=True)
    held = hold_out(
        found.pixel_digest[used],
        category,
        share=val_share,
        seed=seed,
        groups=[states.near_group[used]] + ([] if groups is None else [groups[used]]),
    )
    splits[used[held]] = val
    copies = np.flatnonzero(states.state == STATES.index("copy"))
    splits[copies] = splits[states.copy_of[copies]]
    if val_share > 0 and not held.any():
        warn("No pictures could be held out for validation: the categories or groups do not allow it.")
    elif val_share > 0:
        counts = np.bincount(category)
        wanted, got = to_hold_out(counts, val_share), np.bincount(category, held, minlength=len(counts))
        texts = rows.column("labels").dictionary.to_pylist()
        for which, what in (
            ((wanted > 0) & (got == 0), "No picture could be held out of {}: their groups do not allow it."),
            (
                got > 2 * wanted,
                "Of {} more than twice --val-share is held out for validation: their groups are large, and stay whole.",
            ),
        ):
            if which.any():
                warn(what.format(few([texts[codes[each]] for each in np.flatnonzero(which)])))
    return splits


def _codes(values: pa.Array) -> NDArray[np.int64] | None:
    """Return a number for each distinct value, -1 for null and an empty one; None when there are no values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pc.unique(values.dictionary_decode() if pa.types.is_dictionary(values.type) else values)
    known = known.filter(pc.not_equal(known, ""))
    if not len(known):
        return None
    found: NDArray[np.int64] = pc.index_in(values, value_set=known).fill_null(-1).to_numpy().astype("int64")
    return found


def _images(
    rows: Rows, found: Findings, states: States, splits: NDArray[np.int8], offsets: NDArray[np.int64]
) -> Iterator[pa.Table]:
    """Give the table of images in parts, of which one at a time is in memory."""
    import numpy as np
    import pyarrow as pa

    from curriculumnet.images.quality import odd_size
    from curriculumnet.ingestion.findings import STATES, Texts
    from curriculumnet.ingestion.states import KEYS

    odd = np.full(len(rows), np.nan, dtype=np.float32)
    sizes = (side[found.decoded].astype(np.int64) for side in (found.width, found.height))
    odd[found.decoded] = odd_size(*sizes)
    kinds = tables.schema(tables.IMAGES)
    listed = {name: rows.column(column) for name, column in _LISTED.items()}
    for start in range(0, len(rows), _PART):
        part = slice(start, start + _PART)
        of = {"copy_of": states.copy_of[part], "near_group": states.near_group[part]}
        yield tables.build(
            tables.IMAGES,
            {
                "image_id": np.arange(start, min(start + _PART, len(rows))),
                "source": Texts(*KEYS).column(rows.source[part]),
                "split": Texts(*tables.SPLITS).column(splits[part]),
                "state": Texts(*STATES).column(states.state[part]),
                "reason": found.reasons.column(states.reason[part]),
                "label_conflict": states.label_conflict[part],
                "offset": pa.array(offsets[part], mask=offsets[part] == NOWHERE),
                "odd_size": pa.array(odd[part], mask=~found.decoded[part]),
                **{name: column[part].cast(kinds.field(name).type) for name, column in listed.items()},
                **{name: pa.array(values, mask=values < 0) for name, values in of.items()},
                **found.columns(part),
            },
        )


def _times(rows: Rows, stamps: dict[str, NDArray[np.int64]]) -> pa.Table:
    import numpy as np

    modified = _stamped(rows, stamps, 1)
    known = np.flatnonzero(modified >= 0)
    return tables.build(tables.MODIFIED, {"image_id": known, "modified": modified[known]})


def _stamped(rows: Rows, stamps: dict[str, NDArray[np.int64]], column: int) -> NDArray[np.int64]:
    """Return a part of each row's stamp."""
    import numpy as np

    found = np.empty(len(rows), dtype=np.int64)
    for origin in rows.given:
        found[rows.of(origin)] = stamps[origin][:, column]
    return found


def _result(folder: WorkFolder, seconds: float) -> Ingestion:
    project = folder.project
    account = project["account"]
    return Ingestion(
        work=folder.path,
        images_path=folder.file(IMAGES),
        source=project["sources"]["crawl"]["source"],
        sources={key: found["source"] for key, found in project["sources"].items()},
        seen=account["seen"],
        seen_in={key: found["seen"] for key, found in account["sources"].items()},
        not_images=account["not_images"],
        states=account["states"],
        reasons=account["reasons"],
        formats=account["formats"],
        used=account["used"],
        label_conflicts=account["label_conflicts"],
        near_copies=account.get("near_copies", 0),
        near_groups=account.get("near_groups", 0),
        near_given=account.get("near_given", 0),
        quality=account.get("quality", {}),
        categories=account["categories"],
        excluded_categories=tuple(account["excluded_categories"]),
        seconds=seconds,
    )
