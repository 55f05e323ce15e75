"""The fixed part of the world: sky, ground, houses, trees and lamp posts along a street."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np

from .lighting import Lighting
from .surfaces import Surface, Texture, fractal_noise, rectangle

__all__ = ["build_street", "shadow_of"]

_LEFT_M, _RIGHT_M, _BACK_M, _END_M = -10.5, 10.5, -8.0, 118.0
_GROUND_TEXEL_M = 0.03
_WALL_TEXEL_M = 0.03
_WALLS = ((176, 98, 76), (196, 178, 150), (150, 152, 156), (206, 192, 168), (158, 116, 92), (186, 186, 178))
_KERBS = (-5.5, 3.0)
_CROSSING_M = (13.5, 17.0)
_TREES = ((7.4, 15.5, 6.0), (-7.9, 27.0, 7.0), (7.5, 33.0, 7.5), (-7.8, 46.0, 6.5), (7.4, 52.0, 7.0),
          (-7.6, 66.0, 7.5), (7.5, 74.0, 6.5), (-2.0, 112.0, 8.0), (3.5, 110.0, 9.0),
          (0.5, 115.0, 9.5))  # fmt: skip


@lru_cache(maxsize=2)
def build_street(seed: int, lighting: Lighting) -> tuple[Surface, ...]:
    """Return all fixed surfaces, roughly from far to near: the sky and the ground first."""
    rng = np.random.default_rng([seed, 1])
    return (
        _sky(rng, lighting),
        _ground(rng, lighting),
        *_houses(rng, lighting),
        *_trees(rng, lighting),
        *_lamp_posts(lighting),
    )


def shadow_of(surface: Surface, sun: tuple[float, float, float]) -> Surface:
    """Lay the shadow of an upright surface on the ground: its outline, sheared along the sunlight."""
    height = surface.texture.size[0]
    foot = surface.origin + surface.axis_v * (height - 0.5)
    lean = np.array([-sun[0], 0.0, -sun[2]]) / -sun[1]  # ground metres per metre of height
    step = lean * surface.axis_v[1]
    origin = foot + step * (height - 0.5)
    origin[1] = 0.0
    return Surface(_shadow_texture(surface.texture), origin, surface.axis_u, -step, is_decal=True)


@lru_cache(maxsize=512)
def _shadow_texture(texture: Texture) -> Texture:
    levels = [cv2.GaussianBlur(level, (3, 3), 0) for level in texture.colour]
    dark = tuple(np.dstack([level[..., :3] * 0, (level[..., 3] * 0.48).astype(np.uint8)]) for level in levels)
    return Texture(dark, (np.zeros((2, 2, 2), np.float32),))


def _sky(rng: np.random.Generator, lighting: Lighting) -> Surface:
    height, width = 360, 900
    elevation = np.linspace(1, 0, height)[:, None]
    clouds = np.clip(fractal_noise(rng, (height, width), 1.6) * 0.7 + 0.1, 0, 1) * np.clip(elevation * 4, 0.3, 1)
    if lighting.condition == "day":
        clear = np.array([206, 222, 238]) + elevation[..., None] ** 0.6 * np.array([-118, -82, -24])
        colour = clear + clouds[..., None] * (np.array([246, 246, 246]) - clear) * 0.85
    elif lighting.condition == "smoke":
        colour = np.full((height, width, 3), 200.0) + clouds[..., None] * 12
    else:
        colour = (
            np.array([12, 13, 20]) + (1 - elevation[..., None]) * np.array([16, 12, 8]) + clouds[..., None] * 5
        )
        colour = np.broadcast_to(colour, (height, width, 3))
    zenith = {"day": 38.0, "night": 30.0, "smoke": 22.0}[lighting.condition]
    kelvin = lighting.air_kelvin - 8.0 - zenith * elevation**0.6 + clouds * 9.0
    texture = Texture.opaque(colour, kelvin)
    return rectangle(texture, (-1500.0, -900.0, 1000.0), (3000.0, 0.0, 0.0), (0.0, 940.0, 0.0))


def _ground(rng: np.random.Generator, lighting: Lighting) -> Surface:
    height, width = round((_END_M - _BACK_M) / _GROUND_TEXEL_M), round((_RIGHT_M - _LEFT_M) / _GROUND_TEXEL_M)
    x = _LEFT_M + (np.arange(width) + 0.5) * _GROUND_TEXEL_M
    z = _END_M - (np.arange(height) + 0.5) * _GROUND_TEXEL_M
    grain = np.tile(fractal_noise(rng, (512, 512), 0.35), (height // 512 + 1, width // 512 + 1))[:height, :width]
    blotches = cv2.resize(fractal_noise(rng, (height // 16, width // 16), 1.1), (width, height))
    is_road, is_grass = (x > _KERBS[0]) & (x < _KERBS[1]), (x > 6.4) & (x < 8.4)
    base = np.select(
        [is_road[:, None], is_grass[:, None]],
        [np.array([84.0, 84, 88]), np.array([92.0, 118, 62])],
        [152.0, 148, 142],
    ).astype(np.float32)
    rough = np.select([is_road, is_grass], [7.0, 17.0], 6.0).astype(np.float32)
    albedo = base[None] + (grain * rough + blotches * rough * 0.7)[..., None]
    _pave(albedo, x, z, ~is_road & ~is_grass)
    _mark(albedo, x, z, grain)
    warmth = {"day": (3.4, 0.5, 2.2), "night": (3.0, -1.5, 1.6), "smoke": (2.0, -0.3, 1.2)}[lighting.condition]
    kelvin = np.select([is_road, is_grass], warmth[:2], warmth[2]) + lighting.air_kelvin
    kelvin = kelvin[None] + (blotches * np.where(is_grass, 0.6, 0.22)).astype(np.float32)
    corner, along, down = (_LEFT_M, 0.0, _END_M), (_RIGHT_M - _LEFT_M, 0.0, 0.0), (0.0, 0.0, _BACK_M - _END_M)
    lit = lighting.bake(albedo, np.array(corner), np.array(along), np.array(down), (0.0, -1.0, 0.0))
    kelvin = cv2.resize(kelvin.astype(np.float32), (width // 4, height // 4), interpolation=cv2.INTER_AREA)
    texture = Texture.opaque(lit, kelvin)
    return rectangle(texture, corner, along, down)


def _pave(albedo: np.ndarray, x: np.ndarray, z: np.ndarray, is_pavement: np.ndarray) -> None:
    """Draw the joints of the pavement's slabs and the kerb stones."""
    joints = is_pavement[None, :] & (((x % 0.9) < 0.035)[None, :] | ((z % 0.6) < 0.035)[:, None])
    albedo[joints] -= 26
    for kerb in _KERBS:
        albedo[:, np.abs(x - kerb) < 0.12] = albedo[:, np.abs(x - kerb) < 0.12] * 0.3 + 118
        albedo[:, np.abs(x - kerb - 0.13) < 0.025] *= 0.6


