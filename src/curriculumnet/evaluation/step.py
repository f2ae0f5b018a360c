"""The step `evaluate`: from runs to their errors, and to the differences between them."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.console import Grid, Progress, say, waiting, warn
from curriculumnet.errors import InputError, UsageError, WorkFolderError
from curriculumnet.evaluation.summary import difference_grids, error_grids, whose_labels
from curriculumnet.work import tables
from curriculumnet.work.folder import COMPARISONS, IMAGES, TRAINING_IMAGES, Record, Stopwatch, WorkFolder

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from curriculumnet.images.loader import Pictures
    from curriculumnet.networks.predictor import Predictor

_COMPARING = "evaluate"
"""The record of the comparisons; those of the runs are ``evaluate:NAME``."""

_BASELINE = "model-a"
_CROPS = (1, 10)
_COMPARED = 8
"""How many runs are compared with each other: 56 ordered pairs."""

_SPLITS = ("test", "val")
"""The splits that are measured on, the more telling first."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` has measured, now or before.

    Attributes
    ----------
    work : Path
        The work folder.
    runs : tuple of str
        The runs that were asked for, oldest first.
    baseline : str or None
        The run that the others are set against: model-a, or else the oldest.
    figures : list of dict
        The runs' errors over all categories (`work.tables.METRICS`, with the key `run`).
    comparisons : list of dict
        The runs' paired differences with the baseline (`work.tables.COMPARISONS`).
    metrics_paths : tuple of Path
        The files of all their errors, those of categories included.
    comparisons_path : Path
        The file of the paired differences of all runs.
    seconds : float
        How long it took this time.
    """

    work: Path
    runs: tuple[str, ...]
    baseline: str | None
    figures: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    metrics_paths: tuple[Path, ...]
    comparisons_path: Path
    seconds: float

    def table(self) -> pa.Table:
        """Return all errors of the runs, by category too: the columns of `work.tables.METRICS` after `run`."""
        import pyarrow as pa

        rows = [
            {"run": run} | row
            for run, path in zip(self.runs, self.metrics_paths, strict=True)
            for row in json.loads(path.read_text(encoding="utf-8"))
        ]
        columns = [pa.field("run", pa.string(), nullable=False), *tables.schema(tables.METRICS)]
        return pa.Table.from_pylist(rows, pa.schema(columns))

    def summary(self) -> list[str | Grid]:
        """Return lines and tables for a terminal."""
        if not self.figures:
            return ["Nothing was measured."]
        return [*whose_labels(self.figures), *error_grids(self.figures), *difference_grids(self.comparisons)]


@dataclass(frozen=True)
class _Split:
    """The usable images of a split, in the order of their ids; `whose` says whose labels they are."""

    name: str
    whose: str
    ids: NDArray[np.int64]
    labels: pa.ChunkedArray
    targets: NDArray[np.int64]


@dataclass(frozen=True)
class _Job:
    """A run to evaluate: what it reads, and the crops that were evaluated before and those that are missing."""

    run: str
    inputs: dict[str, str]
    kept: tuple[int, ...]
    missing: tuple[int, ...]


def evaluate(
    work: str | os.PathLike[str],
    *,
    run: str | None = None,
    crops: tuple[int, ...] = _CROPS,
    batch_size: int = 64,
    device: str = "auto",
    workers: int | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Evaluation:
    """Measure the errors of the trained networks, and the differences between them.

    Every run answers the same usable images: those given for testing, and those for validation. Where these were held
    out from the crawl, their labels are the crawl's own, and the figures say so. Only runs that are new or have changed
    are asked; what was measured with other crops stays. At most the eight newest runs are compared with each other,
    always with the baseline among them.

    Parameters
    ----------
    work : path-like
        The work folder.
    run : str, optional
        The run to evaluate; all runs unless given.
    crops : tuple of int
        Crops per image: 1 (centre), or 10 (corners too, mirrored). The probabilities of ten crops are averaged.
    batch_size : int
        Crops that a network is shown at a time.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
    seed : int
        Seed of the paired intervals.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Evaluation

    Raises
    ------
    WorkFolderError
        There is no work folder, or no run in it yet.
    UnknownNameError
        There is no such run.
    UsageError
        A setting is out of its range.
    InputError
        The run's network is gone, or knows other categories.
    SourceError
        A picture can no longer be read. None is left out, for then runs would be measured on different images.
    MachineError
        No such device, or the disk is full.

    Examples
    --------
    curriculumnet evaluate crawl-work --run model-d --crops 10
    """
    watch = Stopwatch()
    asked = _checked(crops, batch_size, seed)
    folder = WorkFolder.open(work)
    found = folder.find("train", run, "run", f"`curriculumnet train {folder.path} --recipe {_BASELINE}` makes one.")
    names = folder.names("train") if run is None else [found]
    if not folder.file(IMAGES).is_file():
        raise WorkFolderError(f"{folder.file(IMAGES)} is gone: `curriculumnet ingest` makes it again.")
    with folder.lock(lambda message: say(message, quiet=quiet)):
        splits = _read_splits(folder)
        if not splits:
            warn(
                f"{folder.path} has no validation or test images, so nothing can be measured: "
                "`curriculumnet ingest` with --test SOURCE adds some."
            )
        jobs = _jobs(folder, names, asked, strict=run is not None)
        for job in (job for job in jobs if not job.missing):
            say(f"The figures of run {job.run} are up to date; nothing to do.", quiet=quiet)
        todo = [job for job in jobs if job.missing]
        refused = (
            _evaluate(folder, todo, splits, batch_size, device, workers, quiet, strict=run is not None)
            if todo
            else set()
        )
        _compare(folder, splits, seed)
    return _result(folder, [job.run for job in jobs if job.run not in refused], watch.seconds)


def _checked(crops: tuple[int, ...], batch_size: int, seed: int) -> tuple[int, ...]:
    """Return the crops in rising order, each once."""
    wrong = [count for count in crops if count not in _CROPS]
    if wrong or not crops:
        raise UsageError(f"--crops is {wrong[0] if wrong else 'empty'}: it must be 1 or 10, or each of them.")
    if batch_size < 1:
        raise UsageError(f"--batch-size is {batch_size}: it must be at least 1.")
    if seed < 0:
        raise UsageError(f"--seed is {seed}: it must be at least 0.")
    return tuple(sorted(set(crops)))


# -- what there is to do ----------------------------------------------------------------------------------------------


def _jobs(folder: WorkFolder, names: Sequence[str], crops: tuple[int, ...], *, strict: bool) -> list[_Job]:
    """Return what is to be done for each run; a run without its network is an error, or left out with a warning."""
    jobs = []
    for run in names:
        try:
            inputs = _inputs(folder, run)
        except InputError as error:
            if strict:
                raise
            warn(f"{error} The run is left out.")
            continue
        record = _current(folder, run)
        kept = tuple(record.settings["crops"]) if record else ()
        jobs.append(_Job(run, inputs, kept, tuple(count for count in crops if count not in kept)))
    return jobs


def _inputs(folder: WorkFolder, run: str) -> dict[str, str]:
    """Return the digests of what decides a run's answers.

    Raises
    ------
    InputError
        The network is gone.
    """
    names = [f"runs/{run}/model/config.json", f"runs/{run}/model/model.safetensors"]
    for name in names:
        if not folder.file(name).is_file():
            raise InputError(f"{folder.file(name)} is gone: train the run {run} again.")
    return folder.digests(IMAGES, *names)


def _current(folder: WorkFolder, run: str) -> Record | None:
    """Return the record of a run's evaluation if it is still that of its network and of the images."""
    record = folder.record(f"evaluate:{run}")
    try:
        return folder.finished(f"evaluate:{run}", _inputs(folder, run), record.settings) if record else None
    except InputError:
        return None


