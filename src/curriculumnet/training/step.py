"""The step `train`: from images and a curriculum to a run."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from curriculumnet import console
from curriculumnet.errors import InputError, MachineError, UnknownNameError, UsageError
from curriculumnet.training.processes import start_processes
from curriculumnet.training.ranks import Ranks
from curriculumnet.training.recipes import Recipe, find
from curriculumnet.training.settings import (
    LARGEST_BATCH,
    LATER,
    check_choices,
    check_ranges,
    default_batch_size,
    default_decay,
    default_optimizer,
    default_rate,
    default_small_stem,
)
from curriculumnet.work import tables
from curriculumnet.work.folder import IMAGES, TRAINING_IMAGES, Stopwatch, WorkFolder, checked_name, subsets_of

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from curriculumnet.images.cache import CachedPictures
    from curriculumnet.images.loader import Pictures
    from curriculumnet.networks.folder import Model
    from curriculumnet.training.course import Course
    from curriculumnet.training.loop import Measures, Row, State
    from curriculumnet.training.records import NotFiniteError

_MODEL = "resnet18"
_ROWS = 200


@dataclass(frozen=True)
class Training:
    """What `train` has made.

    Attributes
    ----------
    run : str
        The run's name.
    folder : Path
        ``runs/NAME`` in the work folder.
    model : Path
        The model folder.
    steps : int
        Optimiser steps.
    seconds : float
        How long it took.
    up_to_date : bool
        Whether it had been trained before, with the same settings.
    """

    run: str
    folder: Path
    model: Path
    steps: int
    seconds: float
    up_to_date: bool

    def table(self) -> pa.Table:
        """Return the history (`work.tables.HISTORY`)."""
        return tables.read(self.folder / "history.parquet")

    def summary(self) -> list[str | console.Grid]:
        """Return what a terminal shows."""
        took = console.duration(self.seconds)
        return [f"{self.run}: {self.steps:,} steps in {took}; the model is in {self.model}"]


def train(
    work: str | os.PathLike[str],
    *,
    recipe: str,
    name: str | None = None,
    curriculum: str | None = None,
    model: str | None = None,
    image_size: int | None = None,
    pretrained: bool = False,
    small_stem: bool | None = None,
    multi_scale: bool = False,
    dropout: float | None = None,
    continue_from: str | os.PathLike[str] | None = None,
    freeze: bool = False,
    epochs: float | None = None,
    batch_size: int | None = None,
    optimizer: Literal["sgd", "adamw", "rmsprop"] | None = None,
    learning_rate: float | None = None,
    schedule: Literal["cosine", "step"] = "cosine",
    weight_decay: float | None = None,
    momentum: float = 0.9,
    warmup_share: float = 0.05,
    label_smoothing: float = 0.0,
    mixup: float = 0.0,
    clip_norm: float | None = None,
    ema_decay: float = 0.998,
    balance: Literal["clean", "all", "none", "sqrt"] | None = None,
    places: Literal["half", "equal", "size"] = "half",
    noisy_share: float = 1.0,
    subset_weights: tuple[float, ...] = (),
    weight_norm: bool = False,
    stage_shares: tuple[float, ...] = (),
    stage_steps: tuple[int, ...] = (),
    stage_schedule: Literal["one", "restart"] = "one",
    stage_until: Literal["steps", "plateau"] = "steps",
    teacher: Literal["online", "window"] = "online",
    crop_scale: tuple[float, float] = (0.35, 1.0),
    crop_ratio: tuple[float, float] = (0.75, 4 / 3),
    mirror: bool = True,
    cache: bool = False,
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    accumulate: int = 1,
    compile_: bool = False,
    checkpoint_minutes: float = 2.0,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    workers: int | None = None,
    quiet: bool = False,
) -> Training:
    """Train a network by a recipe.

    The recipes are those of Guo et al. 2018: ``model-a`` (all images at once), ``model-b`` (the clean subset only),
    ``model-c`` (clean, then noisy as well), ``model-d`` (the whole curriculum in three stages), and the control
    ``model-a-balanced``; further ``teacher``, which gives most places to the subset of which most is learnt, and
    ``self-paced``, which takes the images of the lowest losses first. All take the same number of steps, so that they
    can be compared.

    Parameters
    ----------
    work : path-like
        The work folder.
    recipe : str
        model-a to -d, model-a-balanced, teacher or self-paced.
    name : str, optional
        The run's name; the recipe's unless given.
    curriculum : str, optional
        The curriculum to follow; the newest unless given.
    model : str, optional
        The network, by its timm name; resnet18.
        With --continue-from the one that goes on.
    image_size : int, optional
        Height and width of the input in pixels.
        Unless given, 224, or the largest multiple of 32 not above the pictures' median short side, at least 32.
    pretrained : bool
        Begin with weights trained elsewhere, perhaps downloaded.
        The new classifier learns ten times as fast as they do, and batch norms keep their statistics.
    small_stem : bool, optional
        First convolution for small pictures; on up to 64 px.
    multi_scale : bool
        First convolution of kernels of 5, 7 and 9 pixels.
    dropout : float, optional
        Share of features dropped before the classifier.
        Unless given, what the network has by itself: most have none, inception_v2 0.2.
    continue_from : str or path-like, optional
        A run, or a model folder, with whose weights to begin.
        The network is then the same, and its input unless `image_size` is given. Categories that it knows keep their
        part of the classifier, others are new. Epochs and rates are those of `pretrained`.
    freeze : bool
        Train the classifier alone.
        With `pretrained` or `continue_from`; batch norms keep their statistics.
    epochs : float, optional
        Passes over the training images; 30, or 10 if pretrained.
        All usable ones count, whichever of them take part.
    batch_size : int, optional
        Images per step, B.
        Unless given, 256, halved down to 32 while an epoch has fewer than 50 steps.
    optimizer : {"sgd", "adamw", "rmsprop"}, optional
        SGD has Nesterov momentum.
        Unless given, SGD if pretrained or if the network normalises by batches alone, else AdamW. RMSProp is that of
        Szegedy et al. 2016: decay 0.9, ε 1 under the root.
    learning_rate : float, optional
        The highest learning rate.
        Unless given, 0.4 · B/256 with SGD, 0.1 · B/256 with RMSProp, 0.003 · √(B/256) with AdamW; if pretrained 0.005
        or 0.0003 · √(B/256).
    schedule : {"cosine", "step"}
        How the rate falls; step: tenfold, four times.
        After 30, 50, 60 and 65 seventieths of the steps, as Guo et al. 2018 had it.
    weight_decay : float, optional
        Decay of weights; 0.0005, AdamW 0.05, RMSProp 0.00004.
    momentum : float
        Momentum of SGD and RMSProp.
    warmup_share : float
        Share of the steps over which the rate rises.
    label_smoothing : float
        Share of each target spread over all categories.
    mixup : float
        Mix pairs of images; α of the Beta distribution.
        Zhang et al. 2018. Each of a pair has the weight of its subset.
    clip_norm : float, optional
        Scale a larger gradient to this norm.
    ema_decay : float
        Decay of the weights' moving average; 0 for none.
    balance : {"clean", "all", "none", "sqrt"}, optional
        Places shared equally by categories; as the recipe has it.
        Those of the clean subset, all, none; or all in proportion to the root of a category's size.
    places : {"half", "equal", "size"}
        How subsets share a batch.
    noisy_share : float
        Share of the last subset that takes part.
    subset_weights : tuple of float
        Weight of each subset in the loss; 1, then 0.5.
    weight_norm : bool
        Divide the loss by the weights' sum, not the batch size.
    stage_shares : tuple of float
        Length of each stage; 30, 30, 40 per cent for three.
    stage_steps : tuple of int
        Length of each stage in steps, instead.
    stage_schedule : {"one", "restart"}
        One schedule over all stages, or a full one in each.
    stage_until : {"steps", "plateau"}
        End a stage after its steps, or when it is learnt.
        Learnt: the loss on a few images of its subsets, which are set aside, no longer falls.
    teacher : {"online", "window"}
        How the recipe teacher tells what is learnt.
        By a moving average of differences of losses, or by the slope of the last five.
    crop_scale : tuple of float
        Least and greatest area of the random crop.
    crop_ratio : tuple of float
        Least and greatest aspect ratio of the crop.
    mirror : bool
        Mirror half of the pictures.
    cache : bool
        Keep the pictures decoded in the work folder.
        How much room they take is said before. Those larger than the smallest crop needs are reduced, so that the
        network sees nearly the same, not quite.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Arithmetic; auto: bfloat16 where the machine has it.
        float16, with scaled gradients, needs a GPU.
    accumulate : int
        Parts in which a batch goes through the network.
        Each takes a part of the memory. Batch norms see the parts alone; otherwise nothing changes.
    compile_ : bool
        Have torch compile the network; needs a C++ compiler.
    checkpoint_minutes : float
        Minutes between two checkpoints.
    seed : int
        The same seed gives the same batches and views.
    device : str
        auto, cpu, cuda or cuda:N.
    devices : int
        GPUs of this machine, or on the CPU processes, to train on.
        Each batch is shared among them; batch norms see the shares alone. On several machines torchrun starts them.
    workers : int, optional
        Processes that decode; as many as cores, at most 8.
        For each device.
    quiet : bool
        Show warnings and errors only.

    Returns
    -------
    Training

    Raises
    ------
    UnknownNameError
        No such recipe, network or curriculum.
    WorkFolderError
        No work folder, or no curriculum where the recipe needs one.
    InputError
        The clean subset is empty, or the curriculum is that of an earlier reading of the crawl.
    MachineError
        No such device or arithmetic, or the disk is full or has no room for the cache.

    Examples
    --------
    curriculumnet train crawl-work --recipe model-d --epochs 60
    """
    given = dict(locals())
    watch = Stopwatch()
    how = find(recipe)
    run = checked_name(recipe if name is None else name, "a run")
    check_choices(
        train,
        {
            "optimizer": optimizer,
            "schedule": schedule,
            "balance": balance,
            "places": places,
            "stage_schedule": stage_schedule,
            "stage_until": stage_until,
            "teacher": teacher,
            "precision": precision,
        },
    )
    # Before anything is loaded that takes seconds; what is not given has a default that can be meant.
    check_ranges(given)
    if curriculum is not None and not how.uses_curriculum:
        raise UsageError(f"--curriculum is for recipes that follow one, which {recipe} does not: leave it out.")
    ranks = Ranks.here()
    quiet = quiet or not ranks.writes
    folder = WorkFolder.open(work)
    with folder.lock(lambda message: console.say(message, quiet=quiet)) if ranks.locks else nullcontext():
        inputs = folder.digests(TRAINING_IMAGES)
        if how.uses_curriculum:
            hint = f"`curriculumnet design {folder.path}` makes one."
            curriculum = folder.find("design", curriculum, "curriculum", hint)
            _check_curriculum(folder, curriculum)
            inputs |= folder.digests(subsets_of(curriculum))
        images = tables.read(folder.file(IMAGES))
        if continue_from is not None:
            named = os.fspath(continue_from)
            continue_from = named if named in folder.names("train") else str(Path(named).absolute())
        if freeze and not (pretrained or continue_from):
            raise UsageError(
                "--freeze keeps weights as they are, which are random: add --pretrained or --continue-from."
            )
        with console.waiting("Loading torch", quiet=quiet):
            import_module("timm")
        before = None if continue_from is None else _earlier(folder, continue_from, run, model, pretrained, inputs)
        if before is not None:
            model = before.name
            image_size = before.preprocessing.image_size if image_size is None else image_size
            multi_scale = multi_scale or before.training.get("multi_scale", False)
            dropout = before.training.get("dropout") if dropout is None else dropout
            small_stem = before.training.get("small_stem", False) if small_stem is None else small_stem
        model = _MODEL if model is None else model
        trained = pretrained or before is not None
        size = _default_image_size(images) if image_size is None else image_size
        n_train = _training_rows(images).num_rows
        if batch_size is None:
            batch_size = default_batch_size(n_train)
        elif batch_size > max(n_train, LARGEST_BATCH):
            raise UsageError(f"--batch-size is {batch_size:,}, but there are {n_train:,} training images: give fewer.")
        if optimizer is None:
            optimizer = default_optimizer(model, pretrained)
        if learning_rate is None:
            learning_rate = default_rate(optimizer, trained, batch_size)
        settings: dict[str, Any] = {
            "recipe": recipe,
            "curriculum": curriculum if how.uses_curriculum else None,
            "model": model,
            "image_size": size,
            "pretrained": pretrained,
            "small_stem": default_small_stem(model, size, pretrained) if small_stem is None else small_stem,
            "epochs": epochs if epochs is not None else (10 if trained else 30),
            "batch_size": batch_size,
            "optimizer": optimizer,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay if weight_decay is not None else default_decay(optimizer),
            "momentum": momentum,
            "warmup_share": warmup_share,
            "label_smoothing": label_smoothing,
            "ema_decay": ema_decay,
            "places": places,
            "noisy_share": noisy_share,
            "subset_weights": list(subset_weights),
            "weight_norm": weight_norm,
            "stage_shares": list(stage_shares),
            "stage_schedule": stage_schedule,
            "crop_scale": list(crop_scale),
            "crop_ratio": list(crop_ratio),
            "mirror": mirror,
            "precision": precision,
            "seed": seed,
        }
        later = {
            "cache": cache,
            "schedule": schedule,
            "mixup": mixup,
            "clip_norm": clip_norm,
            "balance": balance,
            "stage_steps": list(stage_steps),
            "accumulate": accumulate,
            "compile": compile_,
            "multi_scale": multi_scale,
            "dropout": dropout,
            "continue_from": continue_from,
            "freeze": freeze,
            "stage_until": stage_until,
            "teacher": teacher,
        }
        # Not there where they are the default: what was trained before there were such settings is trained already.
        settings |= {name: value for name, value in later.items() if value != LATER[name]}
        record = folder.finished(f"train:{run}", inputs, settings)
        if record:
            console.say(f"Run {run} is up to date; nothing to do.", quiet=quiet)
            if ranks.writes:
                _give_up_another(folder, run, settings, quiet)
            return _result(folder, run, record.figures["steps"], record.seconds, up_to_date=True)
        _check_ranks(devices if ranks.count == 1 else ranks.count, settings | {"accumulate": accumulate})
        if devices > 1 and ranks.count == 1:
            start_processes(train, given, devices)
            record = folder.record(f"train:{run}")
            if record is None:
                raise MachineError(f"The processes of the training {run} have ended, but left nothing.")
            return _result(folder, run, record.figures["steps"], record.seconds, up_to_date=False)
        machine = _Machine(ranks, device, workers, checkpoint_minutes * 60, watch, quiet)
        return _train(folder, run, how, settings, inputs, images, machine, before)


@dataclass(frozen=True)
class _Machine:
    """What a training runs on, and what decides nothing of its result."""

    ranks: Ranks
    device: str
    workers: int | None
    checkpoint_seconds: float
    watch: Stopwatch
    quiet: bool


def _train(
    folder: WorkFolder,
    run: str,
    recipe: Recipe,
    given: dict[str, Any],
    inputs: dict[str, str],
    images: pa.Table,
    machine: _Machine,
    earlier: Model | None,
) -> Training:
    import numpy as np
    import torch

    from curriculumnet.images.loader import Pictures, Viewed, load, worker_count
    from curriculumnet.images.views import TrainingView
    from curriculumnet.networks import create as networks
    from curriculumnet.networks import folder as model_folder
    from curriculumnet.networks.continued import take_over
    from curriculumnet.networks.weights import origin
    from curriculumnet.training import checkpoints
    from curriculumnet.training.beginning import as_called, batch_norms, begin, manner_of
    from curriculumnet.training.curves import curves, curves_every, decoded, losses_on_all, sampled
    from curriculumnet.training.display import Pace, TensorBoard
    from curriculumnet.training.interruption import Stop
    from curriculumnet.training.loop import fit
    from curriculumnet.training.plan import plan_course
    from curriculumnet.training.records import NotFiniteError, Records
    from curriculumnet.training.schedules import SCHEDULES
    from curriculumnet.training.updates import Updates

    ranks, watch, quiet = machine.ranks, machine.watch, machine.quiet
    settings = LATER | given
    where, precision = _arithmetic(settings, machine)
    categories = folder.categories
    targets = _targets(images, categories)
    training = _training_images(folder, recipe, settings, images)
    course, aside = plan_course(recipe, training, targets, settings)
    for subset in (
        s
        for s, pool in enumerate(course.batches().pools)
        if not len(pool.ids) and ranks.writes and settings["noisy_share"]
    ):
        console.warn(
            f"Subset {subset} of the curriculum {settings['curriculum']} is empty: its places go to the cleaner ones."
        )
    if settings["pretrained"]:
        console.say(f"Weights of {settings['model']}: {origin(settings['model'])}.", quiet=quiet)
    torch.manual_seed(settings["seed"])
    network = networks.create(
        settings["model"],
        len(categories),
        image_size=settings["image_size"],
        pretrained=settings["pretrained"],
        small_stem=settings["small_stem"],
        multi_scale=settings["multi_scale"],
        dropout=settings["dropout"],
    )
    if earlier is not None:
        known = take_over(network, earlier, categories)
        console.say(
            f"{known:,} of the {len(categories):,} categories are known from {settings['continue_from']}.", quiet=quiet
        )
    norms = batch_norms(network)
    if settings["pretrained"]:
        for layer in networks.classifiers(network):
            for weight in layer.parameters():
                torch.nn.init.zeros_(weight)
    if settings["freeze"]:
        network.requires_grad_(False)
        for layer in networks.classifiers(network):
            layer.requires_grad_(True)
    network = model_folder.placed(network, where)
    preprocessing = networks.preprocessing(settings["model"], settings["image_size"], settings["pretrained"])
    if earlier is not None:
        preprocessing = replace(earlier.preprocessing, image_size=settings["image_size"])
    state = begin(network, settings, precision, len(training[0]), course)
    _say_what_is_replaced(folder, run, inputs, given, quiet)
    count = worker_count(machine.workers)
    sources = {key: source["root"] for key, source in folder.project["sources"].items()}
    pictures = Pictures(images, sources)
    key = {"settings": given, "inputs": inputs}
    resumed = checkpoints.load(folder, run, key, lambda sentence: console.say(sentence, quiet=quiet))
    before = resumed["seconds"] if resumed else 0.0
    if resumed:
        state.restore(resumed["state"])
        console.say(f"Run {run}: going on from step {state.step:,} of {course.total:,}.", quiet=quiet)
    left = [] if resumed else _left_by_another(folder, run)
    _say_what_is_left(folder, run, given, left, quiet)
    view = TrainingView(
        settings["image_size"],
        preprocessing.interpolation,
        tuple(settings["crop_scale"]),
        tuple(settings["crop_ratio"]),
        settings["mirror"],
    )

    def rate(step: int) -> float:
        first, last = 0, course.total
        if settings["stage_schedule"] == "restart":
            _, stage = course.batches().stage(step)
            first, last = stage.first, stage.last
        warmup = math.ceil(settings["warmup_share"] * (last - first))
        return float(settings["learning_rate"]) * SCHEDULES[settings["schedule"]](step - first, last - first, warmup)

    def to_input(views: torch.Tensor) -> torch.Tensor:
        return networks.normalise(views, preprocessing, where)

    def save(now: State) -> None:
        # Until there is something to go on from, what an earlier training has left stays.
        while left:
            left.pop().unlink(missing_ok=True)
        checkpoints.save(folder, run, now.step, {"key": key, "state": now.dump(), "seconds": before + watch.seconds})

    with ranks.joined(cuda=where.type == "cuda"):
        shown: Viewed[TrainingView] = pictures
        if settings["cache"]:
            shown = ranks.after_the_first(
                lambda: _cached(folder, images, pictures, settings, inputs[TRAINING_IMAGES], count, quiet)
            )
        held_out, set_aside = {}, {}
        if ranks.writes:
            # Beside the checkpoints: what an earlier training under this name has finished stays until this one has.
            folder.write_json(f"runs/{run}/checkpoints/settings.json", _shown_settings(given, course))
            splits = {split: sampled(_ids(images, split), settings["seed"]) for split in ("val", "test")}
            pieces = {str(subset): ids for subset, ids in aside.items()}
            held_out, set_aside = (
                decoded(named, pictures, preprocessing, targets, count) for named in (splits, pieces)
            )
        clean_val = folder.project["sources"].get("val", {}).get("labels") == "clean"
        log = TensorBoard(folder.file(f"runs/{run}/tensorboard"), state.step) if ranks.writes else nullcontext()
        progress = console.Progress(f"training {run}", course.total, "steps", done=state.step, quiet=quiet)
        with progress, log as told, Stop() as stop:
            measures = _measures(
                course.total,
                curves_every(course.total, settings["batch_size"], sum(len(wanted) for _, wanted in held_out.values())),
                curves(held_out, to_input, precision),
                "val_top1_error" if clean_val else None,
                save,
                machine.checkpoint_seconds,
                told.add if told else _untold,
                Pace(progress, course.total - state.step, run, quiet).step,
            )
            places = np.full(len(targets), -1, dtype=np.int64)
            places[training[0]] = np.arange(len(training[0]))
            records = Records(course.batches(), course.total, ranks, places, state.dynamics)
            update = Updates(
                state, as_called(network, settings, ranks, where), manner_of(settings, precision, norms), ranks
            )
            of_pieces = curves(set_aside, to_input, precision)

            def losses() -> dict[int, float]:
                figures = of_pieces(state.measured())
                return {subset: figures[f"{subset}_loss"] for subset in aside}

            def all_losses() -> np.ndarray:
                how = (pictures, preprocessing, targets, to_input, precision, count)
                return losses_on_all(state.measured(), training[0], *how)

            try:
                while state.step < course.total and not stop.asked:
                    batches = course.batches()
                    if state.step == len(batches):
                        found = {}
                        if ranks.writes:
                            found = course.decide(losses, all_losses)
                        course.restore(ranks.told(course.dump()))
                        for metric, value in found.items():
                            state.history.append((state.step, state.history[-1][1], metric, value))
                            measures.told(state.history[-1])
                        continue
                    share = (ranks.rank, ranks.count)
                    loading = load(
                        shown, batches, view, workers=count, seed=settings["seed"], first=state.step, share=share
                    )
                    with closing(loading) as loaded:
                        fit(
                            state,
                            update,
                            batches,
                            loaded,
                            targets,
                            to_input,
                            rate,
                            measures,
                            records,
                            ranks,
                            stop,
                            weight_norm=settings["weight_norm"],
                        )
            except NotFiniteError as error:
                raise UsageError(_not_finite(error, pictures, settings)) from error
            except Exception as error:
                if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                    reason = str(error).splitlines()[0]
                    raise MachineError(
                        f"torch cannot compile the network ({reason}): install a C++ compiler, or leave out --compile."
                    ) from error
                if not stop.asked:
                    raise
                # The signal has ended the processes that decode as well; other processes of the training may be gone.
                if ranks.count == 1 and state.whole and state.step:
                    records.collect()
                    save(state)
            if stop.asked:
                stop.heed()
        if not ranks.writes:
            ranks.wait()
            return _result(folder, run, course.total, watch.seconds, up_to_date=False)

        kept = state.measured()
        if state.best is not None:
            kept.load_state_dict(state.best[1])
        seconds = before + watch.seconds
        files = model_folder.save(
            kept,
            model=settings["model"],
            categories=categories,
            preprocessing=preprocessing,
            small_stem=settings["small_stem"],
            multi_scale=settings["multi_scale"],
            training=given,
        )
        for name, data in files.items():
            folder.write_bytes(f"runs/{run}/model/{name}", data)
        folder.write_json(f"runs/{run}/settings.json", _shown_settings(given, course))
        folder.write_table(f"runs/{run}/history.parquet", _history(state))
        folder.write_table(f"runs/{run}/dynamics.parquet", _dynamics(state, images, training[0]))
        written = ["settings.json", "history.parquet", "dynamics.parquet", *(f"model/{name}" for name in files)]
        folder.stamp(
            f"train:{run}",
            inputs,
            given,
            [f"runs/{run}/{name}" for name in written],
            seconds,
            {"steps": course.total, "device": str(where), "precision": str(precision).removeprefix("torch.")}
            | ({"devices": ranks.count} if ranks.count > 1 else {}),
        )
        ranks.wait()
    return _result(folder, run, course.total, seconds, up_to_date=False)


def _arithmetic(settings: dict[str, Any], machine: _Machine) -> tuple[torch.device, torch.dtype]:
    """Return where and how finely a training computes.

    Raises
    ------
    UsageError, MachineError
        There is no such device or arithmetic.
    """
    import torch

    from curriculumnet.networks.device import native_precision, resolve_device

    where = resolve_device(machine.device)
    if machine.ranks.count > 1 and where.type == "cuda" and where.index is None:
        where = resolve_device(f"cuda:{machine.ranks.local}")
    if where.index is not None:
        torch.cuda.set_device(where)
    precision = native_precision(where) if settings["precision"] == "auto" else getattr(torch, settings["precision"])
    if precision is torch.float16 and where.type == "cpu":
        raise MachineError("--precision is float16, which needs a GPU: take bfloat16, or leave it out.")
    return where, precision


def _shown_settings(given: dict[str, Any], course: Course) -> dict[str, Any]:
    """Return the settings with the stages, as far as they are decided."""
    return given | {"stages": [asdict(stage) for stage in course.batches().stages]}


def _check_ranks(count: int, settings: dict[str, Any]) -> None:
    """Refuse batches of which some process, or some part of its share, would have nothing."""
    size, parts = settings["batch_size"], settings["accumulate"] * count
    if size < parts:
        raise UsageError(
            f"--batch-size is {size}, which {count} processes with --accumulate {settings['accumulate']} cannot "
            f"share: it must be at least {parts}."
        )


def _not_finite(error: NotFiniteError, pictures: Pictures, settings: dict[str, Any]) -> str:
    """Say where the loss went out of bounds, and what to try."""
    names = [pictures.name(int(image))[1] for image in error.ids[:3]]
    more = f" and {len(error.ids) - 3:,} more" if len(error.ids) > 3 else ""
    other = ", or --precision float32" if settings["precision"] != "float32" else ""
    gentle = "" if settings["clip_norm"] is not None else ", with --clip-norm 1"
    return (
        f"The loss is no longer finite at step {error.step + 1:,}, of {', '.join(names)}{more}: start again with a "
        f"lower --learning-rate than {settings['learning_rate']:g}{gentle}{other}."
    )


def _left_by_another(folder: WorkFolder, run: str) -> list[Path]:
    """Return the checkpoints and TensorBoard events of an earlier training under this name."""
    home = folder.file(f"runs/{run}")
    return [*home.glob("checkpoints/step-*.pt"), *(path for path in home.glob("tensorboard/**/*") if path.is_file())]


def _result(folder: WorkFolder, run: str, steps: int, seconds: float, *, up_to_date: bool) -> Training:
    home = folder.file(f"runs/{run}")
    return Training(run, home, home / "model", steps, seconds, up_to_date)


def _say_what_is_replaced(
    folder: WorkFolder, run: str, inputs: dict[str, str], settings: dict[str, Any], quiet: bool
) -> None:
    """Say that a finished run is about to be lost, why, and how to keep it."""
    record = folder.record(f"train:{run}")
    if record is None or not folder.file(f"runs/{run}/model").is_dir():
        return
    changed = _changed(record.settings, settings)
    if not changed and record.inputs == inputs:
        console.say(f"Files of run {run} are gone or changed: they are made again.", quiet=quiet)
        return
    elsewhere = "on other images, or along another curriculum" if settings["curriculum"] else "on other images"
    why = f"with other settings ({'; '.join(changed)})" if changed else elsewhere
    console.say(
        f"Run {run} was trained {why}: it is replaced when this training ends. To keep it, stop before that and give "
        "`train` another --name, or `run` another folder with -o.",
        quiet=quiet,
    )


def _changed(before: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Say which settings were others before."""
    known, now = (LATER | found for found in (before, json.loads(json.dumps(settings))))
    return [
        f"{name.replace('_', ' ')} {_shown(known[name])}, now {_shown(value)}"
        for name, value in now.items()
        if name in known and known[name] != value
    ]