def _mark(albedo: np.ndarray, x: np.ndarray, z: np.ndarray, grain: np.ndarray) -> None:
    """Paint lane lines, parking bays and a zebra crossing, worn by the grain."""
    crossing = (z > _CROSSING_M[0]) & (z < _CROSSING_M[1])
    lane = ((np.abs(x + 0.2) < 0.07)[None, :] & ((z % 6.0) < 3.0)[:, None]) | (np.abs(x + 3.3) < 0.06)[None, :]
    bays = ((x > _KERBS[0]) & (x < -3.3))[None, :] & (np.abs(z % 6.0 - 5.0) < 0.06)[:, None]
    zebra = ((x % 1.0) < 0.5)[None, :] & crossing[:, None] & ((x > -5.2) & (x < 2.7))[None, :]
    paint = ((lane | bays) & ~crossing[:, None]) | zebra
    paint &= grain < 1.5
    albedo[paint] = albedo[paint] * 0.25 + np.array([172, 172, 166]) * 0.95


def _houses(rng: np.random.Generator, lighting: Lighting) -> Iterator[Surface]:
    """Rows of houses along both sides, with end walls where they step forward, and one across the end."""
    yield _wall(rng, lighting, (-16.0, 0.0, _END_M), (32.0, 0.0, 0.0), 11.0, (0.0, 0.0, -1.0))
    for side in (-1, 1):
        ends = np.cumsum(np.r_[_BACK_M, rng.uniform(10, 16, 14)])
        for z, end in reversed([*itertools.pairwise(np.minimum(ends, _END_M).tolist())]):
            if end - z < 1.0:
                continue
            x = side * (9.0 + float(rng.choice([0.0, 0.0, 1.2])))
            height_m, normal = float(rng.uniform(6.5, 12)), (-float(side), 0.0, 0.0)
            start, along = (z, end - z) if side < 0 else (end, z - end)  # left to right as seen from the street
            yield _wall(rng, lighting, (x, 0.0, start), (0.0, 0.0, along), height_m, normal)
            corner = (min(x, x + side * 6.0), 0.0, z)
            yield _wall(rng, lighting, corner, (6.0, 0.0, 0.0), height_m, (0.0, 0.0, -1.0), plain=True)


