"""The whole path: which step comes after which. The only module that knows the steps' order."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curriculumnet import console
from curriculumnet.curriculum.step import design
from curriculumnet.embedding.step import embed
from curriculumnet.evaluation.step import evaluate
from curriculumnet.flags import typed
from curriculumnet.images.archives import is_url
from curriculumnet.ingestion.step import Ingestion, ingest
from curriculumnet.reporting.step import report
from curriculumnet.training.step import train
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, REPORT, STARTED, Record, Stopwatch, WorkFolder

if TYPE_CHECKING:
    import pyarrow as pa

_BASELINE = "model-a"
_CONTROL = "model-a-balanced"
_CURRICULUM_RUN = "model-d"

_BACKWARD = 3
"""A training step costs about three times a forward pass: one forward, two in the backward pass."""
_CROPS = 11
"""Views of an image when both one crop and ten crops are evaluated."""
_WHOLE_PRECISION = 2
"""What a forward pass in whole precision costs, where that in training is in half."""


@dataclass(frozen=True)
class Run:
    """What the whole path has made.

    Attributes
    ----------
    work : Path
        The work folder.
    report : Path
        The page.
    sentence : str
        What the page says first: what was gained, or that nothing was.
    states : dict of str to int
        How many files are in each state, the most first; they add up to the files seen.
    subset_sizes : tuple of int
        Images in each subset, cleanest first.
    figures : list of dict
        Rows of all runs' metrics over all categories (`work.tables.METRICS`, with the key `run`).
    comparisons : list of dict
        The runs' paired differences with the baseline (`work.tables.COMPARISONS`).
    seconds : float
        How long this start took.
    """

    work: Path
    report: Path
    sentence: str
    states: dict[str, int]
    subset_sizes: tuple[int, ...]
    figures: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    seconds: float

    def table(self) -> pa.Table:
        """Return the figures as a table."""
        import pyarrow as pa

        return pa.Table.from_pylist(self.figures)

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        from curriculumnet.evaluation.summary import difference_grids, error_grids, whose_labels

        figures = _headline(self.figures)
        counted = ", ".join(f"{n:,} {state}" for state, n in self.states.items())
        return [
            f"{sum(self.states.values()):,} files seen: {counted}.",
            *whose_labels(figures),
            *error_grids(figures),
            *difference_grids(_headline(self.comparisons)),
            self.sentence,
            f"All figures, the pictures and the account of every file are on the page: {self.report}",
        ]


@dataclass(frozen=True)
class Demo(Run):
    """What the demonstration has made: a `Run`, and what is known because the miniature's truth is.

    Attributes
    ----------
    right : list of dict
        For the whole crawl and for each subset: `name`, `n`, `right` (share of right labels).
    """

    right: list[dict[str, Any]]

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        rows = tuple((row["name"], f"{row['n']:,}", f"{100 * row['right']:.1f} %") for row in self.right)
        return [console.Grid("Labels that are right", ("", "images", "right"), rows), *super().summary()]


@dataclass(frozen=True)
class Status:
    """What is done in a work folder, and what is next.

    Attributes
    ----------
    work : Path
        The work folder.
    steps : list of dict
        `step`, `state`, `finished` (ISO 8601, UTC), `seconds`, `progress`. The state is ``done``, ``outdated`` (what it
        read has changed, what it wrote is gone, or it rests on something outdated) or ``begun``; the progress of a
        training that has begun is that of its last checkpoint, such as ``19 of 118 steps``.
    next : str
        The command to type next; empty when everything is done.
    at_work : str
        The process that writes there now; empty when none does.
    """

    work: Path
    steps: list[dict[str, Any]]
    next: str
    at_work: str

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        rows = tuple(
            (
                row["step"],
                row["state"],
                row["progress"] or row["finished"][:19].replace("T", " "),
                console.duration(row["seconds"]) if row["finished"] else "",
            )
            for row in self.steps
        )
        grid = console.Grid(str(self.work), ("step", "state", "finished (UTC)", "took"), rows)
        if self.at_work:
            return [grid, f"At work: {self.at_work}."]
        return [grid, f"Next: {self.next}" if self.next else "Everything is done."]


def run(
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
    exclude_category: tuple[str, ...] = (),
    min_side: int = 16,
    min_images: int = 2,
    features_from: str | None = None,
    compare: bool = False,
    balanced: bool = False,
    method: str = "density",
    model: str = "resnet18",
    image_size: int | None = None,
    pretrained: bool = False,
    small_stem: bool | None = None,
    epochs: float | None = None,
    batch_size: int | None = None,
    optimizer: Literal["sgd", "adamw", "rmsprop"] | None = None,
    learning_rate: float | None = None,
    crop_scale: tuple[float, float] = (0.35, 1.0),
    mirror: bool = True,
    cache: bool = False,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    workers: int | None = None,
    quiet: bool = False,
) -> Run:
    """Go the whole path: from crawled pictures to a trained model, its figures and a page.

    Ingest, train on everything, take that network's features, design a curriculum, train along it, evaluate both,
    write the page. Stopped at any moment and started again, it goes on where it was.

    Parameters
    ----------
    source : path-like
        The crawl: class folders, an archive, a table, a list, a URL.
    output : path-like, optional
        The work folder; ./NAME-work unless given.
    val : path-like, optional
        Clean validation pictures; else a tenth of the crawl is held out.
    test : path-like, optional
        Clean test pictures.
    label_column : str
        A table's column of categories.
    file_column : str
        A table's column of file names.
    group_column : str, optional
        A table's column of groups that must not be split.
    rank_column : str, optional
        A table's column with its own order, for --method given.
    rename : path-like, optional
        A table (label, category) that renames or merges categories.
    exclude_category : tuple of str
        A category to leave out; may be repeated.
    min_side : int
        The least short side of an image, in pixels.
    min_images : int
        Leave out categories with fewer usable images.
    features_from : str, optional
        A pretrained network whose features to use.
        The initial model is then trained only if `compare` asks for it.
    compare : bool
        With --features-from, train model-a as well.
    balanced : bool
        Train the control model-a-balanced as well.
    method : str
        The design's method.
    model : str
        The network, by its timm name.
    image_size : int, optional
        Height and width of the input in pixels.
    pretrained : bool
        Begin with weights trained elsewhere, perhaps downloaded.
    small_stem : bool, optional
        First convolution for small pictures; on up to 64 px.
    epochs : float, optional
        Passes over the training images; 30, or 10 if pretrained.
    batch_size : int, optional
        Images per step.
        Unless given, 256, halved down to 32 while an epoch has fewer than 50 steps.
    optimizer : {"sgd", "adamw", "rmsprop"}, optional
        SGD has Nesterov momentum.
        Unless given, SGD if pretrained or if the network normalises by batches alone, else AdamW.
    learning_rate : float, optional
        The highest learning rate.
    crop_scale : tuple of float
        Least and greatest area of the random crop in training.
    mirror : bool
        Mirror half of the pictures in training.
    cache : bool
        Keep the training pictures decoded in the work folder.
    seed : int
        The same seed gives the same result.
    device : str
        auto, cpu, cuda or cuda:N.
    devices : int
        GPUs, or on the CPU processes, to train on.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Run

    Raises
    ------
    CurriculumNetError
        Whatever a step raises.

    Examples
    --------
    curriculumnet run crawl/ --test clean/ --epochs 60
    """
    given = dict(locals())
    return _go(given, {"command": "run", "arguments": _differing(run, given)})


def _go(given: dict[str, Any], started: dict[str, Any]) -> Run:
    """Go the whole path with the arguments of `run`; `started` is what `status` says to type again."""
    _check(given)
    watch = Stopwatch()
    quiet = given["quiet"]

    def arguments(step: Callable[..., Any]) -> dict[str, Any]:
        """Return those that a step has too, but for what is named by the step before it."""
        return {
            name: given[name]
            for name, parameter in inspect.signature(step).parameters.items()
            if name in given and parameter.kind is parameter.KEYWORD_ONLY
        }

    baselines = [_BASELINE] if given["compare"] or not given["features_from"] else []
    baselines += [_CONTROL] if given["balanced"] else []
    with console.whole_path("the whole path", quiet=quiet) as path:
        read = ingest(given["source"], **arguments(ingest))
        _check_order(given, read)
        work = read.work
        folder = WorkFolder.open(work)
        with folder.lock(lambda message: console.say(message, quiet=quiet)):
            if folder.project.get(STARTED) != started | {"ended": True} or status(work).next:
                folder.update_project(**{STARTED: started | {"ended": False}})
            path.plan(_weights(folder, baselines, given["epochs"] or (10 if given["pretrained"] else 30)))
            for recipe in baselines:
                path.enter(recipe)
                train(work, recipe=recipe, **arguments(train))
            path.enter("embed")
            features = embed(
                work,
                from_=given["features_from"] or _BASELINE,
                device=given["device"],
                workers=given["workers"],
                quiet=quiet,
            ).name
            path.enter("design")
            curriculum = design(work, features=features, **arguments(design))
            path.enter(_CURRICULUM_RUN)
            train(work, recipe=_CURRICULUM_RUN, curriculum=curriculum.name, **arguments(train))
            path.enter("evaluate")
            measured = evaluate(work, device=given["device"], workers=given["workers"], seed=given["seed"], quiet=quiet)
            path.enter("report")
            page = report(work, quiet=quiet)
            if folder.project[STARTED] != started | {"ended": True}:
                folder.update_project(**{STARTED: started | {"ended": True}})
    return Run(
        work=folder.path,
        report=page.path,
        sentence=page.sentence,
        states=read.states,
        subset_sizes=curriculum.subset_sizes,
        figures=measured.figures,
        comparisons=measured.comparisons,
        seconds=watch.seconds,
    )


def _check_order(given: dict[str, Any], read: Ingestion) -> None:
    """Find out before any training whether there is the order that a method goes by."""
    from curriculumnet.curriculum.methods import METHODS
    from curriculumnet.errors import UsageError

    if METHODS[given["method"]].ranks != "source":
        return
    ranks = tables.read(read.images_path, ["rank"])["rank"]
    if ranks.null_count == len(ranks):
        raise UsageError(
            f"--method {given['method']} goes by the source's own order, but {read.source} tells none: name the column "
            "that has it by --rank-column."
        )


def _check(given: dict[str, Any]) -> None:
    """Find out before hours of work what would stop it afterwards."""
    from curriculumnet.curriculum.methods import METHODS
    from curriculumnet.errors import FeaturesError, UnknownNameError, UsageError
    from curriculumnet.sources.kinds import check_there
    from curriculumnet.training.settings import check_choices, check_ranges

    for source in (given["source"], given["val"], given["test"]):
        if source is not None:
            check_there(source)
    check_ranges(given)
    check_choices(run, {"optimizer": given["optimizer"]})
    if given["method"] not in METHODS:
        raise UnknownNameError("method", given["method"], METHODS)
    features_from = given["features_from"]
    if METHODS[given["method"]].ranks == "run" and features_from and not (given["compare"] or given["balanced"]):
        raise UsageError(f"--method {given['method']} orders by how a network learnt: add --compare, which trains one.")
    is_file = features_from is not None and features_from.lower().endswith(".npy")
    if is_file and not Path(features_from).is_file():
        raise FeaturesError(f"The features {features_from} are not there: give the path of a .npy file.")
    # timm and torch, which take seconds to load, come after what takes no time.
    with console.waiting("Loading torch", quiet=given["quiet"]):
        from curriculumnet.networks.create import check_name
        from curriculumnet.networks.device import resolve_device

    check_name(given["model"])
    if features_from is not None and not is_file:
        check_name(features_from)
    resolve_device(given["device"])


def demo(
    *,
    output: str | os.PathLike[str] = "demo-work",
    seed: int = 0,
    device: str = "auto",
    workers: int | None = None,
    quiet: bool = False,
) -> Demo:
    """Go the whole path on a small noisy crawl that is made on the spot, and say what it won.

    The crawl in miniature is drawn from what scikit-learn ships: scanned digits over pieces of photographs, a third of
    them under a wrong category. Its truth is known, so the share of right labels in each subset is printed as well.

    Parameters
    ----------
    output : path-like
        Where the pictures and the work folder go.
    seed : int
        The same seed gives the same pictures and result.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Demo

    Raises
    ------
    MachineError
        The disk is full.

    Examples
    --------
    curriculumnet demo
    """
    from curriculumnet.miniature import make_crawl

    typed = _differing(demo, dict(locals()))
    home = Path(output)
    watch = Stopwatch()
    console.say(f"A crawl in miniature, with a third of its labels wrong: {home / 'miniature'}", quiet=quiet)
    with console.waiting("Making the crawl", quiet=quiet):
        made = make_crawl(home / "miniature", seed=seed)
    defaults = {name: parameter.default for name, parameter in inspect.signature(run).parameters.items()}
    here = {"source": made.crawl, "output": home / "work", "test": made.test}
    machine = {"seed": seed, "device": device, "workers": workers, "quiet": quiet}
    done = _go(defaults | _DEMO | here | machine, {"command": "demo", "arguments": typed})
    return Demo(
        **{field.name: getattr(done, field.name) for field in fields(Run)} | {"seconds": watch.seconds},
        right=_right(WorkFolder.open(done.work), made.truth),
    )


_DEMO: dict[str, Any] = {
    "model": "test_resnet",
    "image_size": 64,
    "small_stem": False,
    "epochs": 25,
    "crop_scale": (0.45, 1.0),
    "mirror": False,
}
"""The demonstration's settings, which take minutes on 2 cores: digits are not mirrored, and a small part of one is no
digit. A larger network learns the wrong labels by heart, and its features tell them worse from the right ones. The
length decides what is won (docs/results): after a much shorter training model-a knows little, after a longer one both
know the wrong labels."""


def status(work: str | os.PathLike[str]) -> Status:
    """Say what is done in a work folder, and what is next.

    Parameters
    ----------
    work : path-like
        The work folder.

    Returns
    -------
    Status

    Raises
    ------
    WorkFolderError
        There is no such work folder.

    Examples
    --------
    curriculumnet status crawl-work
    """
    folder = WorkFolder.open(work)
    outdated = _outdated(folder)
    rows = [
        {
            "step": step.replace(":", " "),
            "state": "outdated" if step in outdated else "done",
            "finished": record.finished,
            "seconds": record.seconds,
            "progress": "",
        }
        for step, record in _records(folder)
    ]
    rows += [
        {
            "step": step.replace(":", " "),
            "state": "begun",
            "finished": "",
            "seconds": 0.0,
            "progress": _progress(folder, step, settings),
        }
        for step, settings in _begun(folder).items()
    ]
    return Status(folder.path, rows, _next(folder, outdated), folder.at_work())


def _records(folder: WorkFolder) -> Iterator[tuple[str, Record]]:
    for step in folder.project["steps"]:
        record = folder.record(step)
        if record is not None:
            yield step, record


def _progress(folder: WorkFolder, step: str, settings: dict[str, Any]) -> str:
    """Return how far a training that has begun had come at its last checkpoint; empty for a design."""
    kind, _, name = step.partition(":")
    if kind != "train":
        return ""
    found = folder.file(f"runs/{name}/checkpoints").glob("step-*.pt")
    # A training that is under way may just have replaced what was there.
    taken = max((int(path.stem.removeprefix("step-")) for path in found), default=0)
    laid_down = settings["stages"][-1]["last"] if settings.get("stages") else 0
    # Of a course that is decided on the way, the end is not written down.
    return f"{taken:,} of {laid_down:,} steps" if laid_down > taken else f"{taken:,} steps"


def _begun(folder: WorkFolder) -> dict[str, dict[str, Any]]:
    """Return the settings of what has begun and not finished with them: designs and trainings."""
    begun = {}
    for path in sorted(folder.file("curricula").glob("*.begun")):
        with path.open("rb") as file, contextlib.suppress(ValueError):
            # Of a line that is not whole nothing is known yet.
            settings, *_ = json.loads(file.readline())
            begun[f"design:{path.stem}"] = settings
    for path in sorted(folder.file("runs").glob("*/checkpoints/settings.json")):
        name = path.parent.parent.name
        settings = json.loads(path.read_text(encoding="utf-8"))
        record = folder.record(f"train:{name}")
        finished = record is not None and _same_training(settings, record.settings)
        if not finished:
            begun[f"train:{name}"] = settings
    return begun


def _same_training(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two trainings had the same settings; later ones are written down only where they are not the default."""
    from curriculumnet.training.settings import LATER

    known, finished = (LATER | settings for settings in (one, other))
    return all(known.get(key) == value for key, value in finished.items())


