"""The loss of a batch whose places have weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def weighted_cross_entropy(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    divisor: float,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of a batch and each image's own.

    The gradient is the sum over subsets t of r_t times the gradients of its images, divided by the batch size
    (Guo et al. 2018, section 3.3): L = Σ_i r_i ℓ_i / B, or divided by Σ r.

    Parameters
    ----------
    logits : Tensor, shape (B, C)
    targets : Tensor of int64, shape (B,)
    weights : Tensor, shape (B,)
        r of the subset to which each place belongs.
    divisor : float
        What to divide by: `batches.Stage.divisor` of the whole batch, of which this may be a part.
    label_smoothing : float
        Share of each target spread evenly over the categories (Szegedy et al. 2016).

    Returns
    -------
    loss : Tensor, scalar
    losses : Tensor, shape (B,), without weights and detached
    """
    from torch.nn.functional import cross_entropy

    losses = cross_entropy(logits.float(), targets, reduction="none", label_smoothing=label_smoothing)
    return (weights * losses).sum() / divisor, losses.detach()
