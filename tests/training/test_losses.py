"""The loss whose gradient is the authors' sum over subsets."""

import torch
from torch.nn.functional import cross_entropy

from curriculumnet.training.losses import weighted_cross_entropy


def test_the_gradient_is_the_weighted_sum_over_subsets_divided_by_the_batch_size():
    torch.manual_seed(0)
    features, targets = torch.randn(8, 5), torch.randint(0, 3, (8,))
    matrix = torch.randn(5, 3, requires_grad=True)
    subsets, r = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]), (1.0, 0.5, 0.25)
    by_hand = torch.zeros_like(matrix)
    for subset, weight in enumerate(r):
        here = subsets == subset
        losses = cross_entropy(features[here] @ matrix, targets[here], reduction="sum")
        by_hand += weight * torch.autograd.grad(losses, matrix)[0]

    weights = torch.tensor(r)[subsets]
    loss, losses = weighted_cross_entropy(features @ matrix, targets, weights, divisor=8.0)
    torch.testing.assert_close(torch.autograd.grad(loss, matrix)[0], by_hand / 8)
    torch.testing.assert_close(losses, cross_entropy(features @ matrix, targets, reduction="none").detach())

    normed, _ = weighted_cross_entropy(features @ matrix, targets, weights, divisor=float(weights.sum()))
    torch.testing.assert_close(torch.autograd.grad(normed, matrix)[0], by_hand / weights.sum())
