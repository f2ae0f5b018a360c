"""Design a curriculum: order each category's images from clean to doubtful by their features."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet.console import Grid, Progress, say, warn
from curriculumnet.errors import FeaturesError, InputError, MachineError, UnknownNameError, UsageError, WorkFolderError
from curriculumnet.version import __version__
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, TRAINING_IMAGES, Stopwatch, WorkFolder, checked_name, writing

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from curriculumnet.curriculum.begun import Begun
    from curriculumnet.curriculum.methods import CategoryDesign, Options
    from curriculumnet.curriculum.noise import NoiseRate

_BLOCK_ROWS = 4096
"""Rows of features read at a time while their mean is taken."""

_SAMPLE = 10_000
"""Images whose resemblance to other categories than theirs is measured: half of them tell the median to 1 %."""

_FOR_GPU = 10_000
"""Images from which a category is worth a GPU, where nobody has asked for one: torch alone takes seconds to load."""

_NAMED = 20
"""How many images without features the record names."""


@dataclass(frozen=True)
class Design:
    """A curriculum that `design` made or found made.

    Attributes
    ----------
    work : Path
        The work folder.
    name : str
        The curriculum's name.
    method : str
        The method that ordered the images.
    curriculum_path, categories_path : Path
        Its two tables.
    images : int
        Usable training images.
    subset_sizes : tuple of int
        Images in each subset, cleanest first.
    without_features : int
        Images whose features were not finite: in the last subset, with a cleanliness of 0.
    without_features_names : tuple of str
        The first of them by name.
    noise_rate : float or None
        Estimated share of wrong labels in the crawl, as far as density shows it; None where it cannot be told.
    categories_with_images : int
        Categories that have usable training images.
    empty_categories : tuple of str
        Categories that have none.
    seconds : float
        How long it took when it was made.
    """

    work: Path
    name: str
    method: str
    curriculum_path: Path
    categories_path: Path
    images: int
    subset_sizes: tuple[int, ...]
    without_features: int
    without_features_names: tuple[str, ...]
    noise_rate: float | None
    categories_with_images: int
    empty_categories: tuple[str, ...]
    seconds: float

    def table(self) -> pa.Table:
        """Read the curriculum: a row per usable training image."""
        return tables.read(self.curriculum_path)

    def categories(self) -> pa.Table:
        """Read the categories: a row each."""
        return tables.read(self.categories_path)

    def summary(self) -> Sequence[str | Grid]:
        """Return lines and tables for a terminal."""
        size = len(self.subset_sizes)
        names = tables.SUBSETS if size == len(tables.SUBSETS) else tuple(map(str, range(size)))
        rows = tuple(
            (name, f"{count:,}", f"{count / self.images:.0%}")
            for name, count in zip(names, self.subset_sizes, strict=True)
        )
        return (
            f"Curriculum {self.name}: {self.images:,} images of {self.categories_with_images:,} categories, "
            f"ordered by {self.method}.",
            Grid("Subsets", ("subset", "images", "share"), rows),
            *self._noise(),
            *self._set_aside(),
            f"Tables: {self.curriculum_path}, {self.categories_path}",
        )

    def _noise(self) -> list[str]:
        if self.noise_rate is None:
            return []
        return [
            f"Labels that look wrong: {self.noise_rate:.0%}, a rough guess (docs/method.md says what it cannot see)."
        ]

    def _set_aside(self) -> list[str]:
        lines = []
        if self.without_features:
            named = list(self.without_features_names[:5]) + ["…"] * (self.without_features > 5)
            lines.append(f"Without finite features, and so in the last subset: {', '.join(named)}.")
        if self.empty_categories:
            lines.append(f"Categories without usable training images: {', '.join(self.empty_categories[:10])}.")
        return lines


@dataclass(frozen=True)
class _Images:
    """The usable training images, in the order of their ids."""

    ids: NDArray[np.int64]
    file_names: pa.ChunkedArray
    category: NDArray[np.int64]
    ranks: NDArray[np.float64] | None
    """What the source itself says of their order, NaN where nothing; only for a method that needs it."""

    def by_category(self, categories: int, places: NDArray[np.intp] | None = None) -> list[NDArray[np.intp]]:
        """Return the places of each category's images, of all or of those that are given, in their order."""
        import numpy as np

        which = np.arange(len(self.ids)) if places is None else places
        category = self.category[which]
        ends = np.cumsum(np.bincount(category, minlength=categories))
        return np.split(which[np.argsort(category, kind="stable")], ends[:-1])


