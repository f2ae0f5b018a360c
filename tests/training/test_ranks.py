"""A training in several processes: who has what of a batch, and that together they do what one does."""

import os
import shlex
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

import curriculumnet as cn
from curriculumnet.errors import MachineError, UsageError
from curriculumnet.images.loader import even_batches, load
from curriculumnet.images.views import TrainingView
from curriculumnet.training.ranks import Ranks
from curriculumnet.work import tables

PROGRAM = [sys.executable, "-m", "curriculumnet"]
# Normalised by layers: batch norms see only a process's share of a batch.
ALIKE = shlex.split("--model test_vit --image-size 32 --batch-size 16 --workers 0 --device cpu --precision float32")


def weights(work, run):
    from safetensors.torch import load_file

    return load_file(work / "runs" / run / "model" / "model.safetensors")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_of_a_batch_are_the_batch(count):
    batch = np.random.default_rng(0).permutation(23)
    shares = [Ranks(rank, count).share(batch) for rank in range(count)]
    assert np.sort(np.concatenate(shares)).tolist() == list(range(23))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


class Noise:
    """Pictures that are what their seed makes of them."""

    def view(self, image_id, view, seed):
        return np.random.default_rng((image_id, seed)).integers(0, 255, (1, 3, 4, 4)).astype(np.uint8)


@pytest.mark.parametrize("workers", [0, 1])
def test_views_of_all_shares_are_the_views_of_the_batch(workers):
    batches = even_batches(np.arange(22), 8)
    view = TrainingView(4, "bilinear", (0.5, 1.0), (0.75, 1.33), True)
    whole = list(load(Noise(), batches, view, workers=workers, seed=3))
    for rank in range(3):
        shared = list(load(Noise(), batches, view, workers=workers, seed=3, share=(rank, 3)))
        for (ids, views), (all_ids, all_views) in zip(shared, whole, strict=True):
            assert ids.tolist() == all_ids[rank::3].tolist()
            assert torch.equal(views, all_views[rank::3])


@pytest.mark.parametrize(
    ("told", "says"),
    [({"RANK": "x"}, "RANK is 'x'"), ({"RANK": "2", "WORLD_SIZE": "2"}, "must be below its WORLD_SIZE")],
)
def test_an_impossible_environment_is_one_sentence(told, says, monkeypatch):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=says):
        Ranks.here()


def test_a_batch_that_processes_cannot_share_is_refused(work, monkeypatch):
    with pytest.raises(UsageError, match=r"--batch-size is 4, which 1 processes with --accumulate 5 cannot share"):
        cn.train(work, recipe="model-a", model="test_resnet", batch_size=4, accumulate=5, workers=0, device="cpu")
    with pytest.raises(UsageError, match=r"--device is cuda:1, one GPU, but --devices is 2"):
        cn.train(work, recipe="model-a", model="test_resnet", devices=2, device="cuda:1")
    with pytest.raises(MachineError, match=r"--devices is 255, but this machine has \d+ cores"):
        cn.train(work, recipe="model-a", model="test_resnet", devices=255, batch_size=255, device="cpu")


@pytest.mark.slow
@pytest.mark.short
def test_two_processes_train_the_network_that_one_does(work):
    one = [*PROGRAM, "train", str(work), "--recipe", "model-d", "--epochs", "2", *ALIKE]
    subprocess.run([*one, "--name", "one"], check=True)
    subprocess.run([*one, "--name", "two", "--devices", "2"], check=True)
    alone, together = weights(work, "one"), weights(work, "two")
    for name, values in alone.items():
        torch.testing.assert_close(together[name], values, rtol=1e-3, atol=1e-4)
    rows = [tables.read(work / f"runs/{name}/dynamics.parquet") for name in ("one", "two")]
    assert rows[0]["seen"].to_pylist() == rows[1]["seen"].to_pylist()
    np.testing.assert_allclose(rows[0]["loss"].to_numpy(), rows[1]["loss"].to_numpy(), rtol=1e-2, equal_nan=True)