def _outdated(folder: WorkFolder) -> dict[str, Record]:
    """Return the steps that would be done again: not fresh themselves, or resting on what such a step wrote."""
    waiting = dict(_records(folder))
    outdated = {step: record for step, record in waiting.items() if not _is_fresh(folder, record)}
    while True:
        waiting = {step: record for step, record in waiting.items() if step not in outdated}
        resting = {step: record for step, record in waiting.items() if _rests_on(record, outdated)}
        if not resting:
            return outdated
        outdated |= resting


def _rests_on(record: Record, outdated: Mapping[str, Record]) -> bool:
    """Whether a step read what one of those wrote, itself aside."""
    written = {name for other in outdated.values() if other.outputs != record.outputs for name in other.outputs}
    # A part of a table has its own digest, under the table's name and a question mark.
    return any(name.partition("?")[0] in written for name in record.inputs)


def _is_fresh(folder: WorkFolder, record: Record) -> bool:
    """Whether the files that a step read are still those that it read, and those that it wrote still there."""
    return all(folder.file(name).is_file() for name in record.outputs) and all(
        folder.digest(name) == digest for name, digest in record.inputs.items() if folder.file(name).is_file()
    )


def _next(folder: WorkFolder, outdated: dict[str, Record]) -> str:
    """Return the command to type next: a path that has not ended, or the first thing that is not done."""
    started = folder.project.get(STARTED, {"ended": True})
    if started["ended"]:
        return _first_missing(folder, outdated)
    if started["command"] == "demo":
        return typed(demo, started["arguments"] | {"output": str(folder.path.parent)})
    return typed(run, started["arguments"] | {"output": str(folder.path)})


