"""Inception v2, the network of the authors' experiments, which timm does not have.

It is Inception with batch norm (S. Ioffe, C. Szegedy, ICML 2015) with the channels of the network file that the authors
of CurriculumNet released. Importing this module registers it with timm, so that ``timm.create_model("inception_v2")``
makes it. Nobody has published weights under this name.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import ConvNormAct, create_classifier
from timm.models import build_model_with_cfg, generate_default_cfgs, is_model, register_model
from torch import nn
from torch.nn import functional

NAME = "inception_v2"

_BLOCKS: dict[str, tuple[int, int, int, int, int, str, int]] = {
    # 1×1 | 3×3: reduced to, made of it | two 3×3: reduced to, made of it | pooling, 1×1 behind it
    "3a": (64, 64, 64, 64, 96, "avg", 32),
    "3b": (64, 64, 96, 64, 96, "avg", 64),
    "3c": (0, 128, 160, 64, 96, "shrink", 0),
    "4a": (224, 64, 96, 96, 128, "avg", 128),
    "4b": (192, 96, 128, 96, 128, "avg", 128),
    "4c": (160, 128, 160, 128, 160, "avg", 128),
    "4d": (96, 128, 192, 160, 192, "avg", 128),
    "4e": (0, 128, 192, 192, 256, "shrink", 0),
    "5a": (352, 192, 320, 160, 224, "avg", 128),
    "5b": (352, 192, 320, 192, 224, "max", 128),
}
"""The blocks by name, in channels; a block that shrinks halves the picture and hands its input on beside, pooled."""


class InceptionV2(nn.Module):
    """Inception v2: 11,285,224 parameters and 2.03 billion multiplications of 224 px with 1,000 categories.

    Convolutions have no bias, each is followed by a batch norm and ReLU. Poolings look at what is left at the border as
    well (ceil mode), and average poolings count their padding.

    Parameters
    ----------
    num_classes : int
        Outputs of the classifier; 0 for none.
    in_chans : int
        Channels of the input.
    drop_rate : float
        Dropout before the classifier; the authors' 0.2 unless given, where timm's networks have none.
    global_pool : str
        The last pooling, as timm calls it; empty for none.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.2, global_pool: str = "avg"
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=_conv(in_chans, 64, 7, stride=2),
            pool1=nn.MaxPool2d(3, stride=2, ceil_mode=True),
            conv2_reduce=_conv(64, 64),
            conv2=_conv(64, 192, 3),
            pool2=nn.MaxPool2d(3, stride=2, ceil_mode=True),
        )
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "features.conv1"},
            {"num_chs": 192, "reduction": 4, "module": "features.conv2"},
        ]
        channels, reduction = 192, 8
        for name, plan in _BLOCKS.items():
            if plan[-2] == "shrink":
                # What the block before has made is the last of its size.
                last = {"num_chs": channels, "reduction": reduction, "module": f"features.{next(reversed(layers))}"}
                self.feature_info.append(last)
                reduction *= 2
            block = _Block(channels, *plan)
            layers[f"block_{name}"] = block
            channels = block.out_channels
        self.feature_info.append({"num_chs": channels, "reduction": reduction, "module": "features.block_5b"})
        self.features = nn.Sequential(layers)
        self.num_features = channels
        self.global_pool, self.head_drop, self.fc = create_classifier(
            channels, num_classes, pool_type=global_pool, drop_rate=drop_rate
        )
        self.head_hidden_size = channels * self.global_pool.feat_mult()
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def get_classifier(self) -> nn.Module:
        """Return the layer that gives a number per category."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the network a new classifier, and perhaps another last pooling."""
        self.num_classes = num_classes
        pooling = self.global_pool.pool_type if global_pool is None else global_pool
        self.global_pool, self.fc = create_classifier(self.num_features, num_classes, pool_type=pooling)
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the last block makes of pictures, (B, 3, S, S) to (B, 1024, S/32, S/32)."""
        return self.features(x)

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return the numbers per category, or what goes into the classifier."""
        x = self.head_drop(self.global_pool(x))
        return x if pre_logits else self.fc(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a number per category for each picture, (B, 3, S, S) to (B, C)."""
        return self.forward_head(self.forward_features(x))


class _Block(nn.Module):
    """Convolutions of several sizes and a pooling side by side, their channels one after another."""

    def __init__(
        self,
        channels: int,
        one: int,
        reduced: int,
        three: int,
        twice_reduced: int,
        twice: int,
        pooling: str,
        pooled: int,
    ) -> None:
        super().__init__()
        shrinks = pooling == "shrink"
        stride = 2 if shrinks else 1
        branches: list[nn.Module] = [] if shrinks else [_conv(channels, one)]
        branches += [
            nn.Sequential(_conv(channels, reduced), _conv(reduced, three, 3, stride)),
            nn.Sequential(
                _conv(channels, twice_reduced), _conv(twice_reduced, twice, 3), _conv(twice, twice, 3, stride)
            ),
            _HalvingPool() if shrinks else nn.Sequential(_pool(pooling), _conv(channels, pooled)),
        ]
        self.branches = nn.ModuleList(branches)
        self.out_channels = one + three + twice + (channels if shrinks else pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


class _HalvingPool(nn.Module):
    """The largest of 3×3 with stride 2, over as many places as a padded convolution of that stride has.

    The authors' network pads none, which fits at 224 px, where all sizes are even. Of an odd size it would leave one
    place less than the convolutions beside it, so there the pooling is padded as they are.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.max_pool2d(x, 3, stride=2, padding=[x.shape[-2] % 2, x.shape[-1] % 2], ceil_mode=True)


def _pool(kind: str) -> nn.Module:
    if kind == "max":
        return nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True)
    return nn.AvgPool2d(3, stride=1, padding=1, ceil_mode=True, count_include_pad=True)


def _conv(channels: int, out: int, kernel: int = 1, stride: int = 1) -> ConvNormAct:
    return ConvNormAct(channels, out, kernel, stride=stride, padding=kernel // 2)


def inception_v2(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Make Inception v2: timm's entry point.

    Parameters
    ----------
    pretrained : bool
        Load the weights that the configuration names, as of a model folder.
    **kwargs
        What timm hands to every entry point, and the arguments of `InceptionV2`.
    """
    return build_model_with_cfg(InceptionV2, NAME, pretrained, feature_cfg={"flatten_sequential": True}, **kwargs)


default_cfgs = generate_default_cfgs(
    {
        NAME: {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "features.conv1.conv",
            "classifier": "fc",
        }
    }
)
"""timm looks here for what the network expects of its input."""

# A module that is loaded anew must not register a second time: timm would warn.
if not is_model(NAME):
    register_model(inception_v2)
