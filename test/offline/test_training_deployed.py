"""What training shares with deployment and with its host: the fused image, learning rates, pictures, memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_trainings import pairs, recipe_of, scene

from fusion_ros.frame import Frame, FramePair
from fusion_ros.geometry.warp import warp_by_flow
from fusion_ros.imaging.flow_picture import flow_picture
from fusion_ros.metrics import evaluate, select_columns
from fusion_ros.networks import FusionNetwork, build_network
from fusion_ros.pipeline import FusionPipeline
from training.deployed import fuse_images
from training.schedules import SCHEDULES, schedule

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = (24, 40)


class PlainEngine:
    """Runs a network as it is."""

    description = "plain"

    def __init__(self, network: FusionNetwork) -> None:
        self.network = network
        self.spec = network.spec

    @torch.no_grad()
    def __call__(self, infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
        return self.network(torch.from_numpy(infrared), torch.from_numpy(visible)).numpy()


# One network for each range of values that networks take.
@pytest.mark.parametrize("name", ["didfuse", "rfn_nest", "lrrnet"])
def test_training_fuses_as_the_pipeline_fuses_stills(name):
    torch.manual_seed(0)
    network = build_network(name, {"channels": 8, "blocks": 1} if name == "lrrnet" else {}).eval()
    engine = PlainEngine(network)
    bright = scene(0, SIZE), scene(1, SIZE)
    dull = bright[0] // 4 + 30, bright[1] // 2 + 90
    for infrared, visible in (bright, dull):
        expected = FusionPipeline(engine)(FramePair(Frame(visible, 0), Frame(infrared, 0))).image
        assert expected.std() > 1
        for method in (network, engine):
            fused = fuse_images(method, infrared, visible)
            assert (fused.dtype, fused.shape) == (np.uint8, SIZE)
            assert np.abs(fused.astype(int) - expected).max() <= 1
            assert (fused != expected).mean() < 0.01
            np.testing.assert_array_equal(fuse_images(method, infrared, visible), fused)  # a still has no past


def test_fusing_needs_no_gradient_and_changes_neither_image():
    network = build_network("reconet_fuser").eval()
    infrared, visible = scene(0, SIZE), scene(1, SIZE)
    before = infrared.copy(), visible.copy()
    with torch.enable_grad():
        fuse_images(network, infrared, visible)
    np.testing.assert_array_equal((infrared, visible), before)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_torchs(name):
    steps = 120
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    theirs = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps),
        "steps": lambda: torch.optim.lr_scheduler.MultiStepLR(optimiser, [40, 80], 0.1),
    }[name]()
    rate = schedule(name)
    for step in range(steps):
        assert rate(step / steps) == pytest.approx(optimiser.param_groups[0]["lr"], abs=1e-12), step
        optimiser.step()
        theirs.step()


def test_a_flow_is_shown_by_hue_and_saturation():
    flow = np.zeros((1, 6, 2), np.float32)
    flow[0, 1:] = (4, 0), (-4, 0), (0, 4), (2, 0), (40, 0)
    shown = flow_picture(flow, 4.0)[0].tolist()
    # Nothing; right; left; down, a quarter of the circle on from red; half as far; farther than can be shown.
    assert shown[:3] == [[255, 255, 255], [255, 0, 0], [0, 255, 255]]
    assert np.abs(np.subtract(shown[3], [127.5, 255, 0])).max() <= 1
    assert np.abs(np.subtract(shown[4], [255, 127.5, 127.5])).max() <= 1
    assert shown[5] == [255, 0, 0]


def test_a_still_flow_is_white_whatever_the_scale():
    picture = flow_picture(np.zeros((3, 5, 2), np.float32), 0.0)
    assert (picture.dtype, picture.shape) == (np.uint8, (3, 5, 3))
    assert (picture == 255).all()


MEMORY = """
import threading
import numpy as np
from training.memory import keep_freed_memory

print(keep_freed_memory())

def fill(results):
    for size in (40, 120, 120, 60):  # MiB; more than an arena of a thread can hold
        array = np.ones(size * 2**17)
        results.append(array.sum() == size * 2**17)

results = []
threads = [threading.Thread(target=fill, args=(results,)) for _ in range(2)]
[thread.start() for thread in threads]
fill(results)
[thread.join() for thread in threads]
print(keep_freed_memory(), all(results), len(results))
"""


def test_keeping_freed_memory_does_no_harm(repository):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY], cwd=repository, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    kept = platform.libc_ver()[0] == "glibc"
    assert done.stdout.split() == [str(kept), str(kept), "True", "12"]


def test_a_validation_gives_each_method_the_image_that_it_is_meant_for():
    misaligned = pairs(misaligned=True)[0].read()
    columns = select_columns("CC")
    for name in ("didfuse", "rfvif"):
        recipe = recipe_of(name, misaligned=True, crop=16, metrics="CC", metric_pairs=1)
        values = recipe.validate(recipe.stages[-1])
        registered = warp_by_flow(misaligned.infrared, misaligned.flow)
        given = misaligned.infrared if name == "rfvif" else registered  # only RFVIF aligns by itself
        fused = fuse_images(recipe.network, given, misaligned.visible)
        assert values["CC:mean_pearson"] == pytest.approx(
            evaluate(registered, misaligned.visible, fused, columns)["CC:mean_pearson"]
        )