def design(
    work: str | os.PathLike[str],
    *,
    features: str | None = None,
    name: str | None = None,
    method: str = "density",
    run: str | None = None,
    n_subsets: int = 3,
    by: str = "distance",
    cutoff_percent: float = 60.0,
    metric: str = "sqeuclidean",
    normalise: bool = True,
    kernel: str = "cutoff",
    exact_up_to: int = 50_000,
    landmarks: int = 8192,
    device: str = "auto",
    seed: int = 0,
    quiet: bool = False,
) -> Design:
    """Order each category's images from clean to doubtful.

    Parameters
    ----------
    work : path-like
        The work folder.
    features : str, optional
        Name of the features; the newest unless given.
    name : str, optional
        Name of the curriculum; the features' name unless given.
    method : str
        density, kmeans, given, dynamics; random as a control.
        ``given`` takes the order of the source, from the column that ``ingest --rank-column`` names.
    run : str, optional
        The training whose losses the method dynamics orders by; the newest.
    n_subsets : int
        How many subsets to cut each category into.
    by : str
        What subsets are cut from: distance (to the centre) or density.
    cutoff_percent : float
        Share of distances below the cut-off, in percent. Between 50 and 70 the result should hardly move.
    metric : str
        How far two images are apart: sqeuclidean or cosine.
    normalise : bool
        Subtract the features' mean and make rows unit length. The mean is that of the curriculum's images alone.
    kernel : str
        How neighbours are counted: cutoff or gaussian.
    exact_up_to : int
        Images of a category up to which densities are exact. Those of larger ones are estimated.
    landmarks : int
        Images that such an estimate is made from.
    device : str
        auto, cpu, cuda or cuda:N. By itself a GPU, if there is one, takes categories of 10,000 images or more.
    seed : int
        Seed of the random method, and of the samples for estimates.
    quiet : bool
        Print nothing but warnings and the result.

    Returns
    -------
    Design
        Paths, sizes, and the tables by `.table()` and `.categories()`.

    Raises
    ------
    UsageError
        A setting is out of its range, the work folder has no images or features yet, or no ranks to order by.
    FeaturesError
        The features do not belong to the images.
    InputError
        No training image is usable.
    MachineError
        A category's distances do not fit in memory, the disk is full, or there is no such device.

    Examples
    --------
    >>> design("crawl-work", by="density")  # doctest: +SKIP
    """
    from curriculumnet.curriculum.methods import METHODS, Options, check

    folder = WorkFolder.open(work)
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if seed < 0:
        raise UsageError(f"--seed is {seed}: it must be at least 0.")
    hint = f"`curriculumnet embed {folder.path} --from NETWORK` makes them."
    features = folder.find("embed", features, "features", hint)
    name = checked_name(features if name is None else name, "a curriculum")
    settings = {
        "features": features,
        "method": method,
        "n_subsets": n_subsets,
        "by": by,
        # 50 and 50.0 are one setting: what was begun with one goes on with the other.
        "cutoff_percent": float(cutoff_percent),
        "metric": metric,
        "normalise": normalise,
        "kernel": kernel,
        "exact_up_to": exact_up_to,
        "landmarks": landmarks,
        "seed": seed,
    }
    if METHODS[method].ranks == "run":
        hint = f"`curriculumnet train {folder.path} --recipe model-a` makes one."
        run = folder.find("train", run, "run", hint)
    if run is not None:
        # Not there otherwise: what was designed before there was this setting is designed already.
        settings["run"] = run
    check(settings, _flag)
    options = Options(by, cutoff_percent, metric, kernel, n_subsets, seed, exact_up_to, landmarks)
    _warn_of_unused(settings)
    with folder.lock(lambda message: say(message, quiet=quiet)):
        inputs = _inputs(folder, features)
        if METHODS[method].ranks == "run":
            inputs |= _dynamics_digest(folder, str(run))
        record = folder.finished(f"design:{name}", inputs, settings)
        if record is not None:
            # What was begun with other settings and left is given up.
            folder.file(_begun_file(name)).unlink(missing_ok=True)
            say(f"Curriculum {name} is there already, from the same features and settings.", quiet=quiet)
        else:
            _say_what_is_replaced(folder, name, settings, quiet)
            watch = Stopwatch()
            figures = _make(folder, name, settings, inputs, options, device, quiet)
            outputs = [_file(tables.CURRICULUM, name), _file(tables.CATEGORIES, name)]
            record = folder.stamp(f"design:{name}", inputs, settings, outputs, watch.seconds, figures)
    return Design(
        work=folder.path,
        name=name,
        method=method,
        curriculum_path=folder.file(_file(tables.CURRICULUM, name)),
        categories_path=folder.file(_file(tables.CATEGORIES, name)),
        images=record.figures["images"],
        subset_sizes=tuple(record.figures["subset_sizes"]),
        without_features=record.figures["without_features"],
        without_features_names=tuple(record.figures["without_features_names"]),
        noise_rate=record.figures.get("noise_rate"),
        categories_with_images=record.figures["categories"],
        empty_categories=tuple(record.figures["empty_categories"]),
        seconds=record.seconds,
    )


