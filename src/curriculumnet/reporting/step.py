"""Report: write the page on which people see what was found."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet import console
from curriculumnet.errors import UnknownNameError, UsageError, WorkFolderError
from curriculumnet.work import tables
from curriculumnet.work.folder import COMPARISONS, IMAGES, REPORT, STARTED, Stopwatch, WorkFolder, versions

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.reporting.contents import Contents, Curriculum, Run
    from curriculumnet.reporting.page import Sections
    from curriculumnet.reporting.verdict import Verdict

_STEP = "report"

_PAGE = 7_000_000
"""The most bytes that the page takes: pictures get what all else leaves."""

_WITHOUT_PICTURES = 3_500_000
"""The most bytes of all else; a page that takes more shows fewer categories."""

_RUNS = 24
"""Runs on one page; of more, the newest."""

_IMAGE_COLUMNS = ["source", "file_name", "label", "split", "state", "reason", "label_conflict", "format", "near_group"]


@dataclass(frozen=True)
class Report:
    """The page that `report` wrote or found written.

    Attributes
    ----------
    path : Path
        The page.
    bytes : int
        Its size.
    finding : str
        ``gain``, ``harm``, ``none`` (the interval holds 0), ``mixed`` (over images and over categories the signs
        differ), or ``unmeasured``.
    sentence : str
        The sentence on top of the page.
    run, baseline : str or None
        The two runs it speaks of.
    gain, low, high : float or None
        How much lower the run's error is, as a share, and the 95 % interval.
    pictures_missing : int
        Pictures for which the page has no thumbnail because they could not be read.
    """

    path: Path
    bytes: int
    finding: str
    sentence: str
    run: str | None
    baseline: str | None
    gain: float | None
    low: float | None
    high: float | None
    pictures_missing: int

    def table(self) -> pa.Table:
        """Return the paired differences of all runs, a row each; no rows before two runs were compared."""
        path = self.path.with_name(COMPARISONS)
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        names = [column.name for column in tables.COMPARISONS.columns]
        return tables.build(tables.COMPARISONS, {name: [row[name] for row in rows] for name in names})

    def summary(self) -> Sequence[str | console.Grid]:
        """Return lines for a terminal."""
        return self.sentence, f"Page: {self.path} ({max(0.1, self.bytes / 1e6):.1f} MB)"


def report(work: str | os.PathLike[str], *, compare: tuple[str, str] | None = None, quiet: bool = False) -> Report:
    """Write the page that shows what was found: one HTML file that loads nothing from elsewhere.

    It shows whatever the work folder holds by now.

    Parameters
    ----------
    work : path-like
        The work folder.
    compare : tuple of str, optional
        A run and the run it is set against. Unless given: the newest of the fullest curriculum recipe, and model-a.
    quiet : bool
        Print nothing but warnings and the result.

    Returns
    -------
    Report
        The page's path and size, and its sentence on top.

    Raises
    ------
    WorkFolderError
        There is no work folder, or no crawl has been read into it.
    UnknownNameError
        No such run.
    UsageError
        A run is to be compared with itself.
    MachineError
        The disk is full.

    Examples
    --------
    >>> report("crawl-work", compare=("model-d", "model-a"))  # doctest: +SKIP
    """
    folder = WorkFolder.open(work)
    say = partial(console.say, quiet=quiet)
    if folder.record("ingest") is None or not folder.file(IMAGES).is_file():
        raise WorkFolderError(
            f"No crawl has been read into {folder.path}: `curriculumnet ingest SOURCE -o {folder.path}` comes first."
        )
    _check_compare(folder, compare)
    settings = {"compare": list(compare) if compare else None}
    with folder.lock(say):
        inputs = _inputs(folder)
        record = folder.finished(_STEP, inputs, settings)
        if record is not None and not record.figures["pictures_missing"]:
            say(f"The page {folder.file(REPORT)} is up to date; nothing to do.")
        else:
            watch = Stopwatch()
            figures = _write(folder, compare, quiet)
            record = folder.stamp(_STEP, inputs, settings, [REPORT], watch.seconds, figures)
    return Report(folder.file(REPORT), record.outputs[REPORT]["bytes"], **record.figures)


def _check_compare(folder: WorkFolder, compare: tuple[str, str] | None) -> None:
    known = folder.names("train")
    for name in compare or ():
        if name not in known:
            raise UnknownNameError("run", name, known)
    if compare and compare[0] == compare[1]:
        raise UsageError(f"--compare needs two different runs, not {compare[0]} twice.")


def _inputs(folder: WorkFolder) -> dict[str, str]:
    """Return the digests of every table that the page can show, and of what it shows of project.json."""
    names = [IMAGES]
    for name in folder.names("design"):
        names += [_named(table, name) for table in (tables.CURRICULUM, tables.CATEGORIES)]
    for name in folder.names("train"):
        names.append(f"runs/{name}/settings.json")
        names += [_named(table, name) for table in (tables.HISTORY, tables.DYNAMICS, tables.METRICS)]
    names.append(COMPARISONS)
    shown = json.dumps(_project(folder), sort_keys=True).encode("utf-8")
    found = folder.digests(*(name for name in names if folder.file(name).is_file()))
    return found | {"project": hashlib.blake2b(shown, digest_size=16).hexdigest()}


def _write(folder: WorkFolder, compare: tuple[str, str] | None, quiet: bool) -> dict[str, Any]:
    """Read the tables, write the page, and return the figures of the record."""
    from curriculumnet.reporting.page import render
    from curriculumnet.reporting.verdict import judge

    contents, pair = _read(folder, compare)
    verdict = judge(contents, pair)
    shown, left = _fitted(contents, verdict, pair)
    pictures, side, missing = _thumbnails(contents, shown, left, quiet)
    page = render(contents, shown, pictures, side).encode("utf-8")
    folder.write_bytes(REPORT, page)
    row = verdict.row or {}
    return {
        "finding": verdict.finding,
        "sentence": verdict.sentence,
        "run": row.get("run"),
        "baseline": row.get("baseline"),
        "gain": row.get("value"),
        "low": row.get("low"),
        "high": row.get("high"),
        "pictures_missing": missing,
    }


def _read(folder: WorkFolder, compare: tuple[str, str] | None) -> tuple[Contents, tuple[str, str] | None]:
    """Read all tables; return them with the run and the baseline that the page compares, None when there are none."""
    from curriculumnet.reporting.contents import Contents
    from curriculumnet.reporting.verdict import choose_pair

    names = folder.names("train")
    kept = [name for name in names if name in names[-_RUNS:] or name in (compare or ())]
    measured = [name for name in kept if _is_current(folder, f"evaluate:{name}")]
    runs = tuple(_read_run(folder, name, measured=name in measured) for name in kept)
    comparisons = [
        row for row in _read_rows(folder, COMPARISONS) if row["run"] in measured and row["baseline"] in measured
    ]
    pair = compare or choose_pair(runs, comparisons)
    followed = [run.settings.get("curriculum") for run in runs if pair and run.name == pair[0]]
    contents = Contents(
        project=_project(folder),
        images=tables.read_images(folder.file(IMAGES), (*_IMAGE_COLUMNS, *tables.PLACES, *tables.QUALITY)),
        curriculum=_read_curriculum(folder, followed[0] if followed else None),
        runs=runs,
        runs_left_out=len(names) - len(kept),
        comparisons=comparisons,
        outdated=_outdated(folder, [name for name in kept if name not in measured]),
    )
    return contents, pair


def _read_run(folder: WorkFolder, name: str, *, measured: bool) -> Run:
    from curriculumnet.reporting.contents import Run

    settings = folder.file(f"runs/{name}/settings.json")
    history, dynamics = (folder.file(_named(table, name)) for table in (tables.HISTORY, tables.DYNAMICS))
    return Run(
        name,
        json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {},
        _read_rows(folder, _named(tables.METRICS, name)) if measured else [],
        tables.read(history) if history.is_file() else None,
        tables.read(dynamics, ["image_id", "agreements"]) if dynamics.is_file() else None,
    )


def _read_curriculum(folder: WorkFolder, preferred: str | None) -> Curriculum | None:
    """Read the preferred curriculum, or else the newest, of those that order the images that there are now."""
    from curriculumnet.reporting.contents import Curriculum

    known = [name for name in folder.names("design") if _orders_these_images(folder, name)]
    if not known:
        return None
    name = preferred if preferred in known else known[-1]
    images = tables.read(folder.file(_named(tables.CURRICULUM, name)))
    metadata = {key.decode(): value.decode() for key, value in (images.schema.metadata or {}).items()}
    known_keys = {key for key, _ in tables.CURRICULUM.metadata}
    return Curriculum(
        name,
        images,
        tables.read(folder.file(_named(tables.CATEGORIES, name))),
        {key: value for key, value in metadata.items() if key in known_keys},
    )


def _is_current(folder: WorkFolder, step: str) -> bool:
    """Whether a step has finished, with all that it read as it is now."""
    record = folder.record(step)
    return record is not None and all(
        folder.file(name).is_file() and folder.digest(name) == digest for name, digest in record.inputs.items()
    )


def _orders_these_images(folder: WorkFolder, curriculum: str) -> bool:
    record = folder.record(f"design:{curriculum}")
    return record is not None and record.inputs.get(IMAGES) == folder.digest(IMAGES)


def _outdated(folder: WorkFolder, unmeasured: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for everything that is left out because it belongs to what was there before."""
    runs = [name for name in unmeasured if folder.record(f"evaluate:{name}") is not None]
    curricula = [name for name in folder.names("design") if not _orders_these_images(folder, name)]
    return (
        *(f"{name} has changed since it was measured: `curriculumnet evaluate` measures it again." for name in runs),
        *(
            f"The curriculum {name} orders the images of an earlier reading of the crawl: `curriculumnet embed` and "
            "`curriculumnet design` make it again."
            for name in curricula
        ),
    )


