"""Batches: their composition, balance and order are functions of the seed and the step."""

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, chisquare

import curriculumnet as cn
from curriculumnet.errors import InputError, UnknownNameError, UsageError
from curriculumnet.training.batches import Pool, share_places
from curriculumnet.training.plan import plan
from curriculumnet.training.ranks import Ranks
from curriculumnet.training.recipes import RECIPES

SETTINGS = {
    "epochs": 3,
    "batch_size": 16,
    "places": "half",
    "noisy_share": 1.0,
    "subset_weights": (),
    "stage_shares": (),
    "stage_steps": (),
    "balance": None,
    "stage_schedule": "one",
    "seed": 0,
}


def made(recipe="model-d", n=90, categories=5, n_subsets=3, **changes):
    """Batches over n images whose category is id % categories and whose subset is id % n_subsets."""
    ids = np.arange(n)
    subsets = ids % n_subsets if RECIPES[recipe].uses_curriculum else None
    return plan(RECIPES[recipe], ids, subsets, n_subsets, ids % categories, SETTINGS | changes)


@given(n=st.integers(1, 300), places=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_a_pool_in_seeded_order_shows_every_image_once_before_any_twice(n, places, seed):
    pool = Pool(np.arange(n) * 10)
    drawn = np.concatenate([pool.draw(places, seed, step, key=3) for step in range(-(-2 * n // places))])
    for first in (0, n):
        assert sorted(drawn[first : first + n]) == list(range(0, 10 * n, 10))


def test_a_pool_has_a_new_order_in_each_pass_and_for_each_key():
    pool = Pool(np.arange(50))
    passes = [tuple(pool.draw(50, 0, step, key=0)) for step in range(3)]
    assert len({*passes, tuple(pool.draw(50, 0, 0, key=1)), tuple(pool.draw(50, 1, 0, key=0))}) == 5


def test_a_seed_gives_the_batches_that_it_always_gave():
    # Trainings that were stopped go on with the batches that they would have seen, in later versions as well.
    pool = Pool(np.arange(1000))
    assert pool.draw(6, 0, 5, key=3).tolist() == [292, 206, 925, 113, 656, 207]
    assert Pool(np.arange(3)).draw(6, 2**40, 1, key=64).tolist() == [1, 0, 2, 1, 0, 2]


@given(n=st.integers(1, 300), categories=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_a_balanced_pool_lists_the_images_of_each_category_in_their_order(n, categories, seed):
    rng = np.random.default_rng(seed)
    ids, labels = rng.integers(0, 2**32, n), rng.integers(0, categories, n) * 3
    pool = Pool.balanced(ids, labels)
    listed = [pool.ids[first:last].tolist() for first, last in zip(pool.starts[:-1], pool.starts[1:], strict=True)]
    assert listed == [sorted(ids[labels == label].tolist()) for label in np.unique(labels)]


def test_every_image_is_equally_likely_at_every_place():
    pool = Pool(np.arange(6))
    seen = np.zeros((6, 6))
    for step in range(3000):
        seen[np.arange(6), pool.draw(6, 7, step, key=0)] += 1
    assert chisquare(seen.ravel(), ddof=10).pvalue > 1e-4


@given(
    sizes=st.lists(st.integers(0, 1000), min_size=1, max_size=5).filter(lambda s: s[0] > 0),
    batch_size=st.integers(1, 512),
    places=st.sampled_from(["half", "equal", "size"]),
)
def test_shares_add_up_and_odd_places_go_to_the_cleaner(sizes, batch_size, places):
    shared = share_places(batch_size, tuple(sizes), places)
    assert sum(shared) == batch_size
    assert all(count == 0 for count, size in zip(shared, sizes, strict=True) if size == 0)
    if places == "equal" and all(sizes):
        assert list(shared) == sorted(shared, reverse=True)
        assert shared[0] - shared[-1] <= 1
    if places == "half" and len(sizes) > 1 and sizes[1]:
        assert shared[0] in (batch_size // 2, -(-batch_size // 2), batch_size // 2 + 1)


@given(
    sizes=st.lists(st.integers(0, 3), min_size=1, max_size=5).filter(lambda s: s[0] > 0), batch_size=st.integers(1, 99)
)
def test_an_empty_subset_leaves_its_places_to_the_next_cleaner_one(sizes, batch_size):
    for places in ("half", "equal"):
        shared = share_places(batch_size, tuple(sizes), places)
        full = share_places(batch_size, (1,) * len(sizes), places)
        begins = [index for index, size in enumerate(sizes) if size]
        ends = [*begins[1:], len(sizes)]
        assert [shared[index] for index in begins] == [sum(full[a:b]) for a, b in zip(begins, ends, strict=True)]


def test_the_authors_batch_is_half_clean_and_a_quarter_of_each_other_subset():
    assert share_places(256, (5000, 3000, 1500), "half") == (128, 64, 64)
    assert share_places(255, (5000, 3000, 1500), "half") == (128, 64, 63)
    assert share_places(256, (5000, 0, 1500), "half") == (192, 0, 64)
    assert share_places(256, (5000,), "half") == (256,)


def test_an_empty_clean_subset_is_an_error():
    with pytest.raises(InputError, match="clean subset is empty"):
        share_places(256, (0, 10, 10), "half")


@pytest.mark.parametrize(("recipe", "n_stages"), [("model-a", 1), ("model-b", 1), ("model-c", 2), ("model-d", 3)])
def test_stages_follow_the_recipe_and_all_recipes_are_equally_long(recipe, n_stages):
    batches = made(recipe)
    assert len(batches.stages) == n_stages
    assert len(batches) == -(-3 * 90 // 16)
    assert batches.stages[-1].weights == (1.0, 0.5, 0.5)[: len(batches.stages[-1].subsets)]


def test_only_the_subsets_of_the_stage_take_part():
    batches = made("model-d", epochs=20)
    for number in range(len(batches)):
        _, stage = batches.stage(number)
        found = Counter(int(image) % 3 for image in batches[number])
        assert found == Counter(dict(zip(stage.subsets, stage.places, strict=True)))


def test_clean_places_are_shared_equally_among_categories():
    batches = made("model-b", n=3000, categories=7, batch_size=24, epochs=40)
    counts = np.zeros(7)
    for number in range(len(batches)):
        found = np.bincount(batches[number] % 7, minlength=7)
        assert found.min() >= 3
        assert found.max() <= 4
        counts += found
    assert chisquare(counts).pvalue > 1e-4


def test_images_of_a_category_are_drawn_uniformly_on_clean_places():
    batches = made("model-b", n=300, categories=5, batch_size=50, epochs=100)
    counts = np.bincount(np.concatenate([batches[number] for number in range(len(batches))]), minlength=300)
    for category in range(5):
        ids = np.arange(0, 300, 3)
        assert chisquare(counts[ids[ids % 5 == category]]).pvalue > 1e-4
    assert counts[np.arange(300) % 3 != 0].sum() == 0


def test_a_batch_may_have_fewer_places_than_there_are_categories():
    batches = made("model-b", n=3000, categories=100, batch_size=10, epochs=2)
    for number in range(20):
        assert len(set(batches[number] % 100)) == 10


@pytest.mark.parametrize(("categories", "batch_size"), [(100, 7), (40, 39), (25, 60)])
def test_every_category_is_equally_often_on_clean_places_whether_or_not_they_divide(categories, batch_size):
    batches = made("model-b", n=3000, categories=categories, batch_size=batch_size, stage_steps=(2000,))
    counts = np.zeros(categories)
    for batch in batches:
        found = np.bincount(batch % categories, minlength=categories)
        assert found.max() - found.min() <= 1
        counts += found
    # Drawn without replacement, `share` of the categories have a place more in each batch, and always others.
    share = batch_size % categories / categories
    spread = len(batches) * share * (1 - share) * categories / (categories - 1)
    assert chi2.sf(((counts - counts.mean()) ** 2).sum() / spread, categories - 1) > 1e-4


@given(
    categories=st.integers(1, 30), without=st.integers(0, 29), batch_size=st.integers(4, 50), seed=st.integers(0, 2**32)
)
@settings(max_examples=60)
def test_a_category_without_clean_images_has_no_clean_place(categories, without, batch_size, seed):
    rng = np.random.default_rng(seed)
    labels, subsets = rng.integers(0, categories, 200), rng.integers(0, 3, 200)
    subsets[(labels >= categories - without) & (subsets == 0)] = 1
    labels, subsets = np.append(labels, 0), np.append(subsets, 0)
    batches = cn.CurriculumBatches.of(subsets, labels, batch_size=batch_size, epochs=3, n_subsets=3, seed=seed)
    clean = set(labels[subsets == 0].tolist())
    for number, batch in enumerate(batches):
        _, stage = batches.stage(number)
        assert set(labels[batch[: stage.places[0]]].tolist()) <= clean
        assert (subsets[batch] == stage.place_subsets()).all()


@given(count=st.integers(1, 9), batch_size=st.integers(9, 80), n_subsets=st.integers(1, 4), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_the_shares_of_all_processes_are_the_batch_and_each_has_its_part_of_every_subset(
    count, batch_size, n_subsets, seed
):
    batches = made(n=120, n_subsets=n_subsets, batch_size=batch_size, seed=seed)
    for number in (0, len(batches) // 2, len(batches) - 1):
        _, stage = batches.stage(number)
        shares = [Ranks(rank, count).share(batches[number]) for rank in range(count)]
        together = np.empty(batch_size, np.int64)
        for rank, share in enumerate(shares):
            together[rank::count] = share
        np.testing.assert_array_equal(together, batches[number])
        assert sum(map(len, shares)) == batch_size
        for subset, places in zip(stage.subsets, stage.places, strict=True):
            parts = [
                np.count_nonzero(Ranks(rank, count).share(stage.place_subsets()) == subset) for rank in range(count)
            ]
            assert places // count <= min(parts)
            assert max(parts) <= -(-places // count)


def test_balance_of_model_a_balanced_is_over_all_images():
    ids = np.arange(100)
    targets = np.where(ids < 90, 0, 1)
    batches = plan(RECIPES["model-a-balanced"], ids, None, 1, targets, SETTINGS | {"epochs": 20})
    drawn = np.concatenate([batches[number] for number in range(len(batches))])
    assert np.mean(targets[drawn]) == 0.5


def test_a_batch_needs_none_before_it_and_survives_pickling():
    batches = made("model-d", epochs=10)
    again = pickle.loads(pickle.dumps(batches))
    for number in reversed(range(len(batches))):
        np.testing.assert_array_equal(batches[number], again[number])


def test_batches_are_gone_through_in_their_order_and_end():
    batches = made()
    assert [batch.tolist() for batch in batches] == [batches[number].tolist() for number in range(len(batches))]
    for number in (-1, len(batches)):
        with pytest.raises(IndexError, match="There are 17 batches, numbered from 0"):
            batches[number]


def test_batches_of_arrays_leave_out_what_takes_no_part():
    ids = np.arange(0, 180, 2)
    subsets, labels = np.full(180, -1, np.int8), np.full(180, -1)
    subsets[ids], labels[ids] = np.arange(90) % 3, np.arange(90) % 5
    for recipe in (name for name, how in RECIPES.items() if how.course == "laid down"):
        known = made(recipe, seed=4)
        batches = cn.CurriculumBatches.of(subsets, labels, recipe=recipe, epochs=3, batch_size=16, seed=4)
        assert [batch.tolist() for batch in batches] == [(2 * batch).tolist() for batch in known]
        assert batches.stages == known.stages


@pytest.mark.parametrize(
    ("subsets", "labels", "changes", "error", "says"),
    [
        ([0, 1], [0, 1, 1], {}, InputError, r"shape \(2,\) and the labels of \(3,\)"),
        ([0.0, 1.0], [0, 1], {}, InputError, "integers from 0 on"),
        ([0, 1], ["cat", "dog"], {}, InputError, "integers from 0 on"),
        ([-1, -1], [0, 1], {}, InputError, "No image takes part"),
        ([1, 1], [0, 1], {}, InputError, "clean subset is empty"),
        ([0, 1], [0, -1], {}, InputError, "a label below 0"),
        ([0, 2], [0, 1], {"n_subsets": 2}, InputError, "Images are of subset 2, but there are to be 2 subsets"),
        ([0, 1], [0, 1], {"recipe": "model-e"}, UnknownNameError, "no recipe 'model-e'"),
        ([0, 1], [0, 1], {"places": "most"}, UnknownNameError, "no places 'most'"),
        ([0, 1], [0, 1], {"epochs": 0}, UsageError, "--epochs is 0"),
    ],
)
def test_arrays_and_settings_that_cannot_be_meant_are_one_sentence(subsets, labels, changes, error, says):
    with pytest.raises(error, match=says):
        cn.CurriculumBatches.of(subsets, labels, **changes)


def test_another_seed_gives_other_batches():
    assert any((made(seed=0)[n] != made(seed=1)[n]).any() for n in range(3))


def test_an_empty_later_subset_gives_its_places_away():
    ids = np.arange(60)
    batches = plan(RECIPES["model-d"], ids, np.where(ids < 40, 0, 2), 3, ids % 5, SETTINGS)
    assert batches.stages[-1].places == (12, 0, 4)
    assert batches.stages[1].places == (16, 0)
    assert len(batches[len(batches) - 1]) == 16


def test_a_share_of_the_highly_noisy_subset_takes_part_and_it_is_the_same_each_time():
    half = made(noisy_share=0.5).pools[-1].ids
    assert len(half) == 15
    np.testing.assert_array_equal(half, made(noisy_share=0.5).pools[-1].ids)
    assert len(made(noisy_share=0.0).pools[-1].ids) == 0


def test_restart_gives_each_stage_the_full_length():
    one, restart = made(), made(stage_schedule="restart")
    assert len(restart) == 3 * len(one)
    assert {stage.last - stage.first for stage in restart.stages} == {len(one)}


def test_wrong_numbers_of_shares_and_weights_are_refused():
    with pytest.raises(UsageError, match="--stage-shares has 2 values, but this training has 3 stages"):
        made(stage_shares=(1, 2))
    with pytest.raises(UsageError, match="--subset-weights has 1 values, but 3 subsets"):
        made(subset_weights=(1.0,))


@given(n_subsets=st.integers(2, 5), batch_size=st.integers(5, 64), epochs=st.integers(2, 9))
@settings(max_examples=30)
def test_any_number_of_subsets_gives_whole_batches(n_subsets, batch_size, epochs):
    batches = made(n=200, n_subsets=n_subsets, batch_size=batch_size, epochs=epochs)
    assert batches.stages[0].first == 0
    assert batches.stages[-1].last == len(batches) == -(-epochs * 200 // batch_size)
    for number in (0, len(batches) // 2, len(batches) - 1):
        assert len(batches[number]) == batch_size
        _, stage = batches.stage(number)
        assert len(stage.place_weights()) == len(stage.place_subsets()) == batch_size


def test_a_subset_without_any_image_still_has_its_stage():
    ids = np.arange(90)
    batches = plan(RECIPES["model-d"], ids, np.where(ids < 40, 0, 1), 3, ids % 5, SETTINGS)
    assert len(batches.stages) == 3
    assert batches.stages[-1].places == (8, 8, 0)


def test_an_empty_subset_may_be_balanced_by_the_root_of_its_categories_sizes():
    batches = made(balance="sqrt", noisy_share=0.0)
    assert batches.stages[-1].places == (8, 8, 0)
    assert {int(image) % 3 for image in batches[len(batches) - 1]} == {0, 1}


def test_categories_by_the_root_of_their_size():
    labels = np.repeat(np.arange(4), [1, 4, 100, 400])
    pool = Pool.balanced(np.arange(505), labels, by_root=True)
    drawn = np.concatenate([pool.draw(50, 0, step, key=0) for step in range(400)])
    counts = np.bincount(labels[drawn], minlength=4)
    assert chisquare(counts, len(drawn) * np.sqrt([1, 4, 100, 400]) / 33).pvalue > 1e-4
    within = np.bincount(drawn[labels[drawn] == 2] - 5, minlength=100)
    assert chisquare(within).pvalue > 1e-4


@pytest.mark.parametrize(("balance", "pools"), [("all", 3), ("sqrt", 3), ("clean", 1), ("none", 0)])
def test_balance_may_be_another_than_the_recipes(balance, pools):
    assert sum(pool.starts is not None for pool in made(balance=balance).pools) == pools


def test_stages_may_be_as_long_as_one_says():
    assert [(s.first, s.last) for s in made(stage_steps=(5, 1, 9)).stages] == [(0, 5), (5, 6), (6, 15)]
    with pytest.raises(UsageError, match="--stage-steps has 2 values, but this training has 3 stages"):
        made(stage_steps=(5, 1))
    with pytest.raises(UsageError, match="leave out --stage-shares"):
        made(stage_steps=(5, 1, 9), stage_shares=(1, 1, 1))