def _say_what_is_replaced(folder: WorkFolder, name: str, settings: dict[str, Any], quiet: bool) -> None:
    """Say that a curriculum of other settings is replaced, and how to keep both."""
    record = folder.record(f"design:{name}")
    if record is None:
        return
    before, now = record.settings, json.loads(json.dumps(settings))
    changed = [
        f"{key.replace('_', ' ')} {before.get(key, 'none')}, now {now.get(key, 'none')}"
        for key in before.keys() | now.keys()
        if before.get(key) != now.get(key)
    ]
    if changed:
        say(
            f"Curriculum {name} was made with other settings ({'; '.join(sorted(changed))}): it is replaced when this "
            "one is made. To keep both, give another --name.",
            quiet=quiet,
        )


def _file(table: tables.Table, name: str) -> str:
    return table.file.replace("NAME", name)


def _begun_file(name: str) -> str:
    return tables.DESIGN_BEGUN.replace("NAME", name)


def _flag(name: str) -> str:
    """Return how a setting is typed."""
    return f"--{name.replace('_', '-')}"


def _warn_of_unused(settings: dict[str, Any]) -> None:
    """Name the settings that were given although the method does not use them."""
    from curriculumnet.curriculum.methods import METHODS

    defaults = {name: parameter.default for name, parameter in inspect.signature(design).parameters.items()}
    # By the seed, samples for the estimate of wrong labels are drawn as well.
    known = {"features", "method", "seed"} | METHODS[settings["method"]].uses
    unused = [name for name, value in settings.items() if name not in known and value != defaults[name]]
    if unused:
        flags = [_flag(f"no_{name}" if settings[name] is False else name) for name in unused]
        listed = " and ".join([", ".join(flags[:-1]), flags[-1]] if flags[1:] else flags)
        change = "it changes" if len(flags) == 1 else "they change"
        warn(f"The method {settings['method']} does not use {listed}: {change} nothing.")


def _inputs(folder: WorkFolder, features: str) -> dict[str, str]:
    """Return the digests of what is read, once it is clear that the features are those of the images.

    Raises
    ------
    WorkFolderError, FeaturesError
    """
    matrix = f"features/{features}.npy"
    embedded = folder.record(f"embed:{features}")
    origin = embedded.settings["from"] if embedded else "NETWORK"
    again = f"`curriculumnet embed {folder.path} --from {origin}` makes them again."
    if not folder.file(IMAGES).is_file():
        raise WorkFolderError(f"{folder.file(IMAGES)} is gone: `curriculumnet ingest` makes it again.")
    if not folder.file(matrix).is_file():
        raise FeaturesError(f"{folder.file(matrix)} is gone: {again}")
    inputs = folder.digests(IMAGES, matrix)
    if embedded and embedded.inputs.get(IMAGES, inputs[IMAGES]) != inputs[IMAGES]:
        raise FeaturesError(f"The features {features} are those of an earlier {IMAGES} in {folder.path}: {again}")
    return inputs


def _dynamics_digest(folder: WorkFolder, run: str) -> dict[str, str]:
    """Return the digest of how a training learnt each image.

    Raises
    ------
    UsageError
        That is not known, or not of these images.
    """
    name = tables.DYNAMICS.file.replace("NAME", run)
    again = f"`curriculumnet train {folder.path}` with its flags trains it again."
    if not folder.file(name).is_file():
        raise UsageError(f"The run {run} in {folder.path} has no record of how it learnt each image: {again}")
    record = folder.record(f"train:{run}")
    if record is not None and record.inputs.get(TRAINING_IMAGES) != folder.digest(TRAINING_IMAGES):
        raise UsageError(f"The run {run} in {folder.path} was trained on an earlier reading of the crawl: {again}")
    return folder.digests(name)


