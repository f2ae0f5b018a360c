"""What is computed on a GPU equals what the processor computes; where there is none, torch has the latter too."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

import curriculumnet as cn
from curriculumnet.curriculum import cuda
from curriculumnet.curriculum import rows as rows_module
from curriculumnet.curriculum.density import density_peaks
from curriculumnet.curriculum.landmarks import landmark_peaks

REAL = torch.cuda.is_available()


@pytest.fixture
def gpu(monkeypatch):
    if not REAL:
        monkeypatch.setattr(cuda, "_gpu", lambda device: torch.device("cpu"))
        monkeypatch.setattr(cuda, "_SAMPLE", 2**12)


def gathered(n=700, d=48, seed=7):
    """Features as of a category: right images around a few places, wrong ones anywhere."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(4, d))[rng.integers(0, 4, n)] * (rng.random(n) < 0.7)[:, None]
    return np.maximum(places + rng.normal(0.2, 0.7, (n, d)), 0).astype(np.float32)


WAYS = {"kept": {}, "kept, in strips": {"_ELEMENTS": 900}, "computed anew": {"_ELEMENTS": 900, "_KEPT_SHARE": 0.0}}


def go(way, monkeypatch):
    for name, value in WAYS[way].items():
        monkeypatch.setattr(cuda, name, value)


SETTINGS = {
    "as they are": {},
    "seen from a mean": {"mean": np.ones(4)},
    "cosine": {"metric": "cosine"},
    "gaussian": {"kernel": "gaussian"},
    "least cut-off": {"cutoff_percent": 0},
    "greatest cut-off": {"cutoff_percent": 100},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("repeated", [False, True])
def test_small_whole_numbers_are_equal(gpu, way, setting, repeated, monkeypatch):
    go(way, monkeypatch)
    rng = np.random.default_rng(2)
    # Rows that are all different are counted in another way than those that are repeated.
    features = np.unique(rng.integers(0, 6, (90, 4)), axis=0).astype(np.float32)
    if repeated:
        features = features[rng.integers(0, len(features), 120)]
        features[5:9] = 0
    here, there = (density_peaks(features, device=device, **SETTINGS[setting]) for device in ("cpu", "cuda"))
    assert there.cutoff == pytest.approx(here.cutoff, rel=1e-6)
    assert there.density == pytest.approx(here.density, rel=1e-6)
    assert there.delta == pytest.approx(here.delta, rel=1e-6)
    assert there.centre == here.centre


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("setting", ["as they are", "cosine", "gaussian"])
def test_float32_keeps_the_precision_that_is_promised(gpu, way, setting, monkeypatch):
    monkeypatch.setattr(rows_module, "_EXACT", 0)
    go(way, monkeypatch)
    features = gathered()
    here, there = (density_peaks(features, device=device, **SETTINGS[setting]) for device in ("cpu", "cuda"))
    assert there.cutoff == pytest.approx(here.cutoff, rel=1e-5)
    off = np.abs(there.density - here.density)
    assert off.max() <= 2
    assert (off > 0.01).mean() <= 0.01
    assert there.centre == here.centre
    assert there.distance_to_centre.tolist() == here.distance_to_centre.tolist()
    assert (np.abs(there.delta - here.delta) > 1e-5 * here.cutoff).mean() <= 0.01


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("percent", [0.5, 60, 99.99, 100])
@pytest.mark.parametrize("sample", [2, 40, 2**13])
def test_the_cutoff_is_found_from_any_sample(gpu, sample, percent, repeated, monkeypatch):
    monkeypatch.setattr(cuda, "_SAMPLE", sample)
    features = gathered(300, 8)
    if repeated:
        features = features[np.random.default_rng(0).integers(0, 150, 300)]
    here, there = (density_peaks(features, device=device, cutoff_percent=percent).cutoff for device in ("cpu", "cuda"))
    assert there == pytest.approx(here, rel=1e-6)


@pytest.mark.parametrize("setting", ["as they are", "cosine", "gaussian", "least cut-off"])
@pytest.mark.parametrize("zeros", [0, 300])
def test_landmarks_are_the_same(gpu, setting, zeros, monkeypatch):
    monkeypatch.setattr(cuda, "_ELEMENTS", 256 * 50)
    features = gathered(1000)
    features[:zeros] = 0
    here, there = (
        landmark_peaks(features, landmarks=400, device=device, **SETTINGS[setting]) for device in ("cpu", "cuda")
    )
    assert there.cutoff == pytest.approx(here.cutoff, rel=1e-5)
    assert np.abs(there.density - here.density).max() <= 4
    assert there.centre == here.centre
    assert (np.abs(there.delta - here.delta) > 1e-5 * here.cutoff).mean() <= 0.01
    assert there.density_error == pytest.approx(here.density_error, rel=1e-3)


@pytest.mark.parametrize("n", [1, 2, 40])
def test_equal_images_are_equal(gpu, n):
    features = np.full((n, 5), 0.1, np.float32)
    here, there = (density_peaks(features, device=device) for device in ("cpu", "cuda"))
    assert there.cutoff == here.cutoff == 0
    assert there.density.tolist() == here.density.tolist()
    assert there.delta.tolist() == here.delta.tolist()


def test_two_categories_at_once_are_the_same_as_one_after_the_other(gpu):
    features = [gathered(seed=seed) for seed in range(4)]
    expected = [density_peaks(each, device="cuda").density.tolist() for each in features]
    found = {}

    def order(place):
        found[place] = density_peaks(features[place], device="cuda").density.tolist()

    threads = [threading.Thread(target=order, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[place] for place in range(4)] == expected


@pytest.mark.parametrize("by_user", ["ieee", "tf32"])
def test_products_are_float32_in_full_and_a_users_setting_comes_back(gpu, by_user):
    products = torch.backends.cuda.matmul
    if not hasattr(products, "fp32_precision"):
        pytest.skip("this torch has no such setting")
    before = products.fp32_precision
    try:
        products.fp32_precision = by_user
        with cuda.on_gpu("cuda"):
            assert products.fp32_precision == "ieee"
        assert products.fp32_precision == by_user
    finally:
        products.fp32_precision = before


def test_a_full_memory_is_a_memory_error(gpu):
    with pytest.raises(MemoryError, match="the memory of cuda is full"), cuda.on_gpu("cuda"):
        raise torch.cuda.OutOfMemoryError("tried to allocate")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "mps", "cuda:99"])
def test_another_device_is_refused(device):
    with pytest.raises(ValueError, match="device must be cpu"):
        cn.CurriculumClustering(device=device).fit(gathered(30))


@pytest.mark.skipif(REAL, reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ValueError, match="device must be cpu, since cuda cannot be used"):
        density_peaks(gathered(30), device="cuda")


def test_without_a_gpu_torch_is_not_loaded():
    program = (
        "import sys, numpy as np\nfrom curriculumnet.curriculum.density import density_peaks\n"
        "density_peaks(np.eye(5, dtype=np.float32))\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
