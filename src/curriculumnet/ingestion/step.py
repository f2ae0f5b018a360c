"""Ingest a source: one row for each of its files, checked, without copies, split."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from curriculumnet.console import Grid, Progress, say, warn
from curriculumnet.errors import SourceError, UsageError, WorkFolderError
from curriculumnet.version import __version__
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, Stopwatch, WorkFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.ingestion.rows import Rows
    from curriculumnet.ingestion.scan import Found
    from curriculumnet.ingestion.sources.kinds import Source
    from curriculumnet.ingestion.states import States

_STEP = "ingest"
_MODIFIED = tables.MODIFIED.file

Modified: TypeAlias = "dict[str, list[int | None]]"
"""By given source, when each of its files was changed."""


class Known(NamedTuple):
    """What an earlier reading found in a file, and when that had been changed."""

    modified: int
    found: Found


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
        from curriculumnet.ingestion.rows import few

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
            top = list(self.reasons.items())[:8]
            lines.append(Grid("Why not used", ("reason", "files"), tuple((why, f"{n:,}") for why, n in top)))
        lines.append(
            f"Used: {splits}, in {len(sizes):,} categories of {sizes[0]:,} to {sizes[-1]:,} training images "
            f"(median {median(sizes):,.0f})."
        )
        if self.label_conflicts:
            lines.append(f"{self.label_conflicts:,} of them show a picture that lies in several categories.")
        if self.near_copies:
            given = f"; {self.near_given:,} are for training beside one to measure on" if self.near_given else ""
            lines.append(
                f"{self.near_copies:,} of them look like near copies of others, in {self.near_groups:,} groups{given}."
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
    exclude_category: Sequence[str] = (),
    min_side: int = 16,
    min_images: int = 2,
    val_share: float = 0.1,
    seed: int = 0,
    workers: int | None = None,
    quiet: bool = False,
) -> Ingestion:
    """Read a crawl, check every file and split it, without changing anything in it.

    Parameters
    ----------
    source : path-like
        A folder, .tar, list or table of crawled pictures. Folders (in a tar too) hold one folder per category, perhaps
        below ``train/``, ``val/`` and ``test/``; a list (.txt) has ``path label`` in each line; a table (.csv, .tsv,
        .jsonl, .parquet) has a column of file names and one of labels. ``crawl.tar#part`` names a folder or a table
        inside a tar.
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
    exclude_category : sequence of str
        A category to leave out.
    min_side : int
        The least short side of an image, in pixels.
    min_images : int
        Leave out categories with fewer usable images.
    val_share : float
        The share of each category to hold out for validation. 0 holds out none.
    seed : int
        Decides which images are held out.
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
    UsageError, UnknownNameError
        A setting does not fit, or a category to leave out does not exist.
    WorkFolderError
        The work folder is one of another source, or a folder with other files.
    """
    from curriculumnet.ingestion.rows import check_labels, gather, too_deep
    from curriculumnet.ingestion.sources.kinds import read_source, source_name
    from curriculumnet.ingestion.states import judge

    watch = Stopwatch()
    _check_settings(min_side, min_images, val_share, seed, workers)
    columns = {"label_column": label_column, "file_column": file_column}
    settings = {
        **columns,
        "group_column": group_column,
        "exclude_category": sorted(set(exclude_category)),
        "min_side": min_side,
        "min_images": min_images,
        "val_share": val_share,
        "seed": seed,
    }
    asked = {"crawl": source, "val": val, "test": test}
    given = {
        key: read_source(path, **columns, group_column=group_column if key == "crawl" else None)
        for key, path in asked.items()
        if path is not None
    }
    rows = gather(given)
    check_labels(rows, exclude_category)
    if (doubt := too_deep(rows)) is not None:
        warn(doubt)
    path = Path(output if output is not None else f"{source_name(source)}-work")
    _check_apart(path, given)
    folder = WorkFolder.create(path)
    with folder.lock(lambda message: say(message, quiet=quiet)):
        inputs = {key: each.fingerprint() for key, each in given.items()}
        _check_owner(folder, given["crawl"], inputs["crawl"])
        done = folder.finished(_STEP, inputs, settings)
        if done is not None:
            if folder.project["sources"] != rows.projects():
                folder.update_project(sources=rows.projects())
            say(f"{folder.path}: the images are ingested and up to date; nothing to do.", quiet=quiet)
            return _result(folder, done.seconds)
        modified = _modified(rows)
        found = _scan(rows, modified, _known(folder, rows, settings), min_side, workers, quiet)
        states = judge(rows.keys, rows.column("labels"), found, exclude=exclude_category, min_images=min_images)
        _check_usable(rows, states)
        images = _table(rows, found, states, _splits(rows, found, states, val_share, seed))
        _say_changes(folder, images, inputs, quiet)
        folder.write_table(IMAGES, images)
        folder.write_table(_MODIFIED, _times(rows, modified))
        counts = _account(rows, images)
        folder.stamp(
            _STEP,
            inputs,
            settings,
            [IMAGES, _MODIFIED],
            watch.seconds,
            {"seen": counts["seen"], "used": counts["used"]},
            sources=rows.projects(),
            categories=list(counts["categories"]),
            account=counts,
        )
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


def _check_apart(work: Path, given: dict[str, Source]) -> None:
    """Refuse to write into a folder that is read: the user's pictures stay as they are."""
    for source in given.values():
        if source.kind == "folders" and work.resolve().is_relative_to(source.place):
            raise UsageError(
                f"The work folder {work} would lie inside the pictures' folder {source.given}: "
                "give one outside it with -o."
            )


