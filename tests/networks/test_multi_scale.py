"""The first layer of several scales."""

import pytest
import timm
import torch
from torch import nn

from curriculumnet.errors import UsageError
from curriculumnet.networks import multi_scale
from curriculumnet.networks.create import create

NETWORKS = {
    "resnet18": (16, 32, 16),
    "inception_v2": (16, 32, 16),
    "densenet121": (16, 32, 16),
    "resnetv2_50": (16, 32, 16),
    "nf_resnet26": (16, 32, 16),
    "mobilenetv3_small_050": (4, 8, 4),
    "dpn68": (2, 6, 2),
    "test_efficientnet": (6, 12, 6),
    "tf_efficientnet_lite0": (8, 16, 8),
    "tf_efficientnetv2_s": (6, 12, 6),
}
"""Networks that begin with one convolution, and how its channels are shared."""


def _first_convolution(network: nn.Module) -> nn.Conv2d:
    return next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))


def _first_layer(network: nn.Module) -> multi_scale.MultiScale:
    (found,) = (layer for layer in network.modules() if isinstance(layer, multi_scale.MultiScale))
    return found


@pytest.mark.parametrize("model", NETWORKS)
def test_the_first_convolution_becomes_three(model: str) -> None:
    conv = _first_convolution(create(model, 3, image_size=64))
    network = create(model, 3, image_size=64, multi_scale=True)
    layer = _first_layer(network)
    assert [scale.kernel_size for scale in layer.scales] == [(5, 5), (7, 7), (9, 9)]
    assert tuple(scale.out_channels for scale in layer.scales) == NETWORKS[model]
    assert sum(NETWORKS[model]) == conv.out_channels
    for scale in layer.scales:
        assert type(scale) is type(conv)
        assert scale.stride == conv.stride
        assert scale.weight.shape == (scale.out_channels, 3, *scale.kernel_size)
    for size in (63, 64, 65, 96):
        x = torch.rand(2, 3, size, size)
        assert layer(x).shape == conv(x).shape
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 3)


def test_all_kernels_look_at_the_same_place() -> None:
    layer = multi_scale.MultiScale(nn.Conv2d(1, 4, 7, stride=2, padding=3, bias=False))
    x = torch.zeros(1, 1, 32, 32)
    x[0, 0, 16, 16] = 1
    with torch.no_grad():
        for scale in layer.scales:
            scale.weight.zero_()
            scale.weight[:, :, scale.kernel_size[0] // 2, scale.kernel_size[0] // 2] = 1
        seen = layer(x)
    assert seen.sum() == 4
    assert torch.equal(seen[0, :, 8, 8], torch.ones(4))


def test_a_convolution_without_padding_leaves_the_same_maps() -> None:
    conv = nn.Conv2d(3, 10, 5, stride=2, bias=True)
    layer = multi_scale.MultiScale(conv)
    for size in (30, 31, 32):
        assert layer(torch.rand(1, 3, size, size)).shape == conv(torch.rand(1, 3, size, size)).shape
    # Ten channels are no whole quarters: what is left over goes to the middle.
    assert [len(scale.weight) for scale in layer.scales] == [2, 6, 2]
    assert [len(scale.bias) for scale in layer.scales] == [2, 6, 2]


@pytest.mark.parametrize("model", ["resnet18", "inception_v2", "mobilenetv3_small_050"])
def test_it_goes_with_a_first_layer_for_small_pictures(model: str) -> None:
    small = create(model, 3, image_size=64, small_stem=True)
    both = create(model, 3, image_size=64, small_stem=True, multi_scale=True)
    x = torch.rand(2, 3, 64, 64)
    assert _first_layer(both)(x).shape == _first_convolution(small)(x).shape
    assert _first_layer(both)(x).shape[-1] == 32
    poolings = [sum(isinstance(each, nn.MaxPool2d) for each in network.modules()) for network in (small, both)]
    assert poolings[0] == poolings[1]
    assert both(x).shape == (2, 3)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("test_vit", "they begin by cutting the picture into patches"),
        ("convnext_atto", "they begin by cutting the picture into patches"),
        ("repvgg_a0", "several see the picture side by side"),
        ("resnet18d", "several follow one another"),
        ("test_resnet", "several follow one another"),
        ("inception_v3", "several follow one another"),
        ("inception_v4", "several follow one another"),
        ("inception_resnet_v2", "several follow one another"),
        ("vit_small_r26_s32_224", "theirs is of an unusual kind"),
        ("mixer_s32_224", "patches"),
    ],
)
def test_networks_that_begin_otherwise_refuse(model: str, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"--multi-scale could replace \(.*{reason}\): leave it out, or") as caught:
        create(model, 3, image_size=96, multi_scale=True)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_networks_without_convolutions_refuse() -> None:
    with pytest.raises(UsageError, match=r"Linear networks do not begin with one convolution.*\(they have none\)"):
        multi_scale.apply(nn.Linear(8, 8), 8)


def test_weights_trained_elsewhere_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"which --pretrained weights do not fit: leave one of them out") as caught:
        create("resnet18", 3, image_size=224, pretrained=True, multi_scale=True)
    assert caught.value.exit_code == 2


def test_the_same_generator_gives_the_same_weights() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        made.append(create("test_efficientnet", 3, image_size=32, multi_scale=True).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@pytest.mark.parametrize("small_stem", [False, True])
def test_timm_knows_it_by_name(small_stem: bool) -> None:
    ours = create("resnet18", 5, image_size=64, small_stem=small_stem, multi_scale=True).eval()
    theirs = timm.create_model(
        multi_scale.ENTRYPOINT,
        pretrained_cfg={},
        network="resnet18",
        image_size=64,
        small_stem=small_stem,
        num_classes=5,
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(theirs(x), ours(x))