def _read_splits(folder: WorkFolder) -> list[_Split]:
    """Return the splits to measure on that have usable images."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    images = tables.read(folder.file(IMAGES), ["image_id", "source", "label", "split", "state"])
    used = images.filter(pc.equal(images["state"], "used"))
    categories = pa.array(folder.categories)
    splits = []
    for name in _SPLITS:
        found = used.filter(pc.equal(used["split"], name))
        if found.num_rows:
            kinds = {folder.project["sources"][source]["labels"] for source in pc.unique(found["source"]).to_pylist()}
            whose = "clean" if kinds == {"clean"} else "crawl"
            targets = pc.index_in(found["label"], value_set=categories).to_numpy().astype(np.int64)
            # A copy: torch warns of arrays that may not be written, as Arrow's are.
            ids = found["image_id"].to_numpy().copy()
            splits.append(_Split(name, whose, ids, found["label"], targets))
    return splits


def _predictions(run: str, split: str, crops: int) -> str:
    return f"runs/{run}/predictions-{split}{'' if crops == 1 else f'-{crops}-crops'}.parquet"


# -- asking the networks ----------------------------------------------------------------------------------------------


def _evaluate(
    folder: WorkFolder,
    jobs: Sequence[_Job],
    splits: Sequence[_Split],
    batch_size: int,
    device: str,
    workers: int | None,
    quiet: bool,
    *,
    strict: bool,
) -> set[str]:
    """Evaluate runs one by one, each stamped when it is finished; return those whose networks do not fit."""
    from curriculumnet.images.loader import Pictures

    with waiting("Loading torch", quiet=quiet):
        import_module("timm")
    from curriculumnet.networks.device import resolve_device

    where = resolve_device(device)
    images = tables.read_images(folder.file(IMAGES), tables.PLACES)
    pictures = Pictures(images, {key: source["root"] for key, source in folder.project["sources"].items()})
    n_images = sum(len(split.ids) for split in splits)
    total = n_images * sum(sum(job.missing) for job in jobs)
    refused = set()
    with Progress("evaluating", total, "crops", quiet=quiet) as progress:
        for job in jobs:
            watch = Stopwatch()
            try:
                predictor = _predictor(folder, job.run, where)
            except InputError as error:
                if strict:
                    raise
                warn(f"{error} The run is left out.")
                refused.add(job.run)
                progress.advance(n_images * sum(job.missing))
                continue
            _warn_of_other_images(folder, job)
            for crops, split in itertools.product(job.missing, splits):
                found = _probabilities(pictures, split, predictor, crops, batch_size, workers, progress)
                folder.write_table(_predictions(job.run, split.name, crops), _prediction_table(split, found))
            _finish(folder, job, splits, watch)
    return refused


def _predictor(folder: WorkFolder, run: str, where: Any) -> Predictor:
    """Load a run's network.

    Raises
    ------
    InputError
        It cannot be loaded, or knows other categories than the work folder.
    """
    from curriculumnet.networks.folder import load
    from curriculumnet.networks.predictor import Predictor

    model = load(folder.file(f"runs/{run}/model"), where)
    if list(model.categories) != folder.categories:
        raise InputError(f"Run {run} was trained on other categories than {folder.path} has now: train it again.")
    return Predictor(model, where)


def _warn_of_other_images(folder: WorkFolder, job: _Job) -> None:
    trained = folder.record(f"train:{job.run}")
    now = folder.digest(TRAINING_IMAGES)
    if trained and trained.inputs.get(TRAINING_IMAGES, now) != now:
        warn(
            f"Run {job.run} was trained before the images were ingested again: some that it is measured on now may "
            "have been among its training images. Train it again to be sure."
        )


def _probabilities(
    pictures: Pictures,
    split: _Split,
    predictor: Predictor,
    crops: int,
    batch_size: int,
    workers: int | None,
    progress: Progress,
) -> NDArray[np.float16]:
    """Ask a network about a split's images; of several crops the probabilities are averaged."""
    import numpy as np

    from curriculumnet.images.loader import even_batches, load, worker_count

    found = np.empty((len(split.ids), len(predictor.model.categories)), np.float16)
    batches = even_batches(split.ids, max(1, batch_size // crops))
    first = 0
    for ids, views in load(pictures, batches, predictor.view(crops), workers=worker_count(workers)):
        answers = predictor.probabilities(views).numpy().reshape(len(ids), crops, -1)
        found[first : first + len(ids)] = answers.mean(axis=1)
        first += len(ids)
        progress.advance(len(views))
    return found


def _prediction_table(split: _Split, probabilities: NDArray[np.float16]) -> pa.Table:
    import pyarrow as pa

    lists = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), probabilities.shape[1])
    return tables.build(tables.PREDICTIONS, {"image_id": split.ids, "label": split.labels, "probabilities": lists})


