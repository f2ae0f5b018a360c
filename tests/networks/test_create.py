"""Networks by timm's names, and what their input must look like."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.functional import normalize, to_tensor

from curriculumnet.errors import UnknownNameError, UsageError, WeightsError
from curriculumnet.networks.create import (
    Preprocessing,
    check_image_size,
    classifiers,
    create,
    normalise,
    preprocessing,
    small_stem_suits,
)


@pytest.mark.parametrize(("model", "size"), [("test_resnet", 32), ("mobilenetv3_small_050", 64), ("test_vit", 64)])
def test_a_network_has_as_many_outputs_as_categories(model: str, size: int) -> None:
    network = create(model, 7, image_size=size)
    assert network.training
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_a_network_of_fixed_size_is_made_for_the_size_asked() -> None:
    small = create("mixer_s32_224", 3, image_size=64)
    with pytest.raises(AssertionError, match=r"96.*64"):
        small(torch.zeros(1, 3, 96, 96))


def test_the_same_generator_gives_the_same_weights() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(5)
        made.append(create("test_resnet", 3, image_size=32).state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_an_unknown_network_gets_the_nearest_names() -> None:
    with pytest.raises(UnknownNameError, match=r"no network 'resnet81'.*resnet18") as caught:
        create("resnet81", 3, image_size=32)
    assert caught.value.exit_code == 2
    with pytest.raises(UnknownNameError, match=r"no network 'resnet18.nobody'.*resnet18.a1_in1k"):
        create("resnet18.nobody", 3, image_size=32)
    with pytest.raises(UnknownNameError, match=r"no network 'inception_v22'.*inception_v2"):
        create("inception_v22", 3, image_size=32)
    for name in ("", "hf-hub:timm/resnet18", "curriculumnet_small_stem", "curriculumnet_multi_scale"):
        with pytest.raises(UnknownNameError, match="no network"):
            create(name, 3, image_size=32)


@pytest.mark.parametrize("recipe", ["model-a", "model-a-balanced", "model-d"])
def test_a_recipe_given_as_network_is_told(recipe: str) -> None:
    with pytest.raises(UsageError, match=f"--recipe {recipe}") as caught:
        create(recipe, 3, image_size=32)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("model", "size"), [("inception_v3", 32), ("vgg11", 16), ("swin_tiny_patch4_window7_224", 2)])
def test_a_size_that_a_network_cannot_take_is_one_sentence(model: str, size: int) -> None:
    with pytest.raises(UsageError, match=rf"{model} cannot take images of {size} px \(.*made for \d+ px") as caught:
        create(model, 3, image_size=size)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_size_is_checked_without_leaving_training_mode() -> None:
    network = create("mixer_s32_224", 3, image_size=64)
    with pytest.raises(UsageError, match="cannot take images of 96 px"):
        check_image_size(network, "mixer_s32_224", 96)
    check_image_size(network, "mixer_s32_224", 64)
    assert network.training


def test_small_stems_suit_some_networks_at_some_sizes() -> None:
    assert small_stem_suits("test_resnet", 64)
    assert not small_stem_suits("test_vit", 64)
    assert not small_stem_suits("test_resnet", 128)
    assert small_stem_suits("inception_v2", 64)
    assert not small_stem_suits("inception_v3", 64)
    with pytest.raises(UnknownNameError):
        small_stem_suits("nonet", 64)


def test_preprocessing_is_plain_from_scratch_and_the_weights_own_otherwise() -> None:
    assert preprocessing("tf_efficientnet_lite0", 64, False) == Preprocessing(64)
    own = preprocessing("tf_efficientnet_lite0", None, True)
    assert own == Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", 0.875)
    assert own.image_size / own.crop_pct == 256
    assert preprocessing("tf_efficientnet_lite0", 256, True).image_size == 256
    with pytest.raises(UnknownNameError):
        preprocessing("nonet", 32, True)


@settings(max_examples=20)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.floats(0, 1, width=32)] * 3),
    st.tuples(*[st.floats(0.125, 1, width=32)] * 3),
)
def test_normalise_does_what_torchvision_does(seed: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    expected = torch.stack([normalize(to_tensor(picture), mean, std) for picture in pixels])
    batch = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    before = batch.clone()
    found = normalise(batch, Preprocessing(4, mean, std), torch.device("cpu"))  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, before)


def test_weights_without_a_network_are_one_sentence() -> None:
    with pytest.raises(WeightsError, match=r"weights of test_resnet are not on this machine.*curriculumnet\[weights\]"):
        create("test_resnet", 3, image_size=64, pretrained=True)


def test_a_wrong_size_is_not_blamed_on_the_weights() -> None:
    with pytest.raises(UsageError, match="cannot take images of 2 px"):
        create("swin_tiny_patch4_window7_224", 3, image_size=2, pretrained=True)


@pytest.mark.parametrize(
    ("model", "layers"),
    [("resnet18", 1), ("tf_efficientnet_lite0", 1), ("levit_128s", 2), ("deit_tiny_distilled_patch16_224", 2)],
)
def test_the_classifier_is_the_last_layer_whatever_lies_before_it(model: str, layers: int) -> None:
    network = create(model, 5, image_size=224)
    found = classifiers(network)
    assert len(found) == layers
    for layer in found:
        assert [len(weight) for weight in layer.parameters()] == [5, 5]
    assert classifiers(create(model, 0, image_size=224)) == []


def test_a_network_that_cannot_name_its_classifier_has_none() -> None:
    assert classifiers(create("efficientvit_m0", 0, image_size=224)) == []