def _read_rows(folder: WorkFolder, name: str) -> list[dict[str, Any]]:
    path = folder.file(name)
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def _project(folder: WorkFolder) -> dict[str, Any]:
    """Return what the page may show of project.json, with the versions that a record made now would have.

    This step's own record and how the path was started say nothing about what was found.
    """
    project = {key: value for key, value in folder.project.items() if key != STARTED}
    steps = {step: record for step, record in project["steps"].items() if step != _STEP}
    return project | {"steps": steps, "versions": versions()}


def _fitted(contents: Contents, verdict: Verdict, pair: tuple[str, str] | None) -> tuple[Sections, int]:
    """Return the sections, smaller where the crawl is large, and the bytes that they leave for pictures."""
    from curriculumnet.reporting.page import Limits, render, sections

    limits = Limits()
    while True:
        shown = sections(contents, verdict, pair, limits)
        size = len(render(contents, shown, {}, 0).encode("utf-8"))
        if size <= _WITHOUT_PICTURES or limits.rows == 1:
            return shown, max(0, _PAGE - size)
        limits = limits.smaller()


def _thumbnails(contents: Contents, shown: Sections, left: int, quiet: bool) -> tuple[dict[int, str], int, int]:
    """Return a thumbnail per image id, their side in pixels, and how many pictures could not be read.

    All pictures share the bytes that are left equally.
    """
    from curriculumnet.errors import SourceError
    from curriculumnet.images.decode import Unreadable
    from curriculumnet.images.loader import Pictures
    from curriculumnet.reporting.thumbnails import side_for, thumbnail

    wanted = [picture for strip in shown.strips for picture in strip.pictures]
    limit = left // max(1, len(wanted))
    side = side_for(limit)
    source = Pictures(contents.images, {key: found["root"] for key, found in contents.project["sources"].items()})
    made: dict[int, str] = {}
    failures: list[str] = []
    with console.Progress("making thumbnails", len(wanted), "pictures", quiet=quiet) as progress:
        for picture in wanted:
            try:
                made[picture.image_id] = thumbnail(source.read(picture.image_id), side, limit)
            except (SourceError, Unreadable) as error:
                failures.append(f"{picture.file_name}: {error}")
            progress.advance()
    if failures:
        console.warn(f"{len(failures):,} of {len(wanted):,} pictures are missing on the page. {failures[0]}")
    return made, side, len(failures)


def _named(table: tables.Table, name: str) -> str:
    return table.file.replace("NAME", name)
