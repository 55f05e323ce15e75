"""VGG-16's features, from weights in a file that the user gives.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015; trained
on ImageNet. The file is torchvision's, as it is: nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusion_ros.checkpoint_files import read_checkpoint
from fusion_ros.errors import SettingsError, WeightsError
from fusion_ros.weights import file_sha256

from .perceptual import LEVELS

__all__ = ["VGG16_SHA256", "VGG16Features", "VGGConvention"]

VGG16_SHA256 = "397923af"
"""First digits of the SHA-256 of torchvision's ImageNet weights, which the file carries in its name."""

VGGConvention = Literal["imagenet", "byte"]

# torchvision's number of each convolution, and its channels; one row a level, each but the first after a pooling.
_CONVOLUTIONS = (
    ((0, 3, 64), (2, 64, 64)),
    ((5, 64, 128), (7, 128, 128)),
    ((10, 128, 256), (12, 256, 256), (14, 256, 256)),
    ((17, 256, 512), (19, 512, 512), (21, 512, 512)),
)
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


class VGG16Features(nn.Module):
    """VGG-16 up to its tenth convolution: relu1_2, relu2_2, relu3_3 and relu4_3, with 64, 128, 256, 512 channels.

    The weights are fixed: gradients pass through to the image, none are kept for the weights. The grey image
    takes the place of red, green and blue.

    Args:
        path: torchvision's checkpoint ``vgg16-397923af.pth``, about 528 MB.
        convention: What the network is given. ``imagenet``: values in [0, 1] less ImageNet's mean, divided by
            its deviation, as in its own training. ``byte``: values of 0 to 255 as they are, as in LRRNet's code.
        sha256: What the file's SHA-256 must begin with, at least 8 hexadecimal digits; for other weights of the
            same layers.

    Raises:
        WeightsError: The file is absent, damaged, another one, or lacks tensors of VGG-16.
        SettingsError: ``sha256`` is no such text.
    """

    def __init__(
        self, path: str | Path, *, convention: VGGConvention = "imagenet", sha256: str = VGG16_SHA256
    ) -> None:
        super().__init__()
        self.convention = convention
        self.sha256 = _check_file(Path(path), sha256)
        self.levels = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for _, inputs, outputs in row)
            for row in _CONVOLUTIONS
        )
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.tensor(_IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(_IMAGENET_DEVIATION).reshape(1, 3, 1, 1), persistent=False)
        self.load_state_dict(_own_tensors(read_checkpoint(Path(path)), Path(path)))
        self.requires_grad_(False)

    def forward(self, image: Tensor, levels: int = LEVELS) -> tuple[Tensor, ...]:
        """Return the first ``levels`` maps after their ReLU; see :class:`.perceptual.FeatureExtractor`."""
        x = image.expand(-1, 3, -1, -1)
        x = 255 * x if self.convention == "byte" else (x - self.mean) / self.deviation
        maps: list[Tensor] = []
        for convolutions in self.levels[:levels]:
            x = F.max_pool2d(x, 2) if maps else x
            for convolution in convolutions:
                x = torch.relu(convolution(x))
            maps.append(x)
        return tuple(maps)

    def describe(self) -> str:
        """Say in a sentence, for a model card, what the perceptual terms compare."""
        given = {"imagenet": "normalised by ImageNet's mean and deviation", "byte": "of values 0 to 255"}
        is_torchvisions = self.sha256.startswith(VGG16_SHA256)
        weights = "torchvision's ImageNet weights" if is_torchvisions else f"weights of SHA-256 {self.sha256}"
        return (
            f"Perceptual terms compare VGG-16's features (relu1_2, relu2_2, relu3_3, relu4_3; {weights}) of the "
            f"grey image as red, green and blue, {given[self.convention]}."
        )


def _check_file(path: Path, expected: str) -> str:
    """Return the file's SHA-256, which must begin with the expected digits."""
    if not re.fullmatch("[0-9a-f]{8,64}", expected):
        raise SettingsError(
            f"sha256: expected 8 to 64 hexadecimal digits in lower case, got {expected!r}; give what the file's "
            "hash begins with"
        )
    if not path.is_file():
        raise WeightsError(
            f"no VGG-16 weights at {path}: expected torchvision's ImageNet checkpoint vgg16-{VGG16_SHA256}.pth. "
            "torchvision.models.vgg16(weights='IMAGENET1K_V1') leaves it in the folder hub/checkpoints of torch's "
            "cache, ~/.cache/torch unless TORCH_HOME says otherwise; give that file, or none to train with "
            "StructureFeatures instead"
        )
    sha256 = file_sha256(path)
    if not sha256.startswith(expected):
        raise WeightsError(
            f"{path}: expected a SHA-256 that begins with {expected}, got {sha256}: the file is damaged or "
            "another one; get it again, or give its hash if these are the weights you mean"
        )
    return sha256


def _own_tensors(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the tensors of the ten convolutions under our names; the deeper layers are left out."""
    own = {}
    for level, row in enumerate(_CONVOLUTIONS):
        for place, (number, inputs, outputs) in enumerate(row):
            for kind, shape in (("weight", (outputs, inputs, 3, 3)), ("bias", (outputs,))):
                name = f"features.{number}.{kind}"
                found = tuple(tensors[name].shape) if name in tensors else "none"
                if found != shape:
                    raise WeightsError(
                        f"{path}: expected VGG-16's tensor {name} of shape {shape}, got {found}; give "
                        "torchvision's checkpoint of VGG-16 without batch normalisation"
                    )
                own[f"levels.{level}.{place}.{kind}"] = tensors[name]
    return own