def _first_missing(folder: WorkFolder, outdated: dict[str, Record]) -> str:
    """Return the command of the first thing that is not done, in the order of the path."""
    work = {"work": str(folder.path)}
    if "ingest" in outdated:
        # The table of images is gone, and features with it: whose rows they are cannot be told any more.
        settings = {key: value for key, value in outdated["ingest"].settings.items() if key != "near_features"}
        return typed(ingest, _sources(folder) | settings | {"output": str(folder.path)})
    made_by: dict[str, Callable[..., Any]] = {"train": train, "embed": embed, "design": design}
    for step, settings in _begun(folder).items():
        kind, _, name = step.partition(":")
        before, key = {"design": ("embed", "features"), "train": ("design", "curriculum")}[kind]
        needed = settings[key]
        if needed is None or (needed in folder.names(before) and f"{before}:{needed}" not in outdated):
            return _again(folder, made_by[kind], name, settings)
    again = [step for step in outdated if step.partition(":")[0] in made_by]
    if again:
        first = min(again, key=lambda step: _rests_on(outdated[step], outdated))
        kind, _, name = first.partition(":")
        return _again(folder, made_by[kind], name, outdated[first].settings)
    trained, features = folder.names("train"), folder.names("embed")
    if not features:
        return typed(embed, work | {"from_": trained[-1]}) if trained else typed(train, work | {"recipe": _BASELINE})
    if not folder.names("design"):
        return typed(design, work)
    if not any(record.settings.get("curriculum") for _, record in _records(folder)):
        return typed(train, work | {"recipe": _CURRICULUM_RUN})
    if set(trained) - set(folder.names("evaluate")) or any(step.startswith("evaluate") for step in outdated):
        return typed(evaluate, work)
    if "report" in outdated:
        return typed(report, work | outdated["report"].settings)
    return "" if folder.file(REPORT).is_file() else typed(report, work)