def _wall(
    rng: np.random.Generator,
    lighting: Lighting,
    foot: tuple[float, float, float],
    along: tuple[float, float, float],
    height_m: float,
    normal: tuple[float, float, float],
    *,
    plain: bool = False,
) -> Surface:
    """Build one facade: masonry, then windows and a door unless it is ``plain``."""
    width_m = float(np.linalg.norm(along))
    size = (round(height_m / _WALL_TEXEL_M), round(width_m / _WALL_TEXEL_M))
    brick = bool(rng.random() < 0.55)
    albedo = np.array(_WALLS[rng.integers(len(_WALLS))], np.float32) + rng.normal(0, 6, 3).astype(np.float32)
    grain, stains = fractal_noise(rng, size, 0.3), fractal_noise(rng, size, 1.2)
    albedo = albedo[None, None] + (grain * 5 + stains * 6)[..., None]
    if brick:
        _lay_bricks(rng, albedo)
    kelvin = lighting.air_kelvin + {"day": 0.5, "night": 1.0, "smoke": 0.5}[lighting.condition] + stains * 0.25
    kelvin += 2.0 if lighting.condition == "day" and normal[0] > 0.5 else 0.0
    glow = np.zeros_like(albedo)
    if not plain:
        _fit_windows(rng, lighting, albedo, kelvin, glow)
    band = round(0.25 / _WALL_TEXEL_M)
    albedo[:band] = albedo[:band] * 0.5 + 60
    albedo[band : band + 4] *= 0.6
    albedo[-2 * band :] *= 0.78
    corner = np.array(foot) - (0.0, height_m, 0.0)
    lit = lighting.bake(albedo, corner, np.array(along), np.array((0.0, height_m, 0.0)), normal) + glow
    texture = Texture.opaque(lit, kelvin)
    return rectangle(texture, tuple(corner), along, (0.0, height_m, 0.0))


