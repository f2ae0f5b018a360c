"""Courses that are decided while a training runs, by losses that are made up here, and through the public door."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import curriculumnet as cn
from curriculumnet.errors import UsageError
from curriculumnet.images import loader
from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.course import pieces
from curriculumnet.training.plateau import Plateau
from curriculumnet.training.self_paced import SHARES, SelfPaced
from curriculumnet.training.teacher import EXPLORED, Teacher, places
from curriculumnet.work import tables

SMALL = {"model": "test_resnet", "image_size": 32, "batch_size": 16, "workers": 0, "device": "cpu", "quiet": True}


def laid_down(recipe, n=600, epochs=20, batch_size=12):
    subsets = np.arange(n) % 3 if recipe == "model-d" else np.zeros(n, np.int64)
    return CurriculumBatches.of(subsets, np.arange(n) // 3 % 5, recipe=recipe, epochs=epochs, batch_size=batch_size)


def as_teachers(n=600, epochs=20):
    batches = laid_down("model-d", n, epochs)
    return replace(batches, stages=(replace(batches.stages[-1], first=0),))


def gone_through(course, losses, all_losses=None):
    """Go through a course; return its batches in the end, and the steps at which it decided."""
    decided, found = [], []
    while len(course.batches()) < course.total:
        decided.append(len(course.batches()))
        found.append(course.decide(lambda: losses(decided[-1]), all_losses))
        assert len(course.batches()) > decided[-1]
    return course.batches(), decided, found


def test_a_stage_ends_when_its_loss_no_longer_falls():
    total = len(laid_down("model-d"))

    def losses(step):
        # Of clean images much is learnt in a tenth of the training, of the others all the time.
        falling = 2 - step / total
        return {0: max(1.0, 2 - 10 * step / total), 1: falling, 2: falling}

    batches, decided, found = gone_through(Plateau(laid_down("model-d")), losses)
    first, second, third = batches.stages
    assert 0.1 * total < first.last < 0.2 * total
    assert second.last > 0.6 * total
    assert (first.first, second.first, third.first, third.last) == (0, first.last, second.last, total)
    assert [stage.subsets for stage in batches.stages] == [(0,), (0, 1), (0, 1, 2)]
    assert all(rows.keys() == {"held_out_loss"} for rows in found)
    assert decided == sorted(set(decided))


@given(
    st.integers(1, 400), st.integers(0, 2**32), st.lists(st.floats(0.1, 10), min_size=1, max_size=9), st.integers(1, 30)
)
def test_whatever_the_losses_are_every_stage_has_steps_and_all_are_taken(n, seed, values, epochs):
    batches = laid_down("model-d", 3 * n, epochs)
    rng = np.random.default_rng(seed)
    course = Plateau(batches)
    whole, *_ = gone_through(course, lambda step: dict.fromkeys(range(3), float(rng.choice(values))))
    assert whole.stages[0].first == 0
    assert whole.stages[-1].last == len(batches)
    assert all(stage.last > stage.first for stage in whole.stages)
    assert len(whole.stages) == len(batches.stages)


@pytest.mark.parametrize("variant", ["online", "window"])
def test_a_teacher_gives_most_places_to_what_is_learnt_and_then_to_what_is_learnt_next(variant):
    course = Teacher(as_teachers(), variant)
    half = course.total / 2

    def losses(step):
        # Subset 1 is learnt in the first half, subset 2 forgotten in the second.
        return {0: 1.0, 1: 3 - min(step, half) / half, 2: 1 + max(0, step - half) / half}

    batches, decided, found = gone_through(course, losses)
    assert len(decided) == 29
    early, late = found[len(found) // 2 - 2], found[-1]
    assert early["share_subset_1"] == pytest.approx(1 - EXPLORED * 2 / 3)
    assert late["share_subset_2"] > 0.8
    assert early["share_subset_0"] == pytest.approx(EXPLORED / 3)
    assert batches.stages[0].places == (4, 4, 4)
    assert batches.stages[-1].places[2] >= 10
    assert all(sum(stage.places) == 12 for stage in batches.stages)
    assert len(batches[batches.stages[-1].first]) == 12


@given(st.integers(1, 300), st.lists(st.floats(0.001, 1), min_size=1, max_size=6))
def test_places_add_up_and_are_as_near_to_the_shares_as_can_be(size, shares):
    shares = [share / sum(shares) for share in shares]
    found = places(size, shares)
    assert sum(found) == size
    assert all(abs(each - size * share) < 1 for each, share in zip(found, shares, strict=True))


def test_the_easiest_of_each_category_take_part_more_of_them_from_round_to_round():
    labels = np.repeat(np.arange(3), [10, 40, 3])
    batches = CurriculumBatches.of(np.zeros(53, int), labels, recipe="model-a", epochs=60, batch_size=10)
    course = SelfPaced(batches, np.arange(53), labels)
    losses = np.random.default_rng(0).permutation(53).astype(np.float32)
    for number, share in enumerate(SHARES):
        whole = course.batches()
        seen = np.concatenate([whole[step] for step in range(whole.stages[-1].first, len(whole))])
        assert whole.stages[-1].last == (number + 1) * course.total // len(SHARES)
        for category, size in enumerate((10, 40, 3)):
            members = np.flatnonzero(labels == category)
            easy = members[np.argsort(losses[members])][: int(np.ceil(share * size))]
            assert set(seen[labels[seen] == category].tolist()) == set(easy.tolist())
        if len(whole) < course.total:
            course.decide(None, lambda: losses)


@pytest.mark.parametrize("kind", ["plateau", "teacher", "self-paced"])
def test_what_was_decided_can_be_kept_and_taken_over(kind):
    labels = np.arange(600) // 3 % 5
    made = {
        "plateau": lambda: Plateau(laid_down("model-d")),
        "teacher": lambda: Teacher(as_teachers(), "online"),
        "self-paced": lambda: SelfPaced(laid_down("model-a"), np.arange(600), labels),
    }[kind]
    rng = np.random.default_rng(3)
    course, other = made(), made()
    while len(course.batches()) < course.total:
        told, each = {subset: float(rng.random()) for subset in range(3)}, rng.random(600)
        course.decide(lambda told=told: told, lambda each=each: each)
        other.restore(course.dump())
        one, two = course.batches(), other.batches()
        assert one.stages == two.stages
        assert one[len(one) - 1].tolist() == two[len(two) - 1].tolist()


def test_a_few_images_of_each_subset_are_set_aside():
    members = {0: np.arange(100), 1: np.arange(100, 103), 2: np.array([7]), 3: np.arange(200, 30200)}
    found = pieces(members, 0)
    assert {subset: len(ids) for subset, ids in found.items()} == {0: 5, 1: 1, 3: 500}
    assert all(np.isin(ids, members[subset]).all() for subset, ids in found.items())
    assert pieces(members, 0)[3].tolist() == found[3].tolist() != pieces(members, 1)[3].tolist()


CASES = {
    "teacher": {"recipe": "teacher"},
    "window": {"recipe": "teacher", "teacher": "window"},
    "plateau": {"recipe": "model-d", "stage_until": "plateau"},
    "self-paced": {"recipe": "self-paced"},
    "self-paced, balanced": {"recipe": "self-paced", "balance": "all"},
}


@pytest.mark.parametrize("case", CASES)
def test_courses_train_and_one_that_was_stopped_ends_as_one_that_was_not(work, case, monkeypatch):
    from safetensors.torch import load_file

    options = {**SMALL, "epochs": 10, "precision": "float32", "checkpoint_minutes": 0, **CASES[case]}
    whole = cn.train(work, name="whole", **options)
    through, left = loader.load, [9]

    def breaking_off(*arguments, **keywords):
        for batch in through(*arguments, **keywords):
            if "seed" in keywords:
                left[0] -= 1
                if left[0] < 0:
                    raise KeyboardInterrupt
            yield batch

    for _ in range(8):
        left[0] = 9
        try:
            with monkeypatch.context() as patched:
                patched.setattr(loader, "load", breaking_off)
                cn.train(work, name="stopped", **options)
            break
        except KeyboardInterrupt:
            pass
    one, other = (load_file(work / f"runs/{name}/model/model.safetensors") for name in ("whole", "stopped"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    rows = tables.read(whole.folder / "history.parquet")
    metrics = set(rows["metric"].to_pylist())
    assert metrics > {"teacher": {"share_subset_0", "held_out_loss_subset_2"}, "plateau": {"held_out_loss"}}.get(
        case, set()
    )
    if case.startswith("self-paced"):
        shares = rows.filter(pc.equal(rows["metric"], "share_taking_part"))["value"].to_pylist()
        assert len(shares) == len(SHARES) - 1
        assert shares[0] < shares[2] < shares[-1] == 1
    if case != "self-paced, balanced":
        known = json.loads((whole.folder / "settings.json").read_text(encoding="utf-8"))
        assert known["stages"][-1]["last"] == whole.steps


def test_images_that_are_set_aside_are_not_trained_on(work):
    rows = tables.read(cn.train(work, recipe="teacher", epochs=20, **SMALL).folder / "dynamics.parquet")
    assert 3 <= sum(seen == 0 for seen in rows["seen"].to_pylist()) <= 6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"recipe": "model-a", "stage_until": "plateau"}, "take a recipe that has some, such as model-d"),
        ({"recipe": "model-d", "teacher": "window"}, "--teacher is for the recipe teacher"),
        ({"recipe": "self-paced", "curriculum": "any"}, "--curriculum is for recipes that follow one"),
        ({"recipe": "teacher", "stage_schedule": "restart"}, "leave one of the two out"),
        ({"recipe": "model-d", "stage_until": "plateau", "stage_schedule": "restart"}, "leave one of the two out"),
    ],
)
def test_what_cannot_be_decided_is_refused(work, options, says):
    with pytest.raises(UsageError, match=says):
        cn.train(work, **SMALL, **options)


@pytest.mark.parametrize("recipe", ["teacher", "self-paced"])
def test_batches_that_are_decided_on_the_way_are_none_for_a_loop_of_ones_own(recipe):
    with pytest.raises(UsageError, match="decides as it goes"):
        CurriculumBatches.of([0, 1, 2], [0, 0, 0], recipe=recipe)
