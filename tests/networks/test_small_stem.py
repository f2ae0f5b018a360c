"""The first layer for small pictures."""

import pytest
import timm
import torch
from torch import nn

from curriculumnet.errors import UsageError
from curriculumnet.networks import small_stem
from curriculumnet.networks.create import create

NETWORKS = (
    "test_resnet",
    "resnet18",
    "resnet10t",
    "mobilenetv3_small_050",
    "tf_efficientnet_lite0",
    "test_efficientnet",
)


def _first_convolution(network: nn.Module) -> nn.Conv2d:
    return next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))


def _largest_maps(network: nn.Module, size: int) -> list[int]:
    """Return the width behind the first convolution and behind each place where it could be pooled, by a forward."""
    widths = []
    hook = _first_convolution(network).register_forward_hook(lambda layer, given, found: widths.append(found.shape[-1]))
    network.eval()(torch.zeros(1, 3, size, size))
    hook.remove()
    return widths


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize(("size", "stride"), [(28, 1), (32, 1), (48, 2), (64, 2), (96, 3)])
def test_the_first_convolution_leaves_at_most_32(model: str, size: int, stride: int) -> None:
    network = create(model, 3, image_size=size, small_stem=True)
    first = _first_convolution(network)
    assert (first.kernel_size, first.stride) == ((3, 3), (stride, stride))
    assert first.weight.shape[-2:] == (3, 3)
    width = _largest_maps(network, size)[0]
    assert width == -(-size // stride) <= 32
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 3)


@pytest.mark.parametrize("model", ["test_resnet", "resnet18", "resnet10t", "densenet121", "resnetv2_50"])
def test_there_is_no_first_pooling(model: str) -> None:
    plain, small = (create(model, 3, image_size=64, small_stem=stem) for stem in (False, True))
    poolings = [sum(isinstance(layer, nn.MaxPool2d) for layer in network.modules()) for network in (plain, small)]
    assert poolings == [1, 0]


def test_a_first_pooling_of_another_kind_is_left_out_too() -> None:
    plain, small = (create("resnetaa50", 3, image_size=64, small_stem=stem) for stem in (False, True))
    assert isinstance(plain.maxpool, nn.AvgPool2d)
    assert isinstance(small.maxpool, nn.Identity)


def test_a_pooling_further_in_stays() -> None:
    plain, small = (create("resnet18d", 3, image_size=64, small_stem=stem) for stem in (False, True))
    inner = [sum(isinstance(layer, nn.AvgPool2d) for layer in network.modules()) for network in (plain, small)]
    assert inner[0] == inner[1] > 0


def test_a_convolution_that_was_3x3_keeps_its_weights() -> None:
    torch.manual_seed(3)
    plain = create("mobilenetv3_small_050", 3, image_size=64)
    before = _first_convolution(plain).weight.clone()
    small_stem.apply(plain, 32)
    assert torch.equal(_first_convolution(plain).weight, before)


@pytest.mark.parametrize("model", ["test_vit", "convnext_atto", "swin_tiny_patch4_window7_224"])
def test_networks_that_cut_patches_refuse(model: str) -> None:
    with pytest.raises(UsageError, match=r"cutting the picture into patches.*--no-small-stem") as caught:
        create(model, 3, image_size=64, small_stem=True)
    assert caught.value.exit_code == 2


def test_large_images_refuse() -> None:
    with pytest.raises(UsageError, match="up to 96 px, and --image-size is 128"):
        create("test_resnet", 3, image_size=128, small_stem=True)


def test_timm_knows_it_by_name() -> None:
    ours = create("resnet10t", 5, image_size=64, small_stem=True).eval()
    theirs = timm.create_model(
        small_stem.ENTRYPOINT, pretrained_cfg={}, network="resnet10t", image_size=64, num_classes=5
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    batch = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(theirs(batch), ours(batch))
