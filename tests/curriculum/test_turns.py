"""Categories are ordered each once, the largest first, several at once where that pays."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curriculumnet.curriculum import threads as threads_module
from curriculumnet.curriculum import turns
from curriculumnet.curriculum.threads import thread_count
from curriculumnet.curriculum.turns import in_turn


@given(st.lists(st.sampled_from([0, 1, 299, 300, 301, 5_999, 6_000, 40_000]), max_size=40), st.integers(1, 5))
def test_each_is_ordered_once_and_given_with_its_result(sizes, threads):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turns, "thread_count", lambda: threads)
        given = list(in_turn(lambda category: -category, [10 * place for place in range(len(sizes))], sizes))
    assert sorted(given) == [(10 * place, -10 * place) for place in range(len(sizes))]
    of_size = [sizes[category // 10] for category, _ in given]
    assert of_size == sorted(sizes, reverse=True)


def test_only_those_of_middle_size_are_ordered_at_once_with_a_core_each(monkeypatch):
    def where(category):
        return threading.get_ident(), thread_count()

    monkeypatch.setattr(threads_module, "_cores", lambda: 3)
    found = dict(in_turn(where, range(6), [50_000, 9_000, 1_000, 900, 100, 3]))
    here = threading.get_ident()
    assert {found[category] for category in (0, 1, 4, 5)} == {(here, 3)}
    assert all(found[category][0] != here and found[category][1] == 1 for category in (2, 3))


@pytest.mark.parametrize("size", [100, 1_000, 10_000])
def test_what_goes_wrong_is_raised(size):
    def order(category):
        if category == 3:
            raise MemoryError("too large")
        return category

    with pytest.raises(MemoryError, match="too large"):
        list(in_turn(order, range(30), [size] * 30))


@pytest.mark.parametrize(("said", "count"), [("1", 1), ("2,4", 2), ("", 8), ("many", 8), ("0", 8), ("64", 8)])
def test_as_many_threads_as_cores_or_as_was_said(monkeypatch, said, count):
    monkeypatch.setattr(threads_module.os, "sched_getaffinity", lambda _: range(8), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert thread_count() == count