def _lay_bricks(rng: np.random.Generator, albedo: np.ndarray) -> None:
    height, width = albedo.shape[:2]
    course, length = 4, 10  # texels: 12 cm by 30 cm, large enough to be seen
    rows, columns = np.mgrid[:height, :width]
    columns = columns + (rows // course % 2) * (length // 2)
    tone = rng.normal(0, 9, (height // course + 2, width // length + 3))[rows // course, columns // length]
    albedo += tone[..., None].astype(np.float32)
    albedo[(rows % course == 0) | (columns % length == 0)] += 22


def _fit_windows(
    rng: np.random.Generator, lighting: Lighting, albedo: np.ndarray, kelvin: np.ndarray, glow: np.ndarray
) -> None:
    """Cut windows and a door; warm rooms show in the heat, lit rooms in the dark."""
    height, width = albedo.shape[:2]
    metre = 1 / _WALL_TEXEL_M
    storey, pitch = 3.0 * metre, float(rng.uniform(2.2, 3.0)) * metre
    frame = np.array(rng.choice([[232, 230, 224], [74, 66, 60], [120, 82, 52]]), np.float32)
    for floor in range(int(height / storey)):
        bottom = height - floor * storey - 0.9 * metre
        for column in range(int(width / pitch)):
            left = (column + 0.5) * pitch - 0.55 * metre
            is_door = floor == 0 and column % 4 == 1
            low = height if is_door else bottom
            box = (int(left), int(bottom - 1.5 * metre), int(left + 1.1 * metre), int(low))
            _window(rng, lighting, albedo, kelvin, glow, box, frame, is_door)


def _window(
    rng: np.random.Generator,
    lighting: Lighting,
    albedo: np.ndarray,
    kelvin: np.ndarray,
    glow: np.ndarray,
    box: tuple[int, int, int, int],
    frame: np.ndarray,
    is_door: bool,
) -> None:
    left, top, right, bottom = box
    outer, inner = np.s_[top:bottom, left:right], np.s_[top + 3 : bottom - 3, left + 3 : right - 3]
    albedo[outer] = frame
    rows = np.linspace(0, 1, max(1, bottom - top - 6))[:, None, None]
    if is_door:
        albedo[inner] = np.array(rng.choice([[92, 44, 36], [40, 62, 84], [60, 74, 52]]), np.float32)
        kelvin[outer] += 1.5
        return
    glass = np.array([62.0, 74, 92]) + (1 - rows) * np.array([70.0, 80, 86]) * rng.uniform(0.3, 1.0)
    albedo[inner] = glass
    if rng.random() < 0.45:  # a blind, drawn part of the way
        drop = top + 3 + int((bottom - top - 6) * rng.uniform(0.2, 0.7))
        albedo[top + 3 : drop, left + 3 : right - 3] = np.array([206.0, 200, 186]) * rng.uniform(0.75, 1.0)
    middle = (left + right) // 2
    albedo[top:bottom, middle - 1 : middle + 2] = frame
    albedo[bottom : bottom + 4, left - 3 : right + 3] = 186
    heated = rng.random() < 0.5
    kelvin[outer] += (2.5 if heated else 0.5) if lighting.condition == "night" else 1.0
    kelvin[inner] += (1.0 if heated else -4.0) if lighting.condition == "night" else -6.0
    if lighting.condition == "night" and rng.random() < 0.3:
        glow[inner] = np.array([168.0, 122, 62]) * rng.uniform(0.45, 1.0) * (0.6 + 0.4 * (1 - rows))
        glow[top:bottom, middle - 1 : middle + 2] = 0


def _trees(rng: np.random.Generator, lighting: Lighting) -> Iterator[Surface]:
    textures = [_tree_texture(rng, lighting) for _ in range(4)]
    for index, (x, z, height_m) in enumerate(sorted(_TREES, key=lambda tree: -tree[1])):
        texture = textures[index % len(textures)]
        width_m = height_m * texture.size[1] / texture.size[0]
        gain = lighting.at((x, -0.75 * height_m, z))
        tree = rectangle(texture, (x - width_m / 2, -height_m, z), (width_m, 0, 0), (0, height_m, 0), gain=gain)
        if lighting.sun is not None:
            yield shadow_of(tree, lighting.sun)
        yield tree


def _tree_texture(rng: np.random.Generator, lighting: Lighting) -> Texture:
    height, width = 330, 230
    colour = np.zeros((height, width, 3), np.float32)
    coverage = np.zeros((height, width), np.float32)
    depth = np.zeros((height, width), np.float32)
    trunk = np.array([[108, 329], [112, 200], [106, 150], [122, 150], [121, 200], [126, 329]])
    cv2.fillPoly(coverage, [trunk], 1.0)
    cv2.fillPoly(colour, [trunk], (92, 74, 58))
    is_trunk = coverage > 0
    green = np.array([66.0, 104, 44]) + rng.normal(0, 8, 3)
    for _ in range(1500):
        angle, radius = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        wobble = 1 + 0.16 * np.sin(3 * angle + 1) + 0.1 * np.sin(7 * angle)
        x, y = 115 + 96 * wobble * radius * np.cos(angle), 118 + 100 * wobble * radius * np.sin(angle)
        sunny = 0.62 + 0.75 * np.clip((118 - y) / 130 + (115 - x) / 300, -0.4, 0.7) + rng.normal(0, 0.14)
        centre, axes = (int(x), int(y)), (int(rng.integers(3, 9)), int(rng.integers(2, 6)))
        tilt = float(rng.uniform(0, 180))
        cv2.ellipse(colour, centre, axes, tilt, 0, 360, tuple((green * sunny).tolist()), -1)
        cv2.ellipse(coverage, centre, axes, tilt, 0, 360, 1.0, -1)
        cv2.ellipse(depth, centre, axes, tilt, 0, 360, float(rng.normal(0, 1)), -1)
    warm = {"day": 1.5, "night": 0.5, "smoke": 0.5}[lighting.condition]
    kelvin = lighting.air_kelvin + warm + 0.7 * cv2.GaussianBlur(depth, (0, 0), 2) + np.where(is_trunk, 1.0, 0.0)
    return Texture.build(colour, cv2.GaussianBlur(coverage, (3, 3), 0), kelvin)


def _lamp_posts(lighting: Lighting) -> Iterator[Surface]:
    """Posts with an arm over the road; at night each head glows."""
    height, width = 270, 66
    colour, coverage = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32)
    for start, end, thickness in (((8, 269), (8, 12), 6), ((8, 12), (56, 6), 4)):
        cv2.line(coverage, start, end, 1.0, thickness)
    cv2.rectangle(coverage, (44, 3), (65, 9), 1.0, -1)
    colour[:] = (82, 86, 88)
    texture = Texture.build(colour, coverage, np.full((height, width), lighting.air_kelvin + 1.0))
    rows, columns = np.mgrid[-1:1:96j, -1:1:96j]
    radius = np.hypot(rows, columns)
    halo = np.clip(np.exp(-((radius / 0.1) ** 2)) * 400 + np.exp(-radius / 0.22) * 110 * (1 - radius), 0, None)
    glow = Texture.glow(halo[..., None] * np.array([1.0, 0.82, 0.52]))
    for x, y, z in reversed(lighting.lamps):
        inward = -np.sign(x)
        scale = -y / height
        corner, along = (x - inward * 1.1, y, z), (inward * width * scale, 0, 0)
        post = rectangle(texture, corner, along, (0, -y, 0), gain=lighting.at((x, -2.0, z)))
        if lighting.sun is not None:
            yield shadow_of(post, lighting.sun)
        yield post
        if lighting.condition == "night":
            yield rectangle(glow, (x - 1.6, y - 1.5, z - 0.1), (3.2, 0, 0), (0, 3.2, 0))
