"""The step `predict`: from a model and files to answers."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curriculumnet import console
from curriculumnet.errors import InputError, UsageError, WorkFolderError
from curriculumnet.work.folder import PROJECT, WorkFolder

if TYPE_CHECKING:
    import pyarrow as pa

    from curriculumnet.networks.predictor import Predictor
    from curriculumnet.prediction.files import Asked, Trouble

_TOP = 5
"""How many categories an answer names."""

_DIGITS = 6
"""Decimals of a confidence."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model says about one file; its fields are those of a line of ``--jsonl``.

    Attributes
    ----------
    file_name : str
        The file as it was given; below a folder or inside a tar (``x.tar#name``), with the name there.
    label : str or None
        The most probable category; None where there is no answer.
    confidence : float or None
        Its probability, 0 … 1.
    top : tuple of (str, float)
        The five most probable categories with their probabilities, the most probable first.
    state : str
        ``used``, or why there is no answer: ``missing``, ``broken``, ``refused``.
    reason : str
        More about that; empty where there is an answer.
    """

    file_name: str
    label: str | None
    confidence: float | None
    top: tuple[tuple[str, float], ...]
    state: str
    reason: str


@dataclass(frozen=True)
class Predictions:
    """What `predict` has answered.

    Attributes
    ----------
    model : Path
        The model folder that was asked.
    answered, unanswered : int
        Files with an answer, and files that could not be read.
    answers : tuple of Answer
        In the order of the files; empty with ``--jsonl``, where each has been written already.
    """

    model: Path
    answered: int
    unanswered: int
    answers: tuple[Answer, ...]

    def table(self) -> pa.Table:
        """Return a row per answer, with the columns of `Answer`; `top` is a list of `label` and `confidence`."""
        import pyarrow as pa

        pair = pa.struct([("label", pa.string()), ("confidence", pa.float64())])
        types = {
            "file_name": pa.string(),
            "label": pa.string(),
            "confidence": pa.float64(),
            "top": pa.list_(pair),
            "state": pa.string(),
            "reason": pa.string(),
        }
        rows = [
            _line(answer) | {"top": [{"label": label, "confidence": share} for label, share in answer.top]}
            for answer in self.answers
        ]
        return pa.Table.from_pylist(rows, schema=pa.schema(list(types.items())))

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        if not self.answers:
            return []
        rows = tuple(
            (answer.file_name, answer.label, _percent(answer.confidence), _next_best(answer))
            if answer.label is not None and answer.confidence is not None
            else (answer.file_name, f"{answer.state}: {answer.reason}", "", "")
            for answer in self.answers
        )
        shown: list[str | console.Grid] = [console.Grid("", ("file", "label", "confidence", "next best"), rows)]
        if self.unanswered:
            shown.append(f"{self.unanswered:,} of {self.answered + self.unanswered:,} files could not be read.")
        return shown


def predict(
    model: str | os.PathLike[str],
    files: Sequence[str | os.PathLike[str]],
    *,
    jsonl: bool = False,
    batch_size: int = 32,
    device: str = "auto",
    workers: int | None = None,
    quiet: bool = False,
) -> Predictions:
    """Name what is on pictures.

    The network is shown the centre crop of each, as when it is evaluated with one crop.

    Parameters
    ----------
    model : path-like
        A work folder, a run's folder or a model folder.
        Of a work folder its newest run with a curriculum is asked, or its newest run if there is none.
    files : sequence of path-like
        Pictures, folders of them, or uncompressed tars.
    jsonl : bool
        Write a line of JSON for each picture as soon as it is answered.
    batch_size : int
        Pictures at a time.
    device : str
        auto, cpu, cuda or cuda:N.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Predictions

    Raises
    ------
    UsageError
        No file was given.
    WorkFolderError
        The work folder has no run yet.
    InputError
        There is no model, or none of the files can be read.
    MachineError
        No such device.

    Examples
    --------
    curriculumnet predict crawl-work photo.jpg holiday/ --jsonl
    """
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    if not given or not all(os.fspath(file) for file in given):
        raise UsageError("No file was given: name pictures, folders or tars after the model.")
    if batch_size <= 0:
        raise UsageError(f"--batch-size is {batch_size}: it must be above 0.")
    folder = _model_folder(Path(model))

    with console.waiting("Loading torch", quiet=quiet):
        from curriculumnet.images.loader import worker_count
        from curriculumnet.networks.device import resolve_device
        from curriculumnet.networks.folder import load
        from curriculumnet.networks.predictor import Predictor
        from curriculumnet.prediction.files import find

    where = resolve_device(device)
    asked = find([os.fspath(file) for file in given])
    predictor = Predictor(load(folder, where), where)
    console.say(f"Asking {folder}.", quiet=quiet)
    kept: list[Answer] = []
    answered = unanswered = 0
    first_reason = ""
    with console.Progress("answering", len(asked), "pictures", quiet=quiet or jsonl) as progress:
        for answer in _answers(asked, predictor, batch_size, worker_count(workers)):
            if answer.label is not None:
                answered += 1
            else:
                unanswered += 1
                first_reason = first_reason or f"{answer.file_name}: {answer.reason}"
            if not jsonl:
                kept.append(answer)
            elif not _write_line(answer):
                return Predictions(folder, answered, unanswered, ())
            progress.advance()
    if unanswered and not answered:
        what = "The file" if unanswered == 1 else f"None of the {unanswered:,} files"
        cannot = "cannot" if unanswered == 1 else "can"
        raise InputError(f"{what} {cannot} be read as a picture ({first_reason}): give pictures.")
    return Predictions(folder, answered, unanswered, tuple(kept))


def _model_folder(path: Path) -> Path:
    """Return the model folder that a work folder, a run's folder or a model folder stands for.

    Raises
    ------
    WorkFolderError, InputError
    """
    from curriculumnet.networks.folder import CONFIG

    try:
        known = (path / PROJECT).is_file()
    except OSError as error:
        raise InputError(
            f"{path} is no folder ({error.strerror}): give a work folder, a run's folder or a model folder."
        ) from error
    if known:
        folder = WorkFolder.open(path)
        return folder.file(f"runs/{_newest_run(folder)}/model")
    for found in (path, path / "model"):
        if (found / CONFIG).is_file():
            return found
    if not path.exists():
        raise InputError(f"{path} is not there: give a work folder, a run's folder or a model folder.")
    if (path / "checkpoints").is_dir():
        raise InputError(f"The run in {path} has not finished: start the same `curriculumnet train` again.")
    raise InputError(
        f"{path} is neither a work folder ({PROJECT}), nor a run's folder (model/{CONFIG}), nor a model folder "
        f"({CONFIG})."
    )


def _newest_run(folder: WorkFolder) -> str:
    """Return the newest run that followed a curriculum, or the newest run if none did."""
    runs = folder.names("train")
    if not runs:
        raise WorkFolderError(
            f"{folder.path} has no run yet: `curriculumnet train {folder.path} --recipe model-d` makes one. "
            f"`curriculumnet status {folder.path}` says what comes first."
        )
    records = {run: folder.record(f"train:{run}") for run in runs}
    followed = [run for run, record in records.items() if record and record.settings.get("curriculum")]
    return (followed or runs)[-1]


def _answers(asked: Sequence[Asked], predictor: Predictor, batch_size: int, workers: int) -> Iterator[Answer]:
    """Answer files in their order."""
    import torch

    from curriculumnet.prediction.files import Trouble, load

    categories = predictor.model.categories
    size = min(_TOP, len(categories))
    rest = iter(asked)
    for views, troubles in load(asked, predictor.view(), batch_size=batch_size, workers=workers):
        best: Iterator[tuple[list[float], list[int]]] = iter(())
        if views is not None:
            shares, places = predictor.probabilities(torch.as_tensor(views)).topk(size, dim=1)
            best = zip(shares.tolist(), places.tolist(), strict=True)
        for trouble in troubles:
            name = next(rest).shown
            if trouble is not None:
                yield _unanswered(name, trouble)
                continue
            top = tuple((categories[place], round(share, _DIGITS)) for share, place in zip(*next(best), strict=True))
            if not all(math.isfinite(share) for _, share in top):
                yield _unanswered(name, Trouble("refused", "the network's answer to it is not a number"))
                continue
            yield Answer(name, top[0][0], top[0][1], top, "used", "")


def _unanswered(name: str, trouble: Trouble) -> Answer:
    return Answer(name, None, None, (), trouble.state, trouble.reason)


def _line(answer: Answer) -> dict[str, object]:
    return dict(console.as_json(answer))


def _write_line(answer: Answer) -> bool:
    """Write a line to stdout; False when nobody reads it any more, as behind `head`."""
    try:
        sys.stdout.write(json.dumps(_line(answer), ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return False
    return True


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _next_best(answer: Answer) -> str:
    return f"{answer.top[1][0]} {_percent(answer.top[1][1])}" if len(answer.top) > 1 else ""
