"""Feature extractors: VGG-16 against plain functional torch, the stand-in against SciPy and natural images."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from losses_in_numpy import gradients_agree, halved, images
from losses_in_numpy import sobel as plain_sobel
from scipy import ndimage
from skimage import data

from fusion_ros.errors import SettingsError, WeightsError
from training.losses.perceptual import StructureFeatures
from training.losses.vgg import VGG16Features

pytestmark = pytest.mark.usefixtures("one_thread")

# VGG-16's convolutions up to conv4_3: torchvision's number, channels in and out; a pooling before 5, 10 and 17.
LAYERS = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)]
LAYERS += [(17, 256, 512), (19, 512, 512), (21, 512, 512)]


def _random_tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    tensors = {"classifier.6.bias": torch.zeros(10)}  # a checkpoint holds more than is needed
    for number, inputs, outputs in LAYERS:
        scale = (2 / (9 * inputs)) ** 0.5
        tensors[f"features.{number}.weight"] = scale * torch.randn(outputs, inputs, 3, 3, generator=generator)
        tensors[f"features.{number}.bias"] = 0.1 * torch.randn(outputs, generator=generator)
    return tensors


def _saved(tensors: dict[str, torch.Tensor], path: Path) -> tuple[Path, str]:
    torch.save(tensors, path)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[Path, str]:
    """A file of random weights, and its hash."""
    return _saved(_random_tensors(), tmp_path_factory.mktemp("vgg") / "vgg16.pth")


def _plain_features(rgb: torch.Tensor) -> list[torch.Tensor]:
    tensors, x, kept = _random_tensors(), rgb, []
    for number, _, _ in LAYERS:
        if number in (5, 10, 17):
            x = F.max_pool2d(x, 2, 2)
        x = F.relu(
            F.conv2d(x, tensors[f"features.{number}.weight"], tensors[f"features.{number}.bias"], padding=1)
        )
        if number in (2, 7, 14, 21):
            kept.append(x)
    return kept


def test_vgg_gives_relu1_2_to_relu4_3_of_normalised_grey_as_red_green_and_blue(checkpoint):
    image = images(1, 24, 19)[0].float()
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    rgb = torch.cat([image] * 3, dim=1)
    expected = _plain_features((rgb - mean[:, None, None]) / deviation[:, None, None])
    features = VGG16Features(checkpoint[0], sha256=checkpoint[1])
    for maps, plain, channels, stride in zip(
        features(image), expected, (64, 128, 256, 512), (1, 2, 4, 8), strict=True
    ):
        assert maps.shape == (2, channels, 24 // stride, 19 // stride)
        torch.testing.assert_close(maps, plain)


def test_vgg_takes_values_of_0_to_255_as_they_are_by_the_convention_of_bytes(checkpoint):
    image = images(1, 16, 16)[0].float()
    features = VGG16Features(checkpoint[0], sha256=checkpoint[1], convention="byte")
    expected = _plain_features(torch.cat([255 * image] * 3, dim=1))
    for maps, plain in zip(features(image, 3), expected[:3], strict=True):
        torch.testing.assert_close(maps, plain)


def test_vggs_weights_are_fixed_while_the_image_gets_its_gradient(checkpoint):
    features = VGG16Features(checkpoint[0], sha256=checkpoint[1]).double()
    assert not [name for name, parameter in features.named_parameters() if parameter.requires_grad]
    assert gradients_agree(lambda image: features(image, 2)[1].square().mean(), images(1, 8, 8)[0])


def test_an_absent_file_is_named_with_where_it_is_to_be_had(tmp_path):
    with pytest.raises(WeightsError, match=r"no VGG-16 weights at .*none\.pth: expected torchvision's ImageNet"):
        VGG16Features(tmp_path / "none.pth")


def test_a_file_of_another_hash_is_refused_unless_its_hash_is_given(checkpoint):
    path, sha256 = checkpoint
    with pytest.raises(WeightsError, match=f"begins with 397923af, got {sha256}"):
        VGG16Features(path)
    assert sha256 in VGG16Features(path, sha256=sha256[:8]).describe()


@pytest.mark.parametrize("sha256", ["", "397923a", "397923AF", "not a hash"])
def test_a_hash_that_would_check_little_or_nothing_is_refused(checkpoint, sha256):
    with pytest.raises(SettingsError, match="8 to 64 hexadecimal digits"):
        VGG16Features(checkpoint[0], sha256=sha256)


def test_checkpoints_of_other_networks_are_refused(tmp_path):
    tensors = {name: value for name, value in _random_tensors().items() if name.startswith("features.0.")}
    path, sha256 = _saved(tensors, tmp_path / "short.pth")
    with pytest.raises(WeightsError, match=r"features\.2\.weight of shape \(64, 64, 3, 3\), got none"):
        VGG16Features(path, sha256=sha256)
    path, sha256 = _saved({"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    with pytest.raises(WeightsError, match=r"of shape \(64, 3, 3, 3\), got \(64, 1, 3, 3\)"):
        VGG16Features(path, sha256=sha256)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "text.pth"
    path.write_text("nothing of the kind")
    with pytest.raises(WeightsError, match="expected a complete checkpoint"):
        VGG16Features(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_the_stand_in_gives_the_low_pass_image_and_rectified_derivatives_at_four_strides():
    image = images(1, 17, 24)[0]
    maps = StructureFeatures(scale=2.0).double()(image)
    window = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for number, level in enumerate([2 * one for one in image[:, 0].numpy()]):
        for stride_maps, gain in zip(maps, StructureFeatures.GAINS, strict=True):
            x, y = plain_sobel(level)
            angles = np.radians(np.arange(0, 360, 45))[:, None, None]
            towards = np.maximum(0, gain * (np.cos(angles) * x + np.sin(angles) * y))
            # Our order: 0, 45, 90, 135 degrees (y down), then their opposites.
            expected = np.stack([ndimage.correlate(level, window, mode="nearest"), *towards])
            np.testing.assert_allclose(stride_maps[number].numpy(), expected, atol=1e-6)
            level = halved(level)


def test_the_stand_ins_levels_are_of_one_size_on_natural_images():
    for picture in (data.camera(), data.coins(), data.moon(), data.astronaut()[..., 1]):
        image = torch.from_numpy(picture.astype(np.float32) / 255)[None, None]
        squares = [float(maps.square().mean()) for maps in StructureFeatures()(image)]
        assert max(squares) < 2 * min(squares)


def test_the_stand_in_tells_a_blurred_image_from_a_sharp_one_better_than_pixels_do():
    sharp = data.camera().astype(np.float32) / 255
    features = StructureFeatures()

    def ratio(distance):
        blurred, brighter = ndimage.gaussian_filter(sharp, 1.5), sharp + 0.05
        tensors = [torch.from_numpy(x)[None, None] for x in (sharp, blurred, brighter)]
        return float(distance(tensors[0], tensors[1])) / float(distance(tensors[0], tensors[2]))

    by_pixels = ratio(lambda a, b: (a - b).square().mean())
    by_features = ratio(lambda a, b: (features(a, 1)[0] - features(b, 1)[0]).square().mean())
    assert by_features > 5 * by_pixels


def test_fewer_levels_are_the_first_of_all_levels():
    image = images(1, 16, 16)[0].float()
    features = StructureFeatures()
    for few, one in zip(features(image, 2), features(image)[:2], strict=True):
        assert torch.equal(few, one)


def test_the_stand_ins_gradients_are_those_of_the_formula():
    features = StructureFeatures().double()
    assert gradients_agree(lambda i: sum(m.square().mean() for m in features(i)), images(1, 16, 16)[0])


def test_a_model_card_can_say_what_stood_in_for_vgg(checkpoint):
    assert "stand in for the paper's VGG-16" in StructureFeatures().describe()
    described = VGG16Features(checkpoint[0], sha256=checkpoint[1], convention="byte").describe()
    assert "VGG-16's features" in described and "values 0 to 255" in described