@pytest.mark.slow
def test_two_processes_may_have_a_batch_in_parts(work):
    words = [*PROGRAM, "train", str(work), "--recipe", "model-d", "--epochs", "1", *ALIKE]
    subprocess.run([*words, "--name", "one"], check=True)
    subprocess.run([*words, "--name", "two", "--devices", "2", "--accumulate", "3", "--mixup", "0"], check=True)
    alone, together = weights(work, "one"), weights(work, "two")
    for name, values in alone.items():
        torch.testing.assert_close(together[name], values, rtol=1e-3, atol=1e-4)


def children(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in found.stdout.split()]


@pytest.mark.slow
def test_one_process_that_is_stopped_stops_all_and_nothing_counts_as_finished(work):
    words = [*PROGRAM, "train", str(work), "--recipe", "model-a", "--epochs", "2000", "--devices", "2", *ALIKE]
    started = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not list(work.glob("runs/model-a/tensorboard/*")):
        time.sleep(0.2)
    time.sleep(2)
    os.kill(children(started)[1], signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 143
    assert "bug" not in said
    assert cn.status(work).next.startswith(f"curriculumnet train {work} --recipe model-a")
    assert list(work.glob("runs/model-a/checkpoints/*.pt"))
    assert not (work / "runs/model-a/model").exists()


@pytest.mark.slow
def test_what_is_wrong_in_all_processes_is_said_once(work):
    done = subprocess.run(
        [*PROGRAM, "train", str(work), "--recipe", "model-d", "--learning-rate", "1e6", "--devices", "2", *ALIKE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("The loss is no longer finite at step") == 1
    assert done.stderr.endswith("ended with exit code 2; it says above why.\n")


@pytest.mark.slow
def test_processes_that_are_stopped_or_killed_end_as_one_that_was_not(work):
    words = [*PROGRAM, "train", str(work), "--recipe", "model-d", "--epochs", "6", "--devices", "2", *ALIKE]
    subprocess.run([*words, "--name", "whole"], check=True)
    rng = np.random.default_rng(int.from_bytes(os.urandom(4)))
    ends = []
    for number in range(40):
        started = subprocess.Popen(
            [*words, "--name", "stopped", "--checkpoint-minutes", "0"], start_new_session=True, stderr=subprocess.PIPE
        )
        end = signal.SIGKILL if number % 2 else signal.SIGTERM
        try:
            started.communicate(timeout=5 + 6 * rng.random() + number)
        except subprocess.TimeoutExpired:
            (os.killpg if end == signal.SIGKILL else os.kill)(started.pid, end)
            started.communicate()
        ends.append(started.returncode)
        if started.returncode == 0:
            break
    assert set(ends) <= {0, 143, -signal.SIGKILL}
    assert len(ends) > 1
    whole, stopped = weights(work, "whole"), weights(work, "stopped")
    assert all(torch.equal(whole[name], stopped[name]) for name in whole)


@pytest.mark.slow
def test_processes_do_not_outlive_the_one_that_started_them(work):
    words = [*PROGRAM, "train", str(work), "--recipe", "model-a", "--epochs", "2000", "--devices", "2", *ALIKE]
    started = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    time.sleep(8)
    theirs = children(started)
    started.kill()
    started.wait()
    for _ in range(150):
        left = [pid for pid in theirs if os.path.exists(f"/proc/{pid}")]  # noqa: PTH110
        if not left:
            break
        time.sleep(0.2)
    assert theirs
    assert left == []
    assert not (work / "runs/model-a/model").exists()


def test_a_gpu_that_is_not_there_is_said_before_anything_is_done(work):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    with pytest.raises(MachineError, match="no GPU can be used on this machine"):
        cn.train(work, recipe="model-a", model="test_resnet", device="cuda", workers=0)
