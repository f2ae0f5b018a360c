"""Loading: order, workers, resuming in the middle, and files that changed."""

import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curriculumnet.errors import SourceError
from curriculumnet.images.loader import Pictures, even_batches, load, worker_count
from curriculumnet.images.views import CentreView, TrainingView


@pytest.fixture
def pictures(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in range(10)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(tmp_path / name)
    return Pictures(pa.table({"source": ["crawl"] * 10, "file_name": names}), {"crawl": str(tmp_path)})


def shown(pictures, **options):
    batches = even_batches(np.arange(10), 4)
    return list(load(pictures, batches, options.pop("view", CentreView(32)), **options))


def test_batches_come_in_their_order_and_the_last_may_be_smaller(pictures):
    found = shown(pictures, workers=0)
    assert [ids.tolist() for ids, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [tuple(views.shape) for _, views in found] == [(4, 3, 32, 32)] * 2 + [(2, 3, 32, 32)]


def test_worker_processes_change_nothing(pictures):
    alone = shown(pictures, workers=0, view=TrainingView(32), seed=3)
    helped = shown(pictures, workers=2, view=TrainingView(32), seed=3)
    for (ids, views), (other_ids, other_views) in zip(alone, helped, strict=True):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_array_equal(views.numpy(), other_views.numpy())


@pytest.fixture
def full():
    """A machine whose shared memory is full, as far as the files of it go: no file can grow over 100 kB."""
    if sys.platform != "linux":
        pytest.skip("elsewhere shared memory is no file that this limit holds for")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full")
def test_where_shared_memory_is_full_batches_come_all_the_same(pictures):
    large = CentreView(224)
    with pytest.raises(RuntimeError):
        torch.zeros(4, 3, 224, 224, dtype=torch.uint8).share_memory_()
    alone = shown(pictures, workers=0, view=large)
    helped = shown(pictures, workers=2, view=large)
    for (ids, views), (other_ids, other_views) in zip(alone, helped, strict=True):
        np.testing.assert_array_equal(ids, other_ids)
        np.testing.assert_array_equal(views.numpy(), other_views.numpy())


def test_loading_from_the_middle_gives_the_same_batches(pictures):
    whole = shown(pictures, workers=0, view=TrainingView(32), seed=3)
    rest = shown(pictures, workers=0, view=TrainingView(32), seed=3, first=1)
    assert len(rest) == 2
    for (_, views), (_, other) in zip(whole[1:], rest, strict=True):
        np.testing.assert_array_equal(views.numpy(), other.numpy())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_gone_is_named(pictures, tmp_path, workers):
    (tmp_path / "5.png").unlink()
    with pytest.raises(SourceError, match=r"5\.png in .* can no longer be read"):
        shown(pictures, workers=workers)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_changed_is_named(pictures, tmp_path, workers):
    (tmp_path / "5.png").write_bytes(b"<html>")
    with pytest.raises(SourceError, match=r"5\.png in .* has changed since it was ingested"):
        shown(pictures, workers=workers)


def test_the_number_of_workers_is_as_asked():
    assert worker_count(3) == 3
    assert 1 <= worker_count(None) <= 8