def _make(
    folder: WorkFolder,
    name: str,
    settings: dict[str, Any],
    inputs: dict[str, str],
    options: Options,
    device: str,
    quiet: bool,
) -> dict[str, Any]:
    """Read images and features, order every category, write both tables, and return the figures of the record."""
    import pyarrow.parquet as pq

    from curriculumnet.curriculum.begun import Begun
    from curriculumnet.curriculum.methods import METHODS
    from curriculumnet.work.matrices import open_matrix

    categories = folder.categories
    ranks = METHODS[settings["method"]].ranks
    images = _read_images(folder, categories, ranks == "source")
    if ranks == "run":
        images = replace(images, ranks=_losses(folder, settings["run"], images.ids))
    path = folder.file(f"features/{settings['features']}.npy")
    matrix = open_matrix(path, pq.read_metadata(folder.file(IMAGES)).num_rows, mend="embed again")
    finite, mean = _finite_and_mean(matrix, images.ids)
    if not finite.any():
        raise FeaturesError(
            f"None of the {len(finite):,} training images has finite features in {path}: embed again, or others."
        )
    origin = mean if settings["normalise"] else None
    path = folder.file(_begun_file(name))
    with writing(path), Begun(path, json.dumps([settings, inputs, __version__])) as begun:
        columns, rows = _order(
            matrix, images, categories, finite, origin, settings["method"], options, device, begun, quiet
        )
    rates, columns["right_probability"] = _noise(matrix, images, len(categories), finite, mean, settings["seed"])
    rows |= rates
    metadata = {
        "method": settings["method"],
        "settings": json.dumps(settings),
        "features": settings["features"],
        "features_digest": inputs[f"features/{settings['features']}.npy"],
        "cleanliness": "rank",
    }
    folder.write_table(_file(tables.CURRICULUM, name), tables.build(tables.CURRICULUM, columns, metadata))
    folder.write_table(_file(tables.CATEGORIES, name), tables.build(tables.CATEGORIES, rows))
    begun.remove()
    if rows["cutoff"].count(0.0) == len(categories) - rows["cutoff"].count(None) > 0:
        warn(f"In each category all images have the same features in {settings['features']}: all count as clean.")
    missing = images.file_names.take((~finite).nonzero()[0]).to_pylist()
    empty = [category for category, n in zip(rows["category"], rows["n"], strict=True) if n == 0]
    unranked = _unranked(images, categories)
    if missing:
        more = ", …" if len(missing) > 3 else ""
        warn(
            f"{len(missing):,} {'image has' if len(missing) == 1 else 'images have'} no finite features, which puts "
            f"them into the last subset ({', '.join(missing[:3])}{more})."
        )
    if empty:
        more = ", …" if len(empty) > 10 else ""
        warn(
            f"{len(empty):,} categories have no usable training image and are left out of training "
            f"({', '.join(empty[:10])}{more})."
        )
    if unranked:
        of = "rank" if ranks == "source" else "loss"
        more = ", …" if len(unranked) > 10 else ""
        warn(
            f"No image of {len(unranked):,} categories has a {of}, so that all of theirs count as clean "
            f"({', '.join(unranked[:10])}{more})."
        )
    return {
        "images": len(images.ids),
        "subset_sizes": [sum(sizes) for sizes in zip(*rows["subset_sizes"], strict=True)],
        "without_features": len(missing),
        "without_features_names": missing[:_NAMED],
        "noise_rate": _overall(rows["noise_rate"], rows["n"]),
        "categories": len(categories) - len(empty),
        "empty_categories": empty,
    }


