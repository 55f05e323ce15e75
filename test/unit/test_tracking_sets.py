"""Tracking sets on disk: small trees as their makers publish them, and what is read of them."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError, SettingsError
from fusion_ros.tracking_sets import SEQUENCE_SETS, FileSequence, find_sequences

NAN = [math.nan] * 4


def write_frames(folder: Path, names: list[str]) -> None:
    """Write flat images; the n-th has the grey value n."""
    folder.mkdir(parents=True)
    for value, name in enumerate(names):
        assert cv2.imwrite(str(folder / name), np.full((6, 8), value, np.uint8))


def write_lines(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def rgbt_tree(folder: Path, frames: int = 3, suffixes: tuple[str, str] = ("v", "i")) -> Path:
    write_frames(folder / "visible", [f"{n + 1:05d}{suffixes[0]}.png" for n in range(frames)])
    write_frames(folder / "infrared", [f"{n + 1:05d}{suffixes[1]}.png" for n in range(frames)])
    return folder


def grey_values(sequence: FileSequence) -> list[tuple[int, int]]:
    return [(int(pair.rgb.pixels[0, 0]), int(pair.thermal.pixels[0, 0])) for pair in sequence.frames()]


def test_gtot_corners_become_boxes_and_frames_come_in_order_of_their_numbers(tmp_path):
    folder = tmp_path / "BlackCar"
    write_frames(folder / "v", [f"{n}v.png" for n in range(8, 12)])  # 10v.png is before 8v.png by its letters
    write_frames(folder / "i", [f"{n}i.png" for n in range(8, 12)])
    write_lines(folder / "groundTruth_v.txt", ["209 155 309 218", "203 154 298 217", "193 159 284 217", "1 0 8 2"])
    (sequence,) = find_sequences("gtot", tmp_path)
    assert sequence.name == "BlackCar"
    np.testing.assert_array_equal(
        sequence.boxes, [[209, 155, 100, 63], [203, 154, 95, 63], [193, 159, 91, 58], [1, 0, 7, 2]]
    )
    assert not sequence.absent.any()
    assert grey_values(sequence) == [(n, n) for n in range(4)]
    stamps = [pair.rgb.stamp_ns for pair in sequence.frames()]
    assert stamps == [round(n * 1e9 / sequence.rate_hz) for n in range(4)]


def test_rgbt234_reads_the_visible_boxes_and_the_attributes_beside_the_sequences(tmp_path):
    for name, first in (("afterrain", "144,53,24,45"), ("car3", "0,0,10,20")):
        rgbt_tree(tmp_path / "set" / name)
        write_lines(tmp_path / "set" / name / "visible.txt", [f"{first}\r", "147,53,24,45\r", "1,1,2,2\r"])
        write_lines(tmp_path / "set" / name / "init.txt", ["9,9,9,9"] * 3)
    attributes = tmp_path / "attr_txt"
    for stem, lines in (("SequencesName", ["car3", "afterrain"]), ("LI", ["0", "1"]), ("TC", ["1", "1"])):
        write_lines(attributes / f"{stem}.txt", lines)
    rain, car = find_sequences("rgbt234", tmp_path / "set")
    assert (rain.name, car.name) == ("afterrain", "car3")
    assert (rain.attributes, car.attributes) == ({"LI", "TC"}, {"TC"})
    np.testing.assert_array_equal(rain.boxes[0], [144, 53, 24, 45])
    np.testing.assert_array_equal(car.boxes[0], [0, 0, 10, 20])  # counted from 0: nothing is shifted
    (tmp_path / "set" / "car3" / "visible.txt").unlink()
    np.testing.assert_array_equal(find_sequences("rgbt234", tmp_path / "set")[1].boxes[0], [9, 9, 9, 9])


def test_lasher_names_carry_their_part_and_boxes_without_size_mean_absent(tmp_path):
    for part in ("trainingset", "testingset"):
        folder = rgbt_tree(tmp_path / part / "10runone", suffixes=("", ""))
        write_lines(folder / "init.txt", ["698,377,48,87", "0,0,0,0", "700,380,44,92"])
    write_lines(tmp_path / "Attributes_order.txt", ["NO, PO, TC"])
    write_lines(tmp_path / "AttriSeqsTxt" / "10runone.txt", ["0,1,1"])
    sequences = find_sequences("lasher", tmp_path)
    assert [sequence.name for sequence in sequences] == ["testingset/10runone", "trainingset/10runone"]
    assert sequences[0].attributes == {"PO", "TC"}
    assert sequences[0].absent.tolist() == [False, True, False]
    np.testing.assert_array_equal(sequences[0].boxes, [[698, 377, 48, 87], NAN, [700, 380, 44, 92]])
    alone = find_sequences("lasher", tmp_path / "testingset" / "10runone")
    assert [(sequence.name, sequence.attributes) for sequence in alone] == [("testingset/10runone", frozenset())]


def test_vtuav_has_a_box_for_every_tenth_frame_and_no_truth_between(tmp_path):
    folder = tmp_path / "test_ST" / "test_ST_001" / "bus_004"
    for camera in ("rgb", "ir"):
        write_frames(folder / camera, [f"{n + 40:06d}.png" for n in range(23)])  # does not begin with 0
    write_lines(folder / "rgb.txt", ["10 20 30 40", "0 0 0 0", "12 22 32 42"])
    (sequence,) = find_sequences("vtuav", tmp_path)
    assert sequence.name == "test_ST_001/bus_004"
    has_truth = ~np.isnan(sequence.boxes).any(axis=1)
    assert np.flatnonzero(has_truth).tolist() == [0, 20]
    assert np.flatnonzero(sequence.absent).tolist() == [10]
    assert len(sequence.boxes) == len(grey_values(sequence)) == 23


def rotated_corners(centre: tuple[float, float], size: tuple[float, float], degrees: float) -> str:
    return ",".join(f"{value:.4f}" for value in cv2.boxPoints((centre, size, degrees)).ravel())


def test_vot_polygons_become_the_boxes_that_bound_them(tmp_path):
    folder = tmp_path / "car10"
    write_frames(folder / "color", [f"{n + 1:08d}.png" for n in range(5)])
    write_frames(folder / "ir", [f"{n + 1:08d}i.png" for n in range(5)])
    angle = 25.0
    lines = [rotated_corners((100.0, 80.0), (40.0, 20.0), angle), "5.5,6.5,7,8", "0", "nan,nan,nan,nan", "1,2,3,4"]
    write_lines(folder / "groundtruth.txt", lines)
    write_lines(folder / "occlusion.tag", list("00100"))
    write_lines(folder / "size_change.tag", list("00000"))
    write_lines(folder / "sequence", ["name=car10", "fps=20", "channels.ir=ir/%08di.jpg"])
    (sequence,) = find_sequences("vot_rgbt", tmp_path)
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    width, height = 40 * cosine + 20 * sine, 40 * sine + 20 * cosine
    np.testing.assert_allclose(sequence.boxes[0], [100 - width / 2, 80 - height / 2, width, height], atol=1e-3)
    np.testing.assert_array_equal(sequence.boxes[1:], [[5.5, 6.5, 7, 8], NAN, NAN, [1, 2, 3, 4]])
    assert sequence.absent.tolist() == [False, False, True, True, False]
    assert (sequence.attributes, sequence.rate_hz) == ({"occlusion"}, 20.0)


def test_own_sequences_end_with_the_last_box_and_have_no_truth_where_none_is_listed(tmp_path):
    for camera in ("rgb", "thermal"):
        write_frames(tmp_path / "walk" / camera, [f"{n:04d}.png" for n in range(6)])
    write_lines(
        tmp_path / "walk" / "groundtruth.txt", ["# frame,x,y,w,h", "3,5,6,7,8", "0,1.5,2,3,4", "2,0,0,0,0"]
    )
    (tmp_path / "not_annotated" / "rgb").mkdir(parents=True)
    (sequence,) = find_sequences("own", tmp_path)
    np.testing.assert_array_equal(sequence.boxes, [[1.5, 2, 3, 4], NAN, NAN, [5, 6, 7, 8]])
    assert sequence.absent.tolist() == [False, False, True, False]
    assert grey_values(sequence) == [(n, n) for n in range(4)]


def test_own_videos_are_read_at_their_own_rate(shared):
    sequences = {sequence.name: sequence for sequence in find_sequences("own", shared / "data" / "sequences")}
    assert set(sequences) == {"m3svd_0111_1716", "m3svd_1230_1202"}  # the third has no boxes
    sequence = sequences["m3svd_1230_1202"]
    assert (len(sequence.boxes), sequence.rate_hz) == (51, 22.0)
    np.testing.assert_array_equal(sequence.boxes[18], [473, 228, 37, 68])
    pairs = list(sequence.frames())
    assert len(pairs) == 51
    assert (pairs[0].rgb.size, pairs[0].thermal.size) == ((480, 640), (480, 640))
    assert pairs[0].thermal.pixels.ndim == 2


@pytest.mark.parametrize("name", SEQUENCE_SETS)
def test_a_root_without_sequences_is_answered_with_the_tree(name, tmp_path):
    (tmp_path / "something_else").mkdir()
    with pytest.raises(SettingsError) as caught:
        find_sequences(name, tmp_path)
    assert SEQUENCE_SETS[name].tree in str(caught.value)
    assert "something_else" in str(caught.value)
    with pytest.raises(SettingsError, match=f"{name}: no folder at"):
        find_sequences(name, tmp_path / "absent")


def test_what_a_sequence_lacks_is_named(tmp_path):
    rgbt_tree(tmp_path / "a" / "man")
    with pytest.raises(SettingsError, match=r"man: missing visible\.txt or init\.txt"):
        find_sequences("rgbt234", tmp_path / "a")
    write_frames(tmp_path / "b" / "man" / "visible", ["1v.png"])
    with pytest.raises(SettingsError, match=r"missing infrared in .*man"):
        find_sequences("rgbt234", tmp_path / "b")
    (tmp_path / "b" / "man" / "infrared").mkdir()
    with pytest.raises(SettingsError, match=r"infrared: no image in this folder"):
        find_sequences("rgbt234", tmp_path / "b")
    with pytest.raises(SettingsError, match="did you mean 'rgbt234'"):
        find_sequences("rgbt243", tmp_path)


def test_truth_that_contradicts_the_frames_is_refused_and_a_frame_more_or_less_is_not(tmp_path):
    folder = rgbt_tree(tmp_path / "man", frames=20)
    write_lines(folder / "visible.txt", ["1,2,3,4"] * 12)
    with pytest.raises(SettingsError, match="expected a box for each of 20 frames, got 12"):
        find_sequences("rgbt234", tmp_path)
    write_lines(folder / "visible.txt", ["1,2,3,4"] * 21)
    assert len(find_sequences("rgbt234", tmp_path)[0].boxes) == 20
    write_lines(folder / "visible.txt", ["1,2,3,4"] * 19)
    assert len(list(find_sequences("rgbt234", tmp_path)[0].frames())) == 19
    for file in sorted((folder / "infrared").iterdir())[5:]:
        file.unlink()
    with pytest.raises(SettingsError, match="got 5 in infrared and 20 in visible"):
        find_sequences("rgbt234", tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,2,3,4", "1,2,x,4", "1,2,3,4"], r"visible\.txt, line 2: expected numbers, got '1,2,x,4'"),
        (["1,2,3,4", "1,2,3", "1,2,3,4"], r"expected four numbers for frame 1, got \[1\.0, 2\.0, 3\.0\]"),
        (["", ""], r"visible\.txt: expected a box a line, found none"),
    ],
)
def test_a_line_that_is_no_box_is_named(lines, message, tmp_path):
    write_lines(rgbt_tree(tmp_path / "man") / "visible.txt", lines)
    with pytest.raises(SettingsError, match=message):
        find_sequences("rgbt234", tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["0,1,2,3,4", "0,1,2,3,4"], "at most one line for a frame"),
        (["0,1,2,3"], "expected lines of frame,x,y,width,height"),
        (["1.5,1,2,3,4"], "expected lines of frame,x,y,width,height"),
        (["4,1,2,3,4"], "expected boxes of 3 frames, as both cameras have, got one of frame 4"),
    ],
)
def test_a_wrong_file_of_ones_own_boxes_is_explained(lines, message, tmp_path):
    for camera in ("rgb", "thermal"):
        write_frames(tmp_path / camera, [f"{n}.png" for n in range(3)])
    write_lines(tmp_path / "groundtruth.txt", lines)
    with pytest.raises(SettingsError, match=message):
        find_sequences("own", tmp_path)


def test_a_sequence_that_ends_early_says_so(tmp_path):
    folder = rgbt_tree(tmp_path / "man")
    write_lines(folder / "visible.txt", ["1,2,3,4"] * 3)
    (sequence,) = find_sequences("rgbt234", tmp_path)
    (folder / "infrared" / "00002i.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"00002i\.png"):
        list(sequence.frames())
    longer = FileSequence("man", sequence.rgb, sequence.rgb, np.ones((5, 4)), np.zeros(5, bool))
    with pytest.raises(ImageError, match="expected 5 frames of both cameras, one for each box, got 3"):
        list(longer.frames())
    with pytest.raises(SettingsError, match=r"expected boxes \(N, 4\) and absent \(N,\)"):
        FileSequence("man", sequence.rgb, sequence.rgb, np.ones((5, 4)), np.zeros(4, bool))
