"""Two views of one scene, as a tracker meets its target: what it was shown, and where it has to find it again.

Views are cut from registered crops on the device that trains. Both cameras of a view share one geometry; their
grey values change independently. What is random comes from torch's generator, so views are a function of its seed.

Positions are in pixels, x first; pixel centres are integers, so the middle of a view of V pixels is at
(V - 1) / 2. The target is the point in the middle of the template.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fusion_ros.settings import Settings, setting

from ..precision import full_precision

__all__ = ["Motion", "ViewSettings", "Views", "drawn_motion", "drawn_views", "views_of"]

_OFFSET, _GAIN, _OCTAVES = 0.15, 0.4, 0.7  # largest changes of grey values: added, as a factor, of gamma
_BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)  # binomial, a deviation of 1 px
_BLIND_CONTRAST, _BLIND_NOISE = 0.1, 0.03  # largest that is left to a degraded camera; its noise
_TARGET = (0.2, 0.45)  # of a view's side: smallest and largest radius of what is the target, not its background
_EDGE = 2.0  # px: over how many it passes into another background
_PATCH = (0.15, 0.4)  # of a view's side: smallest and largest occluding patch


@dataclass(frozen=True)
class ViewSettings(Settings):
    """How two views of a scene differ; recipes inherit these settings."""

    view: int = setting(128, "Side of the square views, whole cells.", unit="px", bounds=(32, 1024))
    reach: int = setting(
        8, "Largest displacement of the target between the views along an axis.", unit="cells", bounds=(0, 64)
    )
    zoom: float = setting(1.18, "Largest ratio of the target's sizes in the views.", bounds=(1, 2))
    turn: float = setting(8.0, "Largest rotation between the views.", unit="deg", bounds=(0, 180))
    noise: float = setting(0.03, "Largest deviation of noise, of the full range.", bounds=(0, 1))
    occluded: float = setting(0.3, "Share of the search views that a patch partly hides.", bounds=(0, 1))
    elsewhere: float = setting(
        0.5, "Share of the search views in which the target stands in front of another scene.", bounds=(0, 1)
    )
    degraded: float = setting(
        0.5, "Share of the scenes in which one of the cameras is nearly black or washed out.", bounds=(0, 1)
    )


class Motion(NamedTuple):
    """How the target moves from the template to the search view.

    Attributes:
        displacement: ``(B, 2)``, x first, in pixels of the search view.
        angle: ``(B,)`` in radians; positive turns x towards y.
        scale: ``(B,)``; above 1 it becomes larger.
    """

    displacement: Tensor
    angle: Tensor
    scale: Tensor


class Views(NamedTuple):
    """Template and search view, each ``(B, 2, V, V)`` in [0, 1]: infrared, then visible; and :class:`Motion`."""

    template: Tensor
    search: Tensor
    motion: Motion


def drawn_motion(
    count: int, settings: ViewSettings, pitch: int, device: torch.device, generator: torch.Generator | None = None
) -> Motion:
    """Return random motions, uniform in displacement, angle and the logarithm of scale.

    Args:
        count: B.
        settings: Of how much.
        pitch: Pixels of a cell.
        device: Where the tensors are to lie.
        generator: On that device; None takes torch's own.
    """
    draw = 2 * torch.rand(count, 4, device=device, generator=generator) - 1
    return Motion(
        displacement=draw[:, :2] * settings.reach * pitch,
        angle=draw[:, 2] * math.radians(settings.turn),
        scale=torch.exp(draw[:, 3] * math.log(settings.zoom)),
    )


@full_precision
def views_of(images: Tensor, motion: Motion, side: int) -> Views:
    """Cut template and search view; they lie evenly about the middle of the images.

    Interpolated bilinearly; beyond their border images are reflected.

    Args:
        images: ``(B, K, S, S)``.
        motion: Of each image's target.
        side: V, in pixels.
    """
    middle = (images.shape[-1] - 1) / 2
    target = middle + motion.displacement / 2
    offsets = torch.arange(side, dtype=images.dtype, device=images.device) - (side - 1) / 2
    grid = torch.stack(torch.meshgrid(offsets, offsets, indexing="xy"), dim=-1).expand(len(images), -1, -1, -1)
    template = _sampled(images, target[:, None, None] + grid)
    cos, sin = torch.cos(motion.angle) / motion.scale, torch.sin(motion.angle) / motion.scale
    back = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)  # of the view to the scene
    moved = grid - motion.displacement[:, None, None]
    search = _sampled(images, target[:, None, None] + torch.einsum("bij,bhwj->bhwi", back, moved))
    return Views(template, search, motion)


@full_precision
def drawn_views(
    infrared: Tensor,
    visible: Tensor,
    settings: ViewSettings,
    pitch: int,
    degraded: float,
    generator: torch.Generator | None = None,
) -> Views:
    """Return two views of every scene, moved and changed at random.

    Args:
        infrared: ``(B, 1, S, S)`` in [0, 1], registered.
        visible: Likewise.
        settings: Of how much.
        pitch: Pixels of a cell.
        degraded: Share of the scenes in which one of the cameras fails.
        generator: On the images' device; None takes torch's own.
    """
    motion = drawn_motion(len(infrared), settings, pitch, infrared.device, generator)
    template, search, _ = views_of(torch.cat([infrared, visible], dim=1), motion, settings.view)
    blind = _drawn_blind(len(infrared), degraded, infrared.device, generator)
    search = _placed_elsewhere(search, motion, settings.elsewhere, generator)
    search = _occluded(_changed(search, settings.noise, generator), settings.occluded, generator)
    template = _changed(template, settings.noise, generator)
    return Views(*_blinded((template, search), blind, generator), motion)


def _sampled(images: Tensor, places: Tensor) -> Tensor:
    """Return images at places ``(B, V, V, 2)`` in pixels."""
    grid = 2 * places / (images.shape[-1] - 1) - 1
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=True)


def _uniform(images: Tensor, generator: torch.Generator | None, *numbers: int) -> Tensor:
    """Return numbers in [0, 1) for each camera of each image: ``(*numbers, B, K, 1, 1)``."""
    return torch.rand(*numbers, *images.shape[:2], 1, 1, device=images.device, generator=generator)


def _noisy(images: Tensor, deviation: Tensor, generator: torch.Generator | None) -> Tensor:
    noise = torch.randn(images.shape, device=images.device, generator=generator)
    return (images + deviation * noise).clamp(0, 1)


def _changed(images: Tensor, noise: float, generator: torch.Generator | None) -> Tensor:
    """Change gamma, gain, offset, sharpness and noise of each camera of each view, independently."""
    gamma, gain, offset, blur, deviation = _uniform(images, generator, 5)
    images = images.clamp(0, 1) ** torch.exp2(_OCTAVES * (2 * gamma - 1))
    images = (images - 0.5) * (1 + _GAIN * (2 * gain - 1)) + 0.5 + _OFFSET * (2 * offset - 1)
    images = torch.lerp(images, _blurred(images), blur)
    return _noisy(images, noise * deviation, generator)


def _blurred(images: Tensor) -> Tensor:
    channels = images.shape[1]
    line = torch.tensor(_BLUR, dtype=images.dtype, device=images.device) / sum(_BLUR)
    kernel = torch.outer(line, line).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _placed_elsewhere(images: Tensor, motion: Motion, share: float, generator: torch.Generator | None) -> Tensor:
    """Replace what is around the target by the next scene of the batch, in a share of the views."""
    count, _, height, width = images.shape
    draw = torch.rand(2, count, 1, 1, 1, device=images.device, generator=generator)
    radius = width * (_TARGET[0] + (_TARGET[1] - _TARGET[0]) * draw[0])
    x, y = (motion.displacement[:, axis, None, None, None] for axis in (0, 1))
    rows = torch.arange(height, device=images.device)[:, None] - (height - 1) / 2 - y
    columns = torch.arange(width, device=images.device) - (width - 1) / 2 - x
    target = ((radius - torch.hypot(rows, columns)) / _EDGE).clamp(0, 1)
    return torch.lerp(images.roll(1, dims=0), images, torch.where(draw[1] < share, target, 1.0))


def _occluded(images: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Hide a rectangle of a share of the views, in both cameras, each with a grey value of its own."""
    count, _, height, width = images.shape
    draw = torch.rand(5, count, 1, 1, 1, device=images.device, generator=generator)
    sides = _PATCH[0] + (_PATCH[1] - _PATCH[0]) * draw[:2]
    tall, wide = height * sides[0], width * sides[1]
    top, left = (height - tall) * draw[2], (width - wide) * draw[3]
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)
    inside = (rows >= top) & (rows < top + tall) & (columns >= left) & (columns < left + wide)
    return torch.where(inside & (draw[4] < share), _uniform(images, generator), images)


def _drawn_blind(
    count: int, share: float, device: torch.device, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return which camera of which scene is degraded in the template, and in the search view: ``(B, 2, 1, 1)``.

    Never both cameras. Half of the time it fails only after the template was taken.
    """
    degraded, second, late = torch.rand(3, count, 1, 1, 1, device=device, generator=generator)
    camera = torch.arange(2, device=device).reshape(1, 2, 1, 1)
    in_search = (degraded < share) & (camera == (second < 0.5))
    return in_search & (late < 0.5), in_search


def _blinded(
    views: tuple[Tensor, Tensor], blind: tuple[Tensor, Tensor], generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Take the contrast from degraded cameras, near black or near white, the same way in both views."""
    contrast, level = _uniform(views[0], generator, 2)
    level = torch.where(level < 0.5, 0.1 * level, 1 - 0.1 * (1 - level))
    blinded = []
    for images, chosen in zip(views, blind, strict=True):
        faint = level + _BLIND_CONTRAST * contrast * (images - 0.5)
        noise = torch.full_like(level, _BLIND_NOISE) * _uniform(images, generator)
        blinded.append(torch.where(chosen, _noisy(faint, noise, generator), images))
    return blinded[0], blinded[1]