def _read_images(folder: WorkFolder, categories: list[str], with_ranks: bool) -> _Images:
    """Return the usable training images.

    Raises
    ------
    InputError
        There is none.
    UsageError
        Ranks are needed, and none has one.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["image_id", "file_name", "label", "split", "state"]
    # An earlier version wrote tables without the column.
    if with_ranks and "rank" in pq.read_schema(folder.file(IMAGES)).names:
        columns.append("rank")
    table = tables.read(folder.file(IMAGES), columns)
    table = table.filter(pc.and_(pc.equal(table["split"], "train"), pc.equal(table["state"], "used")))
    if not table.num_rows:
        raise InputError(
            f"{folder.path} has no usable training image: {IMAGES} says in its column `reason` why each was set aside."
        )
    category = pc.index_in(table["label"], value_set=pa.array(categories, pa.string()))
    ranks = table["rank"].to_numpy() if "rank" in columns else None
    if with_ranks and (ranks is None or np.isnan(ranks).all()):
        raise UsageError(
            f"No training image of {folder.path} has a rank: `curriculumnet ingest SOURCE -o {folder.path} "
            "--rank-column NAME` takes them from a column of the source, if it is a table; then embed again."
        )
    return _Images(table["image_id"].to_numpy(), table["file_name"], category.to_numpy().astype(np.int64), ranks)


def _losses(folder: WorkFolder, run: str, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean loss of each image in a training; NaN where it took no part."""
    import numpy as np

    table = tables.read(folder.file(tables.DYNAMICS.file.replace("NAME", run)), ["image_id", "loss"])
    known = table["image_id"].to_numpy()
    losses = np.full(max(int(ids.max()), int(known.max())) + 1, np.nan)
    losses[known] = table["loss"].to_numpy()
    found: NDArray[np.float64] = losses[ids]
    return found


def _unranked(images: _Images, categories: list[str]) -> list[str]:
    """Return the categories that have images, but none with a rank, where ranks are needed."""
    import numpy as np

    if images.ranks is None:
        return []
    known = np.isfinite(images.ranks)
    members = zip(categories, images.by_category(len(categories)), strict=True)
    return [category for category, mine in members if len(mine) and not known[mine].any()]