def _finish(folder: WorkFolder, job: _Job, splits: Sequence[_Split], watch: Stopwatch) -> None:
    """Write a run's figures, from what is in the files of its answers, and its record."""
    from curriculumnet.evaluation.metrics import figures

    crops = sorted({*job.kept, *job.missing})
    rows = [
        {"split": split.name, "labels": split.whose, "crops": count} | row
        for split, count in itertools.product(splits, crops)
        for row in figures(_ranks(folder, job.run, split, count), split.targets, folder.categories)
    ]
    tables.check_rows(tables.METRICS, rows)
    metrics = tables.METRICS.file.replace("NAME", job.run)
    folder.write_json(metrics, rows)
    written = [_predictions(job.run, split.name, count) for split, count in itertools.product(splits, crops)]
    for left in folder.file(f"runs/{job.run}").glob("predictions-*.parquet"):
        # The answers of an earlier network, or about images of before, would pass for this one's.
        if f"runs/{job.run}/{left.name}" not in written:
            left.unlink()
    folder.stamp(f"evaluate:{job.run}", job.inputs, {"crops": crops}, [metrics, *written], watch.seconds)


def _ranks(folder: WorkFolder, run: str, split: _Split, crops: int) -> NDArray[np.int64]:
    """Read a run's answers and return the place of each label among them."""
    from curriculumnet.evaluation.metrics import label_ranks

    column = tables.read(folder.file(_predictions(run, split.name, crops)), ["probabilities"])["probabilities"]
    flat = column.combine_chunks().flatten().to_numpy()
    return label_ranks(flat.reshape(len(split.targets), -1), split.targets)