def _check_owner(folder: WorkFolder, crawl: Source, fingerprint: str) -> None:
    """Refuse a work folder of another source; one whose source was only moved is the same."""
    known, record = folder.project["sources"].get("crawl"), folder.record(_STEP)
    if known is None or known["place"] == crawl.place:
        return
    if record is None or record.inputs.get("crawl") != fingerprint:
        raise WorkFolderError(
            f"{folder.path} is the work folder of another source, {known['place']}: give another folder with -o."
        )


# -- reading ----------------------------------------------------------------------------------------------------------


def _modified(rows: Rows) -> Modified:
    """Return when each file was changed, before any is read: one that changes meanwhile is read anew next time."""
    return {
        origin: [
            None if row in source.listing.set_aside else _modified_of(source, name)
            for row, name in enumerate(source.listing.file_names)
        ]
        for origin, source in rows.given.items()
    }


def _modified_of(source: Source, name: str) -> int | None:
    try:
        return source.files.modified(name)
    except OSError:
        return None


def _known(folder: WorkFolder, rows: Rows, settings: dict[str, Any]) -> dict[tuple[str, str], Known]:
    """Return what an earlier reading found in each file, by its root and name; nothing where it looked otherwise."""
    from curriculumnet.ingestion.scan import Found

    before = folder.record(_STEP)
    made_by = folder.project.get("versions", {}).get("curriculumnet")
    if (
        before is None
        or before.settings["min_side"] != settings["min_side"]
        or made_by != __version__
        or not all(folder.file(name).is_file() for name in (IMAGES, _MODIFIED))
    ):
        return {}
    roots = {key: source["root"] for key, source in folder.project["sources"].items()}
    wanted = {source.listing.root for source in rows.given.values()}
    known = {}
    times = dict(zip(*tables.read(folder.file(_MODIFIED)).to_pydict().values(), strict=True))
    columns = ["image_id", "source", "file_name", "state", "reason", *Found._fields[2:]]
    for row in tables.read(folder.file(IMAGES), columns).to_pylist():
        modified, root, name = times.get(row.pop("image_id")), roots.get(row.pop("source")), row.pop("file_name")
        if root not in wanted or modified is None or row["state"] == "missing":
            continue
        if row["state"] not in ("broken", "refused"):
            # It became a copy, a leak, … by what it was beside.
            row |= {"state": "used", "reason": ""}
        known[root, name] = Known(modified, Found(**row))
    return known