def _finite_and_mean(matrix: NDArray[Any], ids: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows are finite, and the mean of those that are; a block at a time."""
    import numpy as np

    finite = np.zeros(len(ids), np.bool_)
    total = np.zeros(matrix.shape[1])
    for start in range(0, len(ids), _BLOCK_ROWS):
        rows = matrix[ids[start : start + _BLOCK_ROWS]]
        good = np.isfinite(rows).all(axis=1)
        finite[start : start + len(rows)] = good
        total += rows[good].sum(axis=0, dtype=np.float64)
    return finite, total / max(1, int(finite.sum()))


def _order(
    matrix: NDArray[Any],
    images: _Images,
    categories: list[str],
    finite: NDArray[np.bool_],
    mean: NDArray[np.float64] | None,
    method: str,
    options: Options,
    device: str,
    begun: Begun,
    quiet: bool,
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Order the categories; return the columns of the curriculum and those of the categories."""
    import numpy as np
    import pyarrow as pa

    from curriculumnet.curriculum.methods import METHODS
    from curriculumnet.curriculum.turns import in_turn

    n = len(images.ids)
    subset = np.full(n, options.n_subsets - 1, np.int8)
    cleanliness = np.zeros(n, np.float32)
    is_centre = np.zeros(n, np.bool_)
    own: dict[str, NDArray[np.float32]] = {}
    count = len(categories)
    members = images.by_category(count)
    places = [each[finite[each]] for each in members]
    from_size = _FOR_GPU if device == "auto" else 0
    large = device != "auto" or max(map(len, places)) >= from_size
    gpu = _gpu(device) if large and METHODS[method].on_gpu else None
    rows: dict[str, list[Any]] = {"category": categories, "n": [len(each) for each in members]}
    rows |= {"cutoff": [None] * count, "centre": [None] * count, "density_error": [None] * count}

    def put(category: int, found: CategoryDesign) -> None:
        mine = places[category]
        subset[mine] = found.subset
        cleanliness[mine] = found.cleanliness
        for column, values in found.ordering.columns.items():
            own.setdefault(column, np.full(n, np.nan, np.float32))[mine] = values
        rows["cutoff"][category] = found.ordering.cutoff
        rows["density_error"][category] = found.ordering.density_error
        if found.ordering.centre is not None:
            is_centre[mine[found.ordering.centre]] = True
            rows["centre"][category] = int(images.ids[mine[found.ordering.centre]])

    def order(category: int) -> CategoryDesign:
        mine = places[category]
        here = replace(options, device=gpu if gpu and len(mine) >= from_size else "cpu")
        ranks = None if images.ranks is None else images.ranks[mine]
        return _order_category(matrix[images.ids[mine]], mean, method, here, ranks, categories[category])

    for category, found in begun.known.items():
        put(category, found)
    before = sum(len(places[category]) for category in begun.known)
    if before and before < sum(map(len, places)):
        say(f"{before:,} images had been ordered before; the others follow.", quiet=quiet)
    left = [category for category in range(count) if len(places[category]) and category not in begun.known]
    with (
        Progress("designing", sum(map(len, places)), "images", done=before, quiet=quiet) as progress,
        closing(in_turn(order, left, [len(places[category]) for category in left])) as ordered,
    ):
        for category, found in ordered:
            put(category, found)
            begun.add(category, found)
            progress.advance(len(places[category]))
    rows["subset_sizes"] = [np.bincount(subset[each], minlength=options.n_subsets).tolist() for each in members]
    columns = {"image_id": images.ids, "subset": subset, "cleanliness": cleanliness, "is_centre": is_centre}
    return columns | {column: pa.array(values, mask=~finite) for column, values in own.items()}, rows


def _gpu(device: str) -> str | None:
    """Return which GPU a device is, None for the CPU.

    Raises
    ------
    UsageError, MachineError
        There is no such device.
    """
    if device == "cpu":
        return None
    from curriculumnet.networks.device import resolve_device

    found = resolve_device(device)
    return None if found.type == "cpu" else str(found)


def _noise(
    matrix: NDArray[Any],
    images: _Images,
    n_categories: int,
    finite: NDArray[np.bool_],
    mean: NDArray[np.float64],
    seed: int,
) -> tuple[dict[str, list[Any]], pa.Array]:
    """Estimate each category's share of wrong labels, and of each image the probability that its label is right.

    Returns the columns of the categories, and that of the curriculum.
    """
    import numpy as np
    import pyarrow as pa

    from curriculumnet.curriculum.noise import noise_rate
    from curriculumnet.curriculum.rows import directions

    def seen_from_mean(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        return directions(matrix[images.ids[rows]], mean, np.float32)

    usable = np.random.default_rng(seed).permutation(finite.nonzero()[0])
    common = np.sort(usable[:_SAMPLE])
    sampled = seen_from_mean(common)
    found: list[NoiseRate | None] = []
    right = np.full(len(images.ids), np.nan, np.float32)
    for category, own in enumerate(images.by_category(n_categories, finite.nonzero()[0])):
        foreign = images.category[common] != category
        others = int(foreign.sum())
        if others < _SAMPLE // 2 and len(own) + others < len(usable):
            # A category that is most of the crawl is most of the sample, too.
            apart = np.sort(usable[images.category[usable] != category][:_SAMPLE])
            rate = noise_rate(seen_from_mean(own), seen_from_mean(apart))
        else:
            rate = noise_rate(seen_from_mean(own), sampled, foreign)
        if rate is not None:
            right[own] = rate.right
        found.append(rate)
    rates = {
        f"noise_{column}": [None if rate is None else getattr(rate, attribute) for rate in found]
        for column, attribute in (("rate", "value"), ("low", "low"), ("high", "high"))
    }
    return rates, pa.array(right, mask=np.isnan(right))


def _overall(rates: Sequence[float | None], n: Sequence[int]) -> float | None:
    """Return the mean rate over the images of the categories of which it is known."""
    known = [(rate, count) for rate, count in zip(rates, n, strict=True) if rate is not None]
    return sum(rate * count for rate, count in known) / sum(count for _, count in known) if known else None


def _order_category(
    features: NDArray[Any],
    mean: NDArray[np.float64] | None,
    method: str,
    options: Options,
    ranks: NDArray[np.float64] | None,
    category: str,
) -> CategoryDesign:
    """Order one category.

    Raises
    ------
    MachineError
        Its distances do not fit in memory.
    FeaturesError
        Its distances are no numbers of the table.
    """
    import numpy as np

    from curriculumnet.curriculum.methods import design_category

    try:
        found = design_category(features, mean, method, options, ranks)
    except MemoryError as error:
        mend = "free some, or take a machine with more" if options.device == "cpu" else "take --device cpu"
        raise MachineError(
            f"The distances among the {len(features):,} images of category {category!r} do not fit in the memory of "
            f"{'this machine' if options.device == 'cpu' else options.device}: {mend}."
        ) from error
    except ValueError as error:
        raise FeaturesError(f"Category {category!r} cannot be ordered, since its {error}.") from error
    limits = np.finfo(np.float32)
    for values in found.ordering.columns.values():
        if values.max() > limits.max or 0 < values.max() < limits.tiny:
            size, mend = ("large", "divide") if values.max() > 1 else ("small", "multiply")
            raise FeaturesError(
                f"The features of category {category!r} are too {size} for their squared distances to be written as "
                f"float32: {mend} them, or leave out --no-normalise."
            )
    return found
