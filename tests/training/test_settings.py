"""What settings are unless given; those that cannot be meant are refused in one sentence."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.errors import UsageError
from curriculumnet.training.settings import check_ranges, default_batch_size, default_rate

GOOD = {
    "epochs": 18.5,
    "batch_size": 1,
    "learning_rate": 1e-9,
    "image_size": 16,
    "seed": 0,
    "weight_decay": 0.0,
    "ema_decay": 0.0,
    "momentum": 0.99,
    "label_smoothing": 0.0,
    "warmup_share": 0.0,
    "noisy_share": 1.0,
    "crop_scale": (0.5, 0.5),
    "crop_ratio": (0.1, 7.0),
    "stage_shares": (1.0, 2.0, 3.0),
    "subset_weights": (1.0, 0.0, 0.0),
    "workers": 0,
}


def test_what_can_be_meant_passes():
    check_ranges(GOOD)
    check_ranges({})
    check_ranges(dict.fromkeys(GOOD))
    check_ranges({"stage_shares": [], "subset_weights": ()})


BOUNDED = {"epochs", "batch_size", "learning_rate", "seed", "ema_decay", "momentum", "label_smoothing"}
BOUNDED |= {"warmup_share", "noisy_share", "crop_scale"}
WRONG = [(name, wrong) for name in GOOD for wrong in (math.nan, -1)]
WRONG += [(name, math.inf) for name in GOOD if name not in ("image_size", "workers")]
WRONG += [(name, 10**30) for name in GOOD if name in BOUNDED]


@pytest.mark.parametrize(("name", "wrong"), WRONG)
def test_what_cannot_be_meant_is_refused_in_every_place(name, wrong):
    given = GOOD[name]
    places = range(len(given)) if isinstance(given, tuple) else [None]
    for place in places:
        value = wrong if place is None else tuple(wrong if i == place else v for i, v in enumerate(given))
        with pytest.raises(UsageError, match=f"^--{name.replace('_', '-')} is [^:]*: [^.]*") as raised:
            check_ranges({name: value})
        assert "\n" not in str(raised.value)


@given(st.integers(0, 10**8))
def test_a_batch_is_the_largest_that_leaves_an_epoch_its_steps(n_train):
    size = default_batch_size(n_train)
    assert size in (32, 64, 128, 256)
    assert size == 32 or n_train / size >= 50
    assert size == 256 or n_train / (2 * size) < 50


@given(st.sampled_from(["sgd", "adamw"]), st.booleans(), st.integers(1, 4096))
def test_a_rate_grows_with_the_batch(optimizer, pretrained, batch_size):
    rate, fourfold = (default_rate(optimizer, pretrained, size) for size in (batch_size, 4 * batch_size))
    assert fourfold / rate == pytest.approx(4 if optimizer == "sgd" and not pretrained else 2, rel=1e-3)