# -- comparing them ---------------------------------------------------------------------------------------------------


def _compare(folder: WorkFolder, splits: Sequence[_Split], seed: int) -> None:
    """Compare the newest evaluated runs with each other, unless nothing has changed since that was done."""
    watch = Stopwatch()
    records = {run: record for run in folder.names("train") if (record := _current(folder, run))}
    runs = _compared(list(records))
    crops = {run: records[run].settings["crops"] for run in runs}
    read = [_predictions(run, split.name, count) for run in runs for split in splits for count in crops[run]]
    inputs, settings = folder.digests(IMAGES, *read), {"runs": runs, "seed": seed}
    if folder.finished(_COMPARING, inputs, settings):
        return
    rows = [
        row
        for split, count in itertools.product(splits, _CROPS)
        for row in _differences(folder, [run for run in runs if count in crops[run]], split, count, seed)
    ]
    rows.sort(key=lambda row: (runs.index(row["run"]), runs.index(row["baseline"])))
    tables.check_rows(tables.COMPARISONS, rows)
    folder.write_json(COMPARISONS, rows)
    folder.stamp(_COMPARING, inputs, settings, [COMPARISONS], watch.seconds)


def _compared(runs: list[str]) -> list[str]:
    """Return the runs that are compared with each other: the baseline and the newest."""
    newest = runs[-_COMPARED:]
    baseline = _baseline(runs)
    return newest if baseline is None or baseline in newest else [baseline, *newest[1:]]


def _baseline(runs: Sequence[str]) -> str | None:
    """Return the run that others are set against: model-a, or else the oldest; None when there is no run."""
    return _BASELINE if _BASELINE in runs else next(iter(runs), None)


def _differences(folder: WorkFolder, runs: Sequence[str], split: _Split, crops: int, seed: int) -> list[dict[str, Any]]:
    """Return the rows of every ordered pair of runs on one split with one number of crops."""
    from curriculumnet.evaluation.comparison import compare
    from curriculumnet.evaluation.metrics import is_wrong, metrics_of

    metrics = metrics_of(len(folder.categories))
    wrong = {}
    for run in runs:
        ranks = _ranks(folder, run, split, crops)
        wrong[run] = {metric: is_wrong(ranks, metric) for metric in metrics}
    rows = []
    for (run, baseline), metric in itertools.product(itertools.combinations(runs, 2), metrics):
        found = compare(wrong[run][metric], wrong[baseline][metric], split.targets, seed=seed)
        about = {"split": split.name, "labels": split.whose, "crops": crops, "metric": metric}
        rows.append({"run": run, "baseline": baseline} | about | vars(found))
        rows.append({"run": baseline, "baseline": run} | about | vars(found.turned()))
    return rows


# -- the result -------------------------------------------------------------------------------------------------------


def _result(folder: WorkFolder, runs: Sequence[str], seconds: float) -> Evaluation:
    paths = tuple(folder.file(tables.METRICS.file.replace("NAME", run)) for run in runs)
    figures = [
        {"run": run} | row
        for run, path in zip(runs, paths, strict=True)
        for row in json.loads(path.read_text(encoding="utf-8"))
        if row["category"] is None
    ]
    compared = json.loads(folder.file(COMPARISONS).read_text(encoding="utf-8"))
    known = [run for run in folder.names("train") if any(run in (row["run"], row["baseline"]) for row in compared)]
    baseline = _baseline(known)
    return Evaluation(
        work=folder.path,
        runs=tuple(runs),
        baseline=baseline,
        figures=figures,
        comparisons=[row for row in compared if row["run"] in runs and row["baseline"] == baseline],
        metrics_paths=paths,
        comparisons_path=folder.file(COMPARISONS),
        seconds=seconds,
    )
