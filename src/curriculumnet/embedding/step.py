"""The step `embed`: from images and a network to one vector of features per image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curriculumnet import console
from curriculumnet.errors import FeaturesError, InputError, UnknownNameError, UsageError
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, Record, Stopwatch, WorkFolder, checked_name, file_digest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from curriculumnet.embedding.matrix import Block
    from curriculumnet.networks.folder import Model
    from curriculumnet.networks.predictor import Predictor


_MODEL_FILES = ("config.json", "model.safetensors")
"""What decides the features of a run's model."""


@dataclass(frozen=True)
class Embedding:
    """What `embed` has made.

    Attributes
    ----------
    work : Path
        The work folder.
    name : str
        The features' name.
    path : Path
        The matrix, float32, a row per image of ``images.parquet``.
    origin : str
        What they come from: a run's name, a network's, or a file's.
    images : int
        Usable images that were embedded.
    dimensions : int
        Numbers per image.
    not_finite : int
        Usable images whose row holds NaN or infinity.
    seconds : float
        How long it took when it was made.
    up_to_date : bool
        Whether it had been made before, from the same images and model.
    """

    work: Path
    name: str
    path: Path
    origin: str
    images: int
    dimensions: int
    not_finite: int
    seconds: float
    up_to_date: bool

    def table(self) -> pa.Table:
        """Return a row per image: `image_id`, and `features`, a list of float32 that is NaN where there are none."""
        import numpy as np
        import pyarrow as pa

        matrix = np.load(self.path, allow_pickle=False)
        features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), self.dimensions)
        return pa.table({"image_id": np.arange(len(matrix)), "features": features})

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        took = console.duration(self.seconds)
        return [
            f"Features {self.name}: {self.dimensions:,} numbers for each of {self.images:,} images, "
            f"from {self.origin}, in {took}; the matrix is {self.path}"
        ]


@dataclass(frozen=True)
class _Origin:
    """Where features come from: a `run`, a `network` or a `file`, its name, and digests of what is read of it."""

    kind: str
    name: str
    inputs: dict[str, str]


def embed(
    work: str | os.PathLike[str],
    *,
    from_: str | os.PathLike[str],
    name: str | None = None,
    image_size: int | None = None,
    batch_size: int = 64,
    device: str = "auto",
    workers: int | None = None,
    quiet: bool = False,
) -> Embedding:
    """Compute a vector of features for each usable image.

    They are what the network's last pooling gives, for the centre crop of the image.

    Parameters
    ----------
    work : path-like
        The work folder.
    from_ : str or path-like
        A run's name, a network of timm's, or a .npy file of features.
        A network of timm's comes with weights trained elsewhere, which may be downloaded. A file must hold a row for
        each row of ``images.parquet``.
    name : str, optional
        Name of the features; that of the run, network or file.
    image_size : int, optional
        Height and width of the input in pixels; the network's own.
    batch_size : int
        Images at a time.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Embedding

    Raises
    ------
    UnknownNameError, UsageError
        There is no such run or network, or it cannot take images of that size.
    WorkFolderError
        No work folder.
    FeaturesError
        The file is missing, no matrix, or of another length.
    WeightsError
        The network's weights cannot be had.
    SourceError
        An image has changed or gone since it was ingested.
    MachineError
        No such device, or the disk is full.

    Examples
    --------
    curriculumnet embed crawl-work --from model-a
    """
    for flag, value in (("--image-size", image_size), ("--batch-size", batch_size)):
        if value is not None and value <= 0:
            raise UsageError(f"{flag} is {value}: it must be above 0.")
    from curriculumnet.images.loader import worker_count

    processes = worker_count(workers)
    folder = WorkFolder.open(work)
    what = os.fspath(from_)
    with folder.lock(lambda message: console.say(message, quiet=quiet)):
        origin = _origin(folder, what)
        if origin.kind == "file" and image_size is not None:
            raise UsageError("--image-size means nothing for features from a file: leave it out.")
        features = checked_name(origin.name if name is None else name, "features")
        inputs = folder.digests(IMAGES) | origin.inputs
        # A path is kept whole: `status` says the command again, perhaps from another folder.
        whole = os.path.abspath(what) if origin.kind == "file" else what  # noqa: PTH100
        settings = {"from": whole, "kind": origin.kind, "image_size": image_size}
        record = folder.finished(f"embed:{features}", inputs, settings)
        up_to_date = record is not None
        if record is None:
            watch = Stopwatch()
            about = _make(folder, features, what, origin, image_size, batch_size, device, processes, quiet)
            figures = {key: about[key] for key in ("images", "dimensions", "not_finite")}
            outputs = [_matrix(features), _about(features)]
            record = folder.stamp(f"embed:{features}", inputs, settings, outputs, watch.seconds, figures)
        else:
            console.say(f"Features {features} are up to date; nothing to do.", quiet=quiet)
    return _result(folder, features, what, record, up_to_date)