def _say_what_is_left(folder: WorkFolder, run: str, settings: dict[str, Any], left: list[Path], quiet: bool) -> None:
    """Say that checkpoints of another training under this name, which has not ended, will be lost."""
    begun = folder.file(f"runs/{run}/checkpoints/settings.json")
    if not any(path.suffix == ".pt" for path in left) or not begun.is_file():
        return
    known = json.loads(begun.read_text(encoding="utf-8"))
    record = folder.record(f"train:{run}")
    if record is not None and not _changed(record.settings, known):
        return
    changed = _changed(known, settings)
    how = f"with other settings ({'; '.join(changed)})" if changed else "on other images, or another curriculum"
    console.say(
        f"A training of {run} {how} had been begun: its checkpoints are lost when this one writes its first. To keep "
        "them, stop before that and give another --name.",
        quiet=quiet,
    )


def _give_up_another(folder: WorkFolder, run: str, settings: dict[str, Any], quiet: bool) -> None:
    """Delete what a training with other settings, begun after the finished one, has left: nobody goes on with it."""
    from curriculumnet.training import checkpoints

    begun = folder.file(f"runs/{run}/checkpoints/settings.json")
    known = LATER | (json.loads(begun.read_text(encoding="utf-8")) if begun.is_file() else settings)
    if any(known.get(name) != value for name, value in json.loads(json.dumps(LATER | settings)).items()):
        console.say(f"A training of {run} with other settings that had not ended is given up.", quiet=quiet)
        checkpoints.delete(folder, run)
        begun.unlink()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_shown, value)) or "the default"
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _training_rows(images: pa.Table) -> pa.Table:
    used = images.filter(_mask(images, "train"))
    if used.num_rows == 0:
        raise InputError("No usable training image is in the table of images: the account says why.")
    return used