def _scan(
    rows: Rows,
    modified: Modified,
    known: dict[tuple[str, str], Known],
    min_side: int,
    workers: int | None,
    quiet: bool,
) -> list[Found]:
    """Look into every file that was not set aside and is not known; return what was found, a row each."""
    from curriculumnet.ingestion.scan import Found, scan

    found: dict[str, list[Found]] = {}
    places: dict[str, list[int]] = {}
    for origin, source in rows.given.items():
        listing = source.listing
        found[origin] = [Found(*listing.set_aside.get(row, ("", ""))) for row in range(len(listing.file_names))]
        places[origin] = []
        for row, name in enumerate(listing.file_names):
            if row in listing.set_aside:
                continue
            before = known.get((listing.root, name))
            if before is not None and _is_same(before, source, name, modified[origin][row]):
                found[origin][row] = before.found
            else:
                places[origin].append(row)
    total = sum(map(len, places.values()))
    if known and total < len(rows):
        say(f"{len(rows) - total:,} files are as they were; {total:,} are read.", quiet=quiet)
    with Progress("reading pictures", total, "files", quiet=quiet) as progress:
        for origin, source in rows.given.items():
            names = [source.listing.file_names[row] for row in places[origin]]
            looked = scan(source.files, names, min_side=min_side, workers=workers, advance=progress.advance)
            for place, what in zip(places[origin], looked, strict=True):
                found[origin][place] = what
    return [found[origin][place] for origin, place in zip(rows.origins, rows.places, strict=True)]


def _is_same(before: Known, source: Source, name: str, modified: int | None) -> bool:
    """Whether a file has the time and the size that it had."""
    try:
        return before.modified == modified and before.found.bytes == source.files.size(name)
    except OSError:
        return False


def _check_usable(rows: Rows, states: States) -> None:
    """Check that there is something to learn from, and that what was given to measure on can be read."""
    from collections import Counter

    for key in dict.fromkeys(rows.keys):
        held = [row for row, found in enumerate(rows.keys) if found == key]
        unread = Counter(states.reasons[row] for row in held if states.states[row] in ("missing", "broken", "refused"))
        if unread.total() < len(held):
            continue
        source = rows.given[rows.origins[held[0]]]
        why = "; ".join(f"{reason}: {n:,}" for reason, n in unread.most_common(3))
        first = rows.column("file_names")[held[0]]
        raise SourceError(
            f"None of the {len(held):,} files of {source.given} is a picture that can be used ({why}; the first is "
            f"{first}, looked for in {source.listing.root}): check the source."
        )
    labels = rows.column("labels")
    left = {
        label
        for key, label, state in zip(rows.keys, labels, states.states, strict=True)
        if key == "crawl" and state == "used"
    }
    if len(left) < 2:
        unused = [row for row, key in enumerate(rows.keys) if key == "crawl" and states.states[row] != "used"]
        reasons = Counter(states.reasons[row] for row in unused)
        why = "; ".join(f"{reason}: {n:,}" for reason, n in reasons.most_common(3))
        most = Counter(states.states[row] for row in unused).most_common(1)[0][0] if unused else ""
        mend = {
            "leak": "take the pictures to measure on from elsewhere",
            "excluded": "give more pictures, leave out fewer categories, or lower --min-images",
            "refused": "give larger pictures, or lower --min-side",
        }
        raise SourceError(
            f"{'Only one' if left else 'None'} of the categories of {rows.given['crawl'].given} has pictures to train "
            f"on, but a classifier needs two ({why}): {mend.get(most, 'give more pictures')}."
        )


# -- the table --------------------------------------------------------------------------------------------------------