def _result(folder: WorkFolder, name: str, what: str, record: Record, up_to_date: bool) -> Embedding:
    return Embedding(
        work=folder.path,
        name=name,
        path=folder.file(_matrix(name)),
        origin=what,
        images=record.figures["images"],
        dimensions=record.figures["dimensions"],
        not_finite=record.figures["not_finite"],
        seconds=record.seconds,
        up_to_date=up_to_date,
    )


def _matrix(name: str) -> str:
    return f"features/{name}.npy"


def _about(name: str) -> str:
    return f"features/{name}.json"


def _origin(folder: WorkFolder, what: str) -> _Origin:
    """Find out what `--from` names.

    Raises
    ------
    UnknownNameError, UsageError, FeaturesError
    """
    if what.lower().endswith(".npy"):
        path = Path(what)
        return _Origin("file", path.stem, {"file": file_digest(path)} if path.is_file() else {})
    runs = folder.names("train")
    if what in runs:
        files = [f"runs/{what}/model/{file}" for file in _MODEL_FILES]
        gone = [name for name in files if not folder.file(name).is_file()]
        if gone:
            raise InputError(
                f"{folder.file(gone[0])} is gone: `curriculumnet train` with the same flags makes it anew."
            )
        return _Origin("run", what, folder.digests(*files))
    # Only here: it loads timm and torch, three seconds.
    with console.waiting("Loading torch"):
        from curriculumnet.networks.create import check_name, network_names

    try:
        check_name(what)
    except UnknownNameError:
        hint = "Features of your own are given as a .npy file."
        raise UnknownNameError("finished run or network", what, [*runs, *network_names()], hint) from None
    except UsageError:
        raise UsageError(
            f"{folder.path} has no finished run {what}: `curriculumnet train {folder.path} --recipe {what}` makes it."
        ) from None
    return _Origin("network", what, {})


def _make(
    folder: WorkFolder,
    name: str,
    what: str,
    origin: _Origin,
    image_size: int | None,
    batch_size: int,
    device: str,
    workers: int,
    quiet: bool,
) -> dict[str, Any]:
    """Write the matrix and what is to be known about it; return the latter."""
    from curriculumnet.embedding.matrix import given_rows, write_rows
    from curriculumnet.work.matrices import open_matrix

    images = tables.read_images(folder.file(IMAGES), ["image_id", "state", *tables.PLACES])
    used = _used(images, folder)
    about: dict[str, Any] = {"from": what, "kind": origin.kind, "files_digest": _files_digest(images)}
    if origin.kind == "file":
        mend = "save it with numpy.save, a row for each of images.parquet"
        matrix = open_matrix(Path(what), images.num_rows, mend=mend)
        _check_numbering(folder, name, what, origin.inputs["file"], about["files_digest"])
        blocks = given_rows(matrix)
        about |= {"network": None, "layer": None, "preprocessing": None, "digest": origin.inputs["file"]}
    else:
        from curriculumnet.networks.device import resolve_device
        from curriculumnet.networks.predictor import LAYER, Predictor

        where = resolve_device(device)
        model = _model(folder, what, origin, image_size, quiet)
        about |= {
            "network": model.name,
            "layer": LAYER,
            "preprocessing": dataclasses.asdict(model.preprocessing),
            "digest": model.digest(),
        }
        blocks = _embedded(folder, images, used, Predictor(model, where), batch_size, workers)
    count = _Count(images.num_rows, used)
    with console.Progress(f"embedding {name}", len(used), "images", quiet=quiet) as progress:
        blocks = count.over(blocks, progress)
        folder.write_with(_matrix(name), lambda file: write_rows(file, images.num_rows, blocks))
    if count.not_finite:
        console.warn(
            f"{count.not_finite:,} of {len(used):,} usable images have features that are not finite; "
            "a design puts them into the last subset."
        )
    about |= {"images": len(used), "dimensions": count.dimensions, "not_finite": count.not_finite}
    folder.write_json(_about(name), about)
    return about