def _earlier(
    folder: WorkFolder, given: str, into: str, model: str | None, pretrained: bool, inputs: dict[str, str]
) -> Model:
    """Return the network to go on from, a run's or a model folder's, and note its digest among the inputs.

    Raises
    ------
    UsageError
        Other weights, or another network, are asked for as well, or it would be replaced.
    UnknownNameError
        There is no such run or folder.
    InputError
        What is there is no network.
    """
    import torch

    from curriculumnet.networks import folder as model_folder

    if pretrained:
        raise UsageError("--pretrained and --continue-from name weights to begin with: give one of them.")
    run = folder.file(f"runs/{given}/model") if given in folder.names("train") else None
    if run is None and not Path(given).is_dir():
        raise UnknownNameError("run", Path(given).name, folder.names("train"))
    found = model_folder.load(run or given, torch.device("cpu"))
    if given == into:
        raise UsageError(f"--continue-from is {given}, which this training would replace: give it another --name.")
    if model is not None and model.partition(".")[0] != found.name:
        raise UsageError(f"{given} is a {found.name}, and --model is {model}: leave --model out.")
    inputs["continue_from"] = found.digest()
    return found


def _default_image_size(images: pa.Table) -> int:
    import numpy as np

    used = _training_rows(images)
    short = float(np.median(np.minimum(used["width"].to_numpy(), used["height"].to_numpy())))
    return 224 if short >= 224 else max(32, int(short) // 32 * 32)


def _check_curriculum(folder: WorkFolder, curriculum: str) -> None:
    """Refuse a curriculum whose image ids are those of an earlier table of images."""
    record = folder.record(f"design:{curriculum}")
    images = folder.digest(IMAGES)
    if record and record.inputs.get(IMAGES, images) != images:
        features = record.settings["features"]
        raise InputError(
            f"The curriculum {curriculum} in {folder.path} orders the images of an earlier reading of the crawl: "
            f"`curriculumnet embed` with what gave the features {features}, then `curriculumnet design {folder.path} "
            f"--features {features}`, make it again."
        )


def _ids(images: pa.Table, split: str) -> np.ndarray:
    """Return the usable images of a split, int64."""
    ids: np.ndarray = images.filter(_mask(images, split))["image_id"].to_numpy()
    return ids


def _mask(images: pa.Table, split: str) -> pa.Array:
    import pyarrow.compute as pc

    return pc.and_(pc.equal(images["state"], "used"), pc.equal(images["split"], split))


def _targets(images: pa.Table, categories: list[str]) -> np.ndarray:
    """Return the index of each image's category, int64; -1 for a label that is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.index_in(images["label"], value_set=pa.array(categories))
    return pc.fill_null(found, -1).to_numpy().astype("int64")


def _training_images(
    folder: WorkFolder, recipe: Recipe, settings: dict[str, Any], images: pa.Table
) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Return the usable training images and, where the recipe reads a curriculum, the subset of each and how many."""
    import numpy as np

    ids = images.filter(_mask(images, "train"))["image_id"].to_numpy()
    if not recipe.uses_curriculum:
        return ids, None, 1
    table = tables.read(folder.file(f"curricula/{settings['curriculum']}.parquet"), ["image_id", "subset"])
    subsets = np.full(images.num_rows, -1, dtype=np.int64)
    subsets[table["image_id"].to_numpy()] = table["subset"].to_numpy()
    about = json.loads(table.schema.metadata[b"settings"])
    return ids, subsets[ids], int(about["n_subsets"])


def _cached(
    folder: WorkFolder,
    images: pa.Table,
    pictures: Pictures,
    settings: dict[str, Any],
    digest: str,
    workers: int,
    quiet: bool,
) -> CachedPictures:
    """Return the training pictures decoded: from the cache that is there, or from one that is made now.

    Raises
    ------
    MachineError
        The disk has no room for it.
    """
    import pyarrow.compute as pc

    from curriculumnet.images import cache

    side = cache.kept_side(settings["image_size"], settings["crop_scale"][0])
    name, key = f"cache/{side}px.safetensors", {"version": cache.VERSION, "images": digest}
    path = folder.file(name)
    for known in path.parent.glob("*.safetensors"):
        if cache.key_of(known) != key:
            known.unlink()
    if path.is_file():
        size = console.storage(path.stat().st_size)
        console.say(f"The pictures are there decoded: {size} in {path}.", quiet=quiet)
        return cache.CachedPictures(path)
    mask = _mask(images, "train")
    widths, heights = (pc.if_else(mask, images[name], 0).to_numpy() for name in ("width", "height"))
    layout = cache.Layout.plan(widths, heights, side)
    wanted, free = layout.bytes, shutil.disk_usage(folder.path).free
    if wanted > free:
        raise MachineError(
            f"Decoded, the pictures would take {console.storage(wanted)} in {path}, and the disk has "
            f"{console.storage(free)} free: free some space, or train without --cache."
        )
    console.say(
        f"Decoded, the pictures will take {console.storage(wanted)} in {path}; later trainings use them, too.",
        quiet=quiet,
    )
    with console.Progress("decoding", len(layout.ids), "pictures", quiet=quiet, aside=True) as progress:

        def pixels() -> Iterator[np.ndarray]:
            for count, found in cache.decoded(pictures, layout, workers):
                yield found
                progress.advance(count)

        folder.write_with(name, lambda file: cache.write(file, layout, key, pixels()))
    return cache.CachedPictures(path)


def _measures(
    steps: int,
    curves_every: int,
    curves: Callable[[torch.nn.Module], dict[str, float]],
    choose_by: str | None,
    save: Callable[[State], None],
    save_seconds: float,
    told: Callable[[tuple[int, int, str, float]], None],
    advance: Callable[[], None],
) -> Measures:
    from curriculumnet.training.loop import Measures

    return Measures(
        every=max(1, steps // _ROWS),
        curves=curves,
        curves_every=curves_every,
        choose_by=choose_by,
        save=save,
        save_seconds=save_seconds,
        told=told,
        advance=advance,
    )


def _history(state: State) -> pa.Table:
    step, stage, metric, value = (list(column) for column in zip(*state.history, strict=True))
    return tables.build(tables.HISTORY, {"step": step, "stage": stage, "metric": metric, "value": value})


def _untold(_row: Row) -> None:
    """Tell nobody: TensorBoard hears it from the process that writes."""


def _dynamics(state: State, images: pa.Table, ids: np.ndarray) -> pa.Table:
    import pyarrow as pa

    from curriculumnet.training.records import PARTS

    labels = images["label"].take(ids).combine_chunks()
    found = state.dynamics.columns()
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(found.pop(name).ravel()), PARTS)
        for name in ("losses", "agreements")
    }
    return tables.build(tables.DYNAMICS, {"image_id": ids, "label": labels, **found, **lists})
