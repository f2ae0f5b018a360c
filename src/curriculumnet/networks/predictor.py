"""Ask a network: probabilities and features of pictures."""

from __future__ import annotations

from typing import Any

import torch

from curriculumnet.images.views import CentreView, TenViews
from curriculumnet.networks.create import normalise
from curriculumnet.networks.folder import Model, placed

LAYER = "forward_head(forward_features(x), pre_logits=True)"
"""Where features are taken, in timm's words: behind the last pooling, before the classifier."""


class Predictor:
    """A network that answers.

    Parameters
    ----------
    model : Model
        What was loaded.
    device : torch.device
        Where it computes, in float32.
    """

    def __init__(self, model: Model, device: torch.device) -> None:
        self.model = model
        self._network = placed(model.network, device)
        self._device = device

    def view(self, crops: int = 1) -> CentreView | TenViews:
        """Return what the network must be shown of a picture: 1 centre crop, or 10 crops."""
        expected = self.model.preprocessing
        kinds: dict[int, type[CentreView] | type[TenViews]] = {1: CentreView, 10: TenViews}
        return kinds[crops](expected.image_size, expected.interpolation, expected.crop_pct)

    def probabilities(self, batch: torch.Tensor) -> torch.Tensor:
        """Return the probability of each category.

        Parameters
        ----------
        batch : torch.Tensor of uint8, shape (B, 3, S, S)

        Returns
        -------
        torch.Tensor of float32, shape (B, C), on the CPU
            In the order of the model's categories; each row sums to 1.
        """
        with torch.inference_mode():
            return self._network(self._input(batch)).float().softmax(dim=1).cpu()

    def features(self, batch: torch.Tensor) -> torch.Tensor:
        """Return a vector per picture, from behind the network's last pooling.

        Parameters
        ----------
        batch : torch.Tensor of uint8, shape (B, 3, S, S)

        Returns
        -------
        torch.Tensor of float32, shape (B, d), on the CPU
        """
        network: Any = self._network
        with torch.inference_mode():
            found = network.forward_head(network.forward_features(self._input(batch)), pre_logits=True)
            return found.flatten(1).float().cpu()

    def _input(self, batch: torch.Tensor) -> torch.Tensor:
        return normalise(batch, self.model.preprocessing, self._device)