def _again(folder: WorkFolder, step: Callable[..., Any], name: str, settings: dict[str, Any]) -> str:
    """Return the command that makes what has this name with these settings."""
    arguments = inspect.signature(step).parameters
    given: dict[str, Any] = {f"{key}_" if f"{key}_" in arguments else key: value for key, value in settings.items()}
    named = {"name": name} if name != given.get("recipe", given.get("from_", given.get("features"))) else {}
    return typed(step, {"work": str(folder.path)} | given | named)


def _sources(folder: WorkFolder) -> dict[str, str]:
    """Return the sources that were given, by the arguments of `ingest`; a crawl's own test pictures were not."""
    given = {key: each["source"] for key, each in folder.project["sources"].items()}
    crawl = given.pop("crawl")
    return {"source": crawl} | {key: source for key, source in given.items() if source != crawl}


def _differing(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not the default, paths whole, as JSON holds them; a work folder may be moved."""
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        value = given[name]
        if name in ("output", "quiet") or value is None or value == parameter.default:
            continue
        is_path = "PathLike" in parameter.annotation or (isinstance(value, str) and value.lower().endswith(".npy"))
        found[name] = str(Path(value).absolute()) if is_path and not is_url(value) else value
    return dict(json.loads(json.dumps(found)))


def _weights(folder: WorkFolder, baselines: list[str], epochs: float) -> dict[str, float]:
    """Return the expected cost of each step after ingest, in images passed forward through a network."""
    import pyarrow.compute as pc

    images = tables.read(folder.file(IMAGES), ["split", "state"])
    used = images.filter(pc.equal(images["state"], "used"))["split"].to_pylist()
    n_train, n_held_out = used.count("train"), len(used) - used.count("train")
    runs = [*baselines, _CURRICULUM_RUN]
    weights = dict.fromkeys(runs, _BACKWARD * epochs * n_train)
    weights |= {"embed": _WHOLE_PRECISION * len(used), "design": 0.01 * n_train, "report": 0.1 * len(used)}
    weights["evaluate"] = _WHOLE_PRECISION * _CROPS * n_held_out * len(runs)
    return weights


def _headline(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of the most telling figures: on test images if there are any, and of one crop, as answers are."""
    split = "test" if any(row["split"] == "test" for row in rows) else "val"
    return [row for row in rows if row["split"] == split and row["crops"] == 1]


def _right(folder: WorkFolder, truth: Path) -> list[dict[str, Any]]:
    """Return the share of right labels in the crawl's training images and in each subset, by the known truth."""
    import csv

    images = tables.read(folder.file(IMAGES), ["file_name"])["file_name"].to_pylist()
    with truth.open(encoding="utf-8", newline="") as file:
        kinds = {row["file_name"].removeprefix("crawl/"): row["kind"] for row in csv.DictReader(file)}
    name = folder.find("design", None, "curriculum", "")
    table = tables.read(folder.file(f"curricula/{name}.parquet"), ["image_id", "subset"])
    right: dict[int, list[bool]] = {}
    for image_id, subset in zip(table["image_id"].to_pylist(), table["subset"].to_pylist(), strict=True):
        right.setdefault(subset, []).append(kinds[images[image_id]] == "right")
    everything = [is_right for subset in right.values() for is_right in subset]
    named = {"the crawl": everything} | {
        f"subset {subset}, {tables.SUBSETS[subset] if subset < len(tables.SUBSETS) else ''}": right[subset]
        for subset in sorted(right)
    }
    return [{"name": key, "n": len(found), "right": sum(found) / len(found)} for key, found in named.items()]
