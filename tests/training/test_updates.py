"""One update of the weights: in parts, of mixed images, with a gradient of bounded length."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from curriculumnet.training.batches import CurriculumBatches
from curriculumnet.training.course import Course
from curriculumnet.training.loop import State
from curriculumnet.training.ranks import Ranks
from curriculumnet.training.records import Dynamics
from curriculumnet.training.updates import Manner, Updates


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3))


def state_of(net, rate=0.1):
    optimizer = torch.optim.SGD(net.parameters(), lr=rate)
    course = Course(CurriculumBatches.of([0], [0], recipe="model-a", epochs=1, batch_size=1))
    return State(net, None, optimizer, torch.amp.GradScaler("cpu", enabled=False), Dynamics.of(1), course)


def batch(n=12):
    rng = np.random.default_rng(1)
    inputs = torch.from_numpy(rng.normal(size=(n, 3, 2, 2)).astype(np.float32))
    weights = torch.tensor([1.0] * (n // 2) + [0.5] * (n - n // 2))
    return inputs, torch.from_numpy(rng.integers(0, 3, n)), weights


def updated(rate=0.1, step=0, steps=1, **manner):
    net = network()
    update = Updates(state_of(net), net, Manner(torch.float32, **manner), Ranks())
    inputs, targets, weights = batch()
    for number in range(steps):
        told = update(inputs, targets, weights, len(weights), step + number, rate)
    return net, told


def moved(one, other):
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum(float(((a - b).detach() ** 2).sum()) for a, b in pairs) ** 0.5


def test_an_update_is_the_weighted_gradient_times_the_rate():
    net, (losses, right) = updated(rate=0.25)
    by_hand = network()
    inputs, targets, weights = batch()
    logits = by_hand(inputs)
    each = cross_entropy(logits, targets, reduction="none")
    ((weights * each).sum() / 12).backward()
    for parameter, expected in zip(net.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected - 0.25 * expected.grad)
    torch.testing.assert_close(losses, each.detach())
    assert right.tolist() == (logits.argmax(1) == targets).tolist()


@pytest.mark.parametrize("parts", [2, 5, 12])
def test_a_batch_in_parts_is_the_batch(parts):
    whole, (losses, _) = updated(steps=3)
    in_parts, (in_parts_losses, _) = updated(steps=3, accumulate=parts)
    assert moved(whole, in_parts) < 1e-6
    torch.testing.assert_close(losses, in_parts_losses)


def test_a_longer_gradient_is_shortened_and_a_shorter_one_is_not():
    start, (free, _) = network(), updated(rate=1.0)
    assert moved(free, start) > 0.05
    assert moved(updated(rate=1.0, clip_norm=0.05)[0], start) == pytest.approx(0.05, rel=1e-4)
    assert moved(updated(rate=1.0, clip_norm=100.0)[0], free) == 0


def test_mixed_images_have_both_labels_each_with_the_weight_of_its_subset():
    net = network()
    before = copy.deepcopy(net)
    shown = []
    net.register_forward_pre_hook(lambda _, given: shown.append(given[0].detach().clone()))
    update = Updates(state_of(net, 1.0), net, Manner(torch.float32, mixup=0.8, seed=3), Ranks())
    inputs, targets, weights = batch()
    update(inputs, targets, weights, 12, 7, 1.0)
    share = float(np.random.default_rng((3, 1, 7)).beta(0.8, 0.8))
    partner = [
        next(
            j for j in range(12) if torch.allclose(shown[0][i], share * inputs[i] + (1 - share) * inputs[j], atol=1e-6)
        )
        for i in range(12)
    ]
    assert sorted(partner) == list(range(12))
    logits = before(shown[0])
    first = share * weights * cross_entropy(logits, targets, reduction="none")
    second = (1 - share) * weights[partner] * cross_entropy(logits, targets[partner], reduction="none")
    ((first + second).sum() / 12).backward()
    for parameter, expected in zip(net.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected - expected.grad)


def test_what_is_drawn_depends_on_the_seed_and_the_step_alone():
    class Dropping(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()
            self.seen = []

        def forward(self, inputs):
            dropped = torch.nn.functional.dropout(inputs, 0.5, self.training)
            self.seen.append(dropped.detach())
            return self.net(dropped)

    def drawn(seed, step):
        net = Dropping()
        torch.rand(step + 1)
        Updates(state_of(net), net, Manner(torch.float32, seed=seed), Ranks())(*batch(), 12, step, 0.1)
        return net.seen[0]

    assert torch.equal(drawn(0, 4), drawn(0, 4))
    assert not torch.equal(drawn(0, 4), drawn(0, 5))
    assert not torch.equal(drawn(0, 4), drawn(1, 4))