def _files_digest(images: pa.Table) -> str:
    """Return a digest of which file each row is."""
    digest = hashlib.blake2b(digest_size=16)
    for batch in images.select(["source", "file_name"]).to_batches():
        for column in batch.columns:
            for value in column.to_pylist():
                digest.update(value.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(b"\1")
    return digest.hexdigest()


def _check_numbering(folder: WorkFolder, name: str, what: str, digest: str, files_digest: str) -> None:
    """Refuse a file of features that was taken before for rows that were other files.

    Raises
    ------
    FeaturesError
    """
    path = folder.file(_about(name))
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if before.get("digest") == digest and before.get("files_digest", files_digest) != files_digest:
        raise FeaturesError(
            f"{what} is the same file as before, but the crawl has changed and {IMAGES} numbers its files anew: make "
            "it again, row i for the file whose image_id is i."
        )


def _used(images: pa.Table, folder: WorkFolder) -> NDArray[np.int64]:
    """Return the ids of the usable images, rising."""
    import pyarrow.compute as pc

    used: NDArray[np.int64] = images.filter(pc.equal(images["state"], "used"))["image_id"].to_numpy()
    if not len(used):
        raise InputError(
            f"{folder.path} has no usable image: {IMAGES} says in its column `reason` why each was set aside."
        )
    return used


def _model(folder: WorkFolder, what: str, origin: _Origin, image_size: int | None, quiet: bool) -> Model:
    """Return the network of a run, or one of timm's with weights that were trained elsewhere."""
    from curriculumnet.networks import folder as model_folder
    from curriculumnet.networks.create import check_image_size, create, preprocessing
    from curriculumnet.networks.weights import origin as origin_of_weights

    if origin.kind == "network":
        console.say(f"Weights of {what}: from {origin_of_weights(what)}.", quiet=quiet)
        expected = preprocessing(what, image_size, pretrained=True)
        network = create(what, 0, image_size=expected.image_size, pretrained=True)
        return model_folder.Model(network, what, (), expected, {})
    import torch

    model = model_folder.load(folder.file(f"runs/{what}/model"), torch.device("cpu"))
    if image_size is None or image_size == model.preprocessing.image_size:
        return model
    check_image_size(model.network, model.name, image_size)
    return dataclasses.replace(model, preprocessing=dataclasses.replace(model.preprocessing, image_size=image_size))


def _embedded(
    folder: WorkFolder,
    images: pa.Table,
    used: NDArray[np.int64],
    predictor: Predictor,
    batch_size: int,
    workers: int,
) -> Iterator[Block]:
    """Give the features of the usable images, a batch at a time."""
    from curriculumnet.images.loader import Pictures, even_batches, load

    roots = {key: source["root"] for key, source in folder.project["sources"].items()}
    batches = even_batches(used, batch_size)
    for ids, views in load(Pictures(images, roots), batches, predictor.view(), workers=workers):
        yield ids, predictor.features(views).numpy()


class _Count:
    """Counts usable images as their rows pass, those that are not finite, and the numbers in a row."""

    def __init__(self, n: int, used: NDArray[np.int64]) -> None:
        import numpy as np

        self._used = np.zeros(n, np.bool_)
        self._used[used] = True
        self.not_finite = self.dimensions = 0

    def over(self, blocks: Iterator[Block], progress: console.Progress) -> Iterator[Block]:
        import numpy as np

        for places, rows in blocks:
            used = self._used[places]
            self.not_finite += int((~np.isfinite(rows).all(axis=1) & used).sum())
            self.dimensions = rows.shape[1]
            yield places, rows
            progress.advance(int(used.sum()))