def _splits(rows: Rows, found: list[Found], states: States, val_share: float, seed: int) -> list[str]:
    """Return each row's split; validation images are held out where none were given."""
    import numpy as np

    from curriculumnet.ingestion.splits import hold_out

    splits = ["train" if key == "crawl" else key for key in rows.keys]
    if "val" in rows.keys:
        return splits
    used = [row for row, state in enumerate(states.states) if state == "used" and rows.keys[row] == "crawl"]
    labels, groups = rows.column("labels"), rows.column("groups")
    held = hold_out(
        np.array([found[row].pixel_digest for row in used], dtype="S32"),
        np.unique([labels[row] for row in used], return_inverse=True)[1],
        share=val_share,
        seed=seed,
        group=_codes([groups[row] for row in used]) if any(groups) else states.near_group[used],
    )
    for row in np.asarray(used)[held].tolist():
        splits[row] = "val"
    for row in np.flatnonzero(states.copy_of >= 0).tolist():
        if states.states[row] == "copy":
            splits[row] = splits[states.copy_of[row]]
    if val_share > 0 and not held.any():
        warn("No pictures could be held out for validation: the categories or groups do not allow it.")
    return splits


def _codes(values: list[str | None]) -> Any:
    """Return a number for each distinct value, -1 for None; None when there are no values."""
    import numpy as np

    number = {value: code for code, value in enumerate(sorted({value for value in values if value is not None}))}
    if not number:
        return None
    return np.array([-1 if value is None else number[value] for value in values], dtype=np.int64)


def _table(rows: Rows, found: list[Found], states: States, splits: list[str]) -> pa.Table:
    import numpy as np

    from curriculumnet.images.quality import odd_size
    from curriculumnet.ingestion.scan import Found

    shown = [row for row, each in enumerate(found) if each.pixel_digest is not None]
    odd: list[float | None] = [None] * len(found)
    sizes = [np.array([getattr(found[row], side) for row in shown], dtype=np.int64) for side in ("width", "height")]
    for row, score in zip(shown, odd_size(*sizes).tolist(), strict=True):
        odd[row] = score
    return tables.build(
        tables.IMAGES,
        {
            "image_id": list(range(len(rows))),
            "source": rows.keys,
            "file_name": rows.column("file_names"),
            "label": rows.column("labels"),
            "split": splits,
            "state": states.states,
            "reason": states.reasons,
            "label_conflict": states.label_conflict,
            **{name: [getattr(each, name) for each in found] for name in Found._fields[2:]},
            "odd_size": odd,
            "copy_of": [None if of < 0 else of for of in states.copy_of.tolist()],
            "near_group": [None if of < 0 else of for of in states.near_group.tolist()],
            "group": rows.column("groups"),
            "url": rows.column("urls"),
            "licence": rows.column("licences"),
        },
    )


def _times(rows: Rows, modified: Modified) -> pa.Table:
    times = [modified[origin][place] for origin, place in zip(rows.origins, rows.places, strict=True)]
    kept = [row for row, time in enumerate(times) if time is not None]
    return tables.build(tables.MODIFIED, {"image_id": kept, "modified": [times[row] for row in kept]})


def _account(rows: Rows, images: pa.Table) -> dict[str, Any]:
    from curriculumnet.ingestion.account import account

    names = ("source", "file_name", "label", "split", "state", "reason", "format", "label_conflict", "near_group")
    return account({name: images[name].to_pylist() for name in (*names, *tables.QUALITY)}, rows.not_images())


def _say_changes(folder: WorkFolder, images: pa.Table, inputs: dict[str, str], quiet: bool) -> None:
    """Say what has changed in the sources since they were last ingested."""
    from curriculumnet.ingestion.account import changes

    before = folder.record(_STEP)
    if before is None or before.inputs == inputs or not folder.file(IMAGES).is_file():
        return
    names = ["source", "file_name", "label", "digest"]
    old, new = (table.to_pylist() for table in (tables.read(folder.file(IMAGES), names), images.select(names)))
    for line in changes(old, new):
        say(line, quiet=quiet)


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
