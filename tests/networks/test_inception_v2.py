"""Inception v2: as it is described, and as timm's networks are used."""

import pytest
import timm
import torch
from torch import nn

from curriculumnet.errors import WeightsError
from curriculumnet.networks.create import (
    Preprocessing,
    classifiers,
    create,
    network_names,
    normalises_by_batches,
    preprocessing,
)

LAYERS = {
    "conv1": (64, 112),
    "pool1": (64, 56),
    "conv2_reduce": (64, 56),
    "conv2": (192, 56),
    "pool2": (192, 28),
    "block_3a": (256, 28),
    "block_3b": (320, 28),
    "block_3c": (576, 14),
    "block_4a": (576, 14),
    "block_4b": (576, 14),
    "block_4c": (608, 14),
    "block_4d": (608, 14),
    "block_4e": (1056, 7),
    "block_5a": (1024, 7),
    "block_5b": (1024, 7),
}
"""Channels and height of what each layer makes of a picture of 224 px."""

BRANCHES = {
    "block_3a": [(64,), (64, 64), (64, 96, 96), (32,)],
    "block_3b": [(64,), (64, 96), (64, 96, 96), (64,)],
    "block_3c": [(128, 160), (64, 96, 96), ()],
    "block_4a": [(224,), (64, 96), (96, 128, 128), (128,)],
    "block_4b": [(192,), (96, 128), (96, 128, 128), (128,)],
    "block_4c": [(160,), (128, 160), (128, 160, 160), (128,)],
    "block_4d": [(96,), (128, 192), (160, 192, 192), (128,)],
    "block_4e": [(128, 192), (192, 256, 256), ()],
    "block_5a": [(352,), (192, 320), (160, 224, 224), (128,)],
    "block_5b": [(352,), (192, 320), (192, 224, 224), (128,)],
}
"""Channels of the convolutions in each branch of a block."""


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return create("inception_v2", 1000, image_size=224).eval()


def test_every_layer_has_its_shape(network: nn.Module) -> None:
    x, found = torch.zeros(2, 3, 224, 224), {}
    with torch.no_grad():
        for name, layer in network.features.named_children():
            x = layer(x)
            assert x.shape[2] == x.shape[3]
            found[name] = tuple(x.shape[1:3])
    assert found == LAYERS
    assert network.num_features == 1024


def test_every_branch_has_its_convolutions(network: nn.Module) -> None:
    for name, branches in BRANCHES.items():
        found = [
            tuple(conv.out_channels for conv in branch.modules() if isinstance(conv, nn.Conv2d))
            for branch in network.features.get_submodule(name).branches
        ]
        assert found == branches, name
    convs = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert len(convs) == len(norms)
    assert not any(conv.bias is not None for conv in convs)


def test_its_size_is_that_of_the_authors(network: nn.Module) -> None:
    assert sum(weights.numel() for weights in network.parameters()) == 11_285_224
    counted = []

    def count(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        counted.append(output.numel() * layer.weight[0].numel())

    hooks = [
        layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    with torch.no_grad():
        network(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    assert sum(counted) == 2_032_600_064


def test_poolings_are_those_of_the_authors(network: nn.Module) -> None:
    poolings = [layer for layer in network.features.modules() if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d)]
    assert all(layer.ceil_mode for layer in poolings)
    averages = [layer for layer in poolings if isinstance(layer, nn.AvgPool2d)]
    assert len(averages) == 7
    # A corner has four of nine places inside of the picture.
    assert all(layer(torch.ones(1, 1, 4, 4))[0, 0, 0, 0] == pytest.approx(4 / 9) for layer in averages)
    halving = network.features.block_3c.branches[-1]
    for size in (2, 3, 14, 19, 28, 37):
        x = torch.rand(1, 2, size, size)
        expected = nn.functional.max_pool2d(x, 3, 2, padding=size % 2, ceil_mode=True)
        assert torch.equal(halving(x), expected)
        assert halving(x).shape[-1] == (size + 1) // 2


@pytest.mark.parametrize("size", [32, 64, 75, 96, 97, 139, 299])
def test_it_takes_pictures_of_any_size(size: int) -> None:
    made = create("inception_v2", 5, image_size=size)
    made(torch.rand(2, 3, size, size)).sum().backward()
    assert all(weights.grad is not None and weights.grad.isfinite().all() for weights in made.parameters())


def test_it_is_found_by_its_name() -> None:
    assert "inception_v2" in network_names()
    assert normalises_by_batches("inception_v2")
    assert preprocessing("inception_v2", None, pretrained=False) == Preprocessing(224)
    with pytest.raises(WeightsError, match="Nobody has published weights of inception_v2"):
        create("inception_v2", 3, image_size=224, pretrained=True)


def test_it_is_used_as_timms_networks_are(network: nn.Module) -> None:
    assert network.get_classifier() is network.fc
    assert classifiers(network) == [network.fc]
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        assert torch.equal(network.fc(features), network(x))
    made = timm.create_model("inception_v2", num_classes=0, in_chans=1, global_pool="catavgmax").eval()
    assert made(x[:, :1]).shape == (1, 2048)
    made.reset_classifier(7, "avg")
    assert made(x[:, :1]).shape == (1, 7)
    assert timm.create_model("inception_v2", num_classes=3, global_pool="max")(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_dropout_is_the_authors_unless_given(network: nn.Module) -> None:
    assert network.head_drop.p == 0.2
    assert timm.create_model("inception_v2", drop_rate=0.4).head_drop.p == 0.4


def test_its_maps_are_found_by_timm() -> None:
    maps = timm.create_model("inception_v2", features_only=True).eval()
    found = [tuple(each.shape[1:3]) for each in maps(torch.zeros(1, 3, 224, 224))]
    assert found == [(64, 112), (192, 56), (320, 28), (608, 14), (1024, 7)]
    assert maps.feature_info.channels() == [channels for channels, _ in found]
    assert maps.feature_info.reduction() == [224 // height for _, height in found]


@pytest.mark.parametrize("multi_scale", [False, True])
def test_it_can_be_exported(multi_scale: bool) -> None:
    made = create("inception_v2", 5, image_size=64, multi_scale=multi_scale).eval()
    x = torch.rand(1, 3, 64, 64)
    exported = torch.export.export(made, (x,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(x), made(x))
