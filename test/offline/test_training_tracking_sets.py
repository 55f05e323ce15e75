"""Tracking data sets as sets of frame pairs to train on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.errors import SettingsError
from training.data.sets import SETS, open_sets
from training.data.splits import split_found

LAYOUTS = {
    "gtot": ("{}", "v", "i"),
    "rgbt234": ("{}", "visible", "infrared"),
    "lasher": ("trainingset/{}", "visible", "infrared"),
    "vtuav": ("train_ST_001/{}", "rgb", "ir"),
    "vot_rgbt": ("{}", "color", "ir"),
}


def write_sequence(folder: Path, cameras: tuple[str, str], frames: int) -> None:
    """Write a sequence without boxes; frame n is n in the visible and 100 + n in the infrared images."""
    for camera, first in zip(cameras, (0, 100), strict=True):
        (folder / camera).mkdir(parents=True)
        for number in range(frames):
            image = np.full((6, 8), first + number, np.uint8)
            assert cv2.imwrite(str(folder / camera / f"{number + 1}{camera[0]}.png"), image)


@pytest.mark.parametrize("name", LAYOUTS)
def test_frames_are_paired_by_their_numbers_and_need_no_boxes(name, tmp_path):
    place, *cameras = LAYOUTS[name]
    write_sequence(tmp_path / place.format("man"), tuple(cameras), 12)
    pairs = open_sets([f"{name}={tmp_path},every=5"])[0].found.pairs
    part = place.replace("{}", "man")
    assert [pair.name for pair in pairs] == [f"{name}/{part}/{index:06d}" for index in (0, 5, 10)]
    for pair, number in zip(pairs, (0, 5, 10), strict=True):
        images = pair.read()
        assert (images.visible[0, 0], images.infrared[0, 0]) == (number, 100 + number)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [("lasher", "trainingset", "testingset"), ("vtuav", "train_ST_001", "test_LT_002")],
)
@pytest.mark.parametrize("below", [True, False])
def test_what_the_makers_test_on_is_not_trained_on_wherever_the_root_is(name, train, test, below, tmp_path):
    cameras = LAYOUTS[name][1:]
    write_sequence(tmp_path / train / "a", cameras, 4)
    write_sequence(tmp_path / test / "b", cameras, 4)
    roots = [tmp_path] if below else [tmp_path / train, tmp_path / test]
    split = split_found(open_sets([f"{name}={root}" for root in roots]))
    names = {pair.name for pair in (*split.train, *split.validation)}
    assert {item.split("/")[-3] for item in names} == {train}
    assert len(names) == 4


def test_a_sequence_that_lacks_frames_is_left_out_with_a_note(tmp_path):
    write_sequence(tmp_path / "good", ("visible", "infrared"), 3)
    write_sequence(tmp_path / "bad", ("visible", "infrared"), 9)
    for number in range(3, 9):
        (tmp_path / "bad" / "infrared" / f"{number + 1}i.png").unlink()
    found = SETS["rgbt234"].find(tmp_path)
    assert {pair.name.split("/")[1] for pair in found.pairs} == {"good"}
    assert len(found.notes) == 1
    assert "bad is left out" in found.notes[0]
    assert "3 in infrared and 9 in visible" in found.notes[0]


def test_a_wrong_root_is_answered_with_the_tree_and_the_right_place(tmp_path):
    write_sequence(tmp_path / "RGBT234" / "RGBT234" / "part" / "man", ("visible", "infrared"), 1)
    with pytest.raises(SettingsError) as caught:
        SETS["rgbt234"].find(tmp_path)
    assert "visible/  00001v.jpg" in str(caught.value)
    assert f"did you mean {tmp_path / 'RGBT234'}, " in str(caught.value)
