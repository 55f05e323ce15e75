"""Data sets on disk: small trees of the same shape, and the real ones where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.errors import ImageError, SettingsError
from training.data.pairs import read_names
from training.data.sets import SETS, open_sets, parse_source
from training.data.splits import NameLists, part_of, split_found


def write_image(path: Path, image: np.ndarray | None = None) -> Path:
    """Write an image; None makes an empty file, which nobody can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if image is None:
        path.touch()
    else:
        assert cv2.imwrite(str(path), image)
    return path


def picture(seed: int, size: tuple[int, int] = (24, 32)) -> np.ndarray:
    """A smooth random picture, uint8: JPEG hardly changes it."""
    noise = np.random.default_rng(seed).uniform(0, 255, (4, 5)).astype(np.float32)
    return cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def stems(found) -> list[str]:
    return [pair.name for pair in found.pairs]


def kaist_tree(root: Path) -> Path:
    for place in ("set00/V000", "set02/V004", "set03/V001", "set09/V000"):
        for number in range(4):
            for kind in ("lwir", "visible"):
                write_image(root / place / kind / f"I{number:05d}.jpg")
    return root


@pytest.mark.parametrize("inner", ["", "images"])
def test_kaist_videos_are_found_without_reading_a_pixel_and_split_by_their_sets(tmp_path, inner):
    kaist_tree(tmp_path / inner)
    write_image(tmp_path / inner / "set00" / "V000" / "lwir" / "I00009.jpg")
    (tmp_path / inner / "set01" / "V002" / "visible").mkdir(parents=True)
    found = SETS["kaist"].find(tmp_path)
    assert len(found.pairs) == 16
    pair = found.pairs[0]
    assert pair.name == "kaist/set00/V000/I00000"
    assert pair.infrared == tmp_path / inner / "set00" / "V000" / "lwir" / "I00000.jpg"
    assert pair.visible == tmp_path / inner / "set00" / "V000" / "visible" / "I00000.jpg"
    assert [Path(name).name for name in found.unpaired] == ["I00009.jpg"]
    assert found.notes == ("set01/V002 has no lwir folder; it is left out",)
    split = split_found(open_sets([f"kaist={tmp_path}"]))
    assert {pair.name.rpartition("/")[0] for pair in split.train} == {"kaist/set00/V000", "kaist/set03/V001"}
    assert {pair.name.rpartition("/")[0] for pair in split.validation} == {"kaist/set02/V004"}


def test_every_and_limit_thin_a_set_the_same_way_each_time(tmp_path):
    kaist_tree(tmp_path)
    every = open_sets([f"kaist={tmp_path},every=2"])[0].found
    assert [name[-1] for name in stems(every)] == ["0", "2"] * 4
    drawn = [stems(open_sets([f"kaist={tmp_path},limit=3,seed={seed}"])[0].found) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0] == drawn[1] == sorted(drawn[0])
    assert len({tuple(names) for names in drawn}) > 1
    for names in drawn:
        parts = [part_of("kaist", name.partition("/")[2]) for name in names]
        assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (3, 4, 4)


def flir_v1_tree(root: Path) -> Path:
    for part, numbers in (("train", (1, 2, 8932)), ("val", (10,)), ("video", (3,))):
        for number in numbers:
            stem = f"FLIR_{'video_' if part == 'video' else ''}{number:05d}"
            write_image(root / part / "thermal_8_bit" / f"{stem}.jpeg", picture(number))
            write_image(root / part / "RGB" / f"{stem}.jpg", picture(number + 1, (60, 80)))
            counts = picture(number).astype(np.uint16) * 40 + 7000
            write_image(root / part / "thermal_16_bit" / f"{stem}.tiff", counts)
    (root / "train" / "RGB" / "FLIR_00002.jpg").unlink()
    return root


def test_flir_v1_pairs_by_name_and_is_enlarged_to_the_grid_of_the_colour_image(tmp_path):
    found = SETS["flir_v1"].find(flir_v1_tree(tmp_path))
    assert stems(found) == [
        "flir_v1/train/FLIR_00001",
        "flir_v1/train/FLIR_08932",
        "flir_v1/val/FLIR_00010",
        "flir_v1/video/FLIR_video_00003",
    ]
    assert found.unpaired == ("train/thermal_8_bit/FLIR_00002.jpeg",)
    assert any("not registered" in note for note in found.notes)
    images = found.pairs[0].read()
    assert images.infrared.shape == images.visible.shape == (60, 80)
    small = cv2.imread(str(found.pairs[0].infrared), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(images.infrared, cv2.resize(small, (80, 60), interpolation=cv2.INTER_LINEAR))


def test_what_roadscene_was_cut_from_in_flir_v1_is_not_trained_on(tmp_path):
    split = split_found(open_sets([f"flir_v1={flir_v1_tree(tmp_path)}"]))
    assert [pair.name for pair in split.train] == ["flir_v1/train/FLIR_00001"]
    assert [pair.name for pair in split.validation] == ["flir_v1/val/FLIR_00010"]


def test_a_homography_brings_thermal_pixels_to_colour_pixels_and_cuts_to_what_both_see(tmp_path):
    flir_v1_tree(tmp_path)
    matrix = np.array([[2.0, 0.0, 6.0], [0.0, 2.0, 4.0], [0.0, 0.0, 1.0]])  # 32 x 24 onto 80 x 60
    text = " ".join(str(value) for value in matrix.ravel())
    source = f"flir_v1={tmp_path},align.mode=homography,align.homography={text}"
    pair = open_sets([source])[0].found.pairs[0]
    images = pair.read()
    thermal = cv2.imread(str(pair.infrared), cv2.IMREAD_GRAYSCALE)
    warped = cv2.warpPerspective(
        thermal, matrix, (80, 60), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    # A thermal pixel at x is seen at 2 x + 6: the image reaches from 5 to 69 across and from 3 to 51 down.
    assert images.infrared.shape == (49, 65)
    difference = np.abs(images.infrared.astype(int) - warped[3:52, 5:70])
    assert difference.max() <= 1
    np.testing.assert_array_equal(images.visible, cv2.imread(str(pair.visible), cv2.IMREAD_GRAYSCALE)[3:52, 5:70])


def test_sixteen_bit_thermal_is_stretched_by_its_own_percentiles(tmp_path):
    pair = open_sets([f"flir_v1={flir_v1_tree(tmp_path)},thermal=16bit"])[0].found.pairs[0]
    counts = cv2.imread(str(pair.infrared), cv2.IMREAD_UNCHANGED).astype(np.float64)
    low, high = np.percentile(counts, (0.5, 99.5))
    expected = np.clip((counts - low) / (high - low), 0, 1) * 255
    assert np.abs(pair.read_infrared() - expected).max() <= 1
    eight = open_sets([f"flir_v1={tmp_path}"])[0].found.pairs[0]
    write_image(eight.infrared.with_suffix(".png"), counts.astype(np.uint16)).rename(eight.infrared)
    with pytest.raises(ImageError, match=r"FLIR_00001\.jpeg: expected 8 bits a sample, got uint16"):
        eight.read()


def test_folders_of_sixteen_bit_thermal_are_read_as_counts_and_nothing_else_deeper_than_eight_bits(tmp_path):
    counts = picture(1).astype(np.uint16) * 40 + 7000
    write_image(tmp_path / "ir" / "1.png", counts)
    write_image(tmp_path / "vis" / "1.png", picture(2))
    pair = open_sets([f"folders={tmp_path}"])[0].found.pairs[0]
    low, high = np.percentile(counts, (0.5, 99.5))
    expected = np.clip((counts - low) / (high - low), 0, 1) * 255
    assert np.abs(pair.read().infrared - expected).max() <= 1
    write_image(pair.infrared, np.dstack([counts] * 3))
    with pytest.raises(ImageError, match=r"1\.png: expected a thermal image of one channel, got uint16"):
        pair.read()
    write_image(pair.infrared, picture(1))
    write_image(pair.visible, counts)
    with pytest.raises(ImageError, match=r"vis.1\.png: expected 8 bits a sample, got uint16"):
        pair.read()


def flir_v2_tree(root: Path) -> Path:
    for number in range(3):
        write_image(root / "video_rgb_test" / "data" / f"video-aB3-frame-{number:06d}-r{number}.jpg")
        write_image(root / "video_thermal_test" / "data" / f"video-Zz9-frame-{number:06d}-t{number}.jpg")
    names = [(f"video-aB3-frame-{n:06d}-r{n}.jpg", f"video-Zz9-frame-{n:06d}-t{n}.jpg") for n in (0, 1, 7)]
    (root / "rgb_to_thermal_vid_map.json").write_text(json.dumps(dict(names)))
    for stem in ("video-q-frame-000015-x", "video-q-frame-000030-x"):
        write_image(root / "images_rgb_val" / "data" / f"{stem}.jpg")
    write_image(root / "images_thermal_val" / "data" / "video-q-frame-000030-other.jpg")
    return root


def test_flir_v2_frames_are_paired_by_the_sets_own_map(tmp_path):
    found = SETS["flir_v2"].find(flir_v2_tree(tmp_path))
    assert {pair.name: pair.infrared.name for pair in found.pairs} == {
        "flir_v2/val/video-q-frame-000030-x": "video-q-frame-000030-other.jpg",
        "flir_v2/video/video-aB3-frame-000000-r0": "video-Zz9-frame-000000-t0.jpg",
        "flir_v2/video/video-aB3-frame-000001-r1": "video-Zz9-frame-000001-t1.jpg",
    }
    assert {Path(name).name for name in found.unpaired} == {
        "video-aB3-frame-000002-r2.jpg",
        "video-Zz9-frame-000002-t2.jpg",
    }
    assert any("1 pairs among 1 thermal and 2 RGB images" in note for note in found.notes)
    (tmp_path / "rgb_to_thermal_vid_map.json").write_text("{")
    with pytest.raises(SettingsError, match=r"rgb_to_thermal_vid_map\.json cannot be read"):
        SETS["flir_v2"].find(tmp_path)


@pytest.mark.parametrize(
    ("name", "folders", "expected"),
    [
        ("llvip", ("infrared/train", "visible/train"), "llvip/train/0001"),
        ("llvip", ("infrared/test", "visible/test"), "llvip/test/0001"),
        ("m3fd", ("Ir", "Vis"), "m3fd/0001"),
        ("m3fd", ("ir", "vis"), "m3fd/0001"),
        ("msrs", ("test/ir", "test/vi"), "msrs/test/0001"),
        ("msrs", ("ir", "vis"), "msrs/0001"),
        ("roadscene", ("cropinfrared", "crop_LR_visible"), "roadscene/0001"),
        ("folders", ("thermal", "RGB"), "folders/0001"),
        ("folders", ("lwir", "visible"), "folders/0001"),
    ],
)
def test_each_form_in_which_a_set_comes_is_found(tmp_path, name, folders, expected):
    for folder, image in zip(folders, (picture(1), picture(2)), strict=True):
        write_image(tmp_path / folder / "0001.png", image)
        write_image(tmp_path / folder / "._0001.png")
    found = SETS[name].find(tmp_path)
    assert stems(found) == [expected]
    images = found.pairs[0].read()
    np.testing.assert_array_equal(images.infrared, picture(1))
    np.testing.assert_array_equal(images.visible, picture(2))
    assert images.flow is None
    assert part_of(name, expected.partition("/")[2]) == ("test" if "/test/" in expected else "train")


def test_tno_of_one_folder_is_paired_by_number(tmp_path):
    for number in (1, 2, 10):
        for kind in ("IR", "VIS"):
            write_image(tmp_path / f"{kind}{number}.png", picture(number))
    (tmp_path / "VIS2.png").unlink()
    found = SETS["tno"].find(tmp_path)
    assert stems(found) == ["tno/01", "tno/10"]
    assert found.unpaired == ("IR2.png",)
    with pytest.raises(SettingsError, match="nothing is left to train on"):
        split_found(open_sets([f"tno={tmp_path}"]))


def test_the_real_sets_are_whole_and_split_as_published(shared):
    data = shared / "data"
    for name, number in (("roadscene", 221), ("tno", 40), ("msrs", 33)):
        found = SETS[name].find(data / name)
        assert (len(found.pairs), found.unpaired) == (number, ())
        for pair in found.pairs[::20]:
            images = pair.read()
            assert images.infrared.shape == images.visible.shape
    for name in ("roadscene", "msrs"):
        lists = {
            part: set(read_names(data / name / "splits" / f"{part}.txt")) for part in ("train", "val", "test")
        }
        split = split_found(open_sets([f"{name}={data / name}"]))
        train, validation = (
            {pair.name.partition("/")[2] for pair in part} for part in (split.train, split.validation)
        )
        assert validation == lists["val"]
        assert train == lists["train"] - lists["val"]
        assert not (train | validation) & lists["test"]


def test_own_lists_take_the_place_of_a_sets_rules(tmp_path):
    kaist_tree(tmp_path)
    opened = open_sets([f"kaist={tmp_path}"])
    train = ("set09/V000/I00000", "kaist/set00/V000/I00001", "set00/V000/I00002")
    lists = NameLists(train=train, validation=("set09/V000/I00003",), test=("unrelated",))
    split = split_found(opened, lists)
    assert [pair.name for pair in split.train] == [
        "kaist/set00/V000/I00001",
        "kaist/set00/V000/I00002",
        "kaist/set09/V000/I00000",
    ]
    assert [pair.name for pair in split.validation] == ["kaist/set09/V000/I00003"]
    held = split_found(opened, NameLists(test=("set00/V000/I00001", "set02/V004/I00000")))
    assert (len(held.train), len(held.validation)) == (7, 3)
    with pytest.raises(SettingsError, match="the validation list names 'set00/V000/I9'"):
        split_found(opened, NameLists(validation=("set00/V000/I9",)))
    with pytest.raises(SettingsError, match=r"1 pair\(s\) of the test list are in the train list too"):
        split_found(opened, NameLists(train=train, test=train[:1]))


def test_where_nothing_is_said_the_last_names_are_for_validation(tmp_path):
    for number in range(20):
        for folder in ("ir", "vis"):
            write_image(tmp_path / folder / f"{number:02d}.png")
    split = split_found(open_sets([f"folders={tmp_path}"]), validation_share=0.15)
    assert [pair.name for pair in split.validation] == ["folders/17", "folders/18", "folders/19"]
    assert len(split.train) == 17


def test_pairs_of_a_set_that_comes_twice_keep_apart(tmp_path):
    for place in ("a", "b"):
        for folder in ("ir", "vis"):
            write_image(tmp_path / place / folder / "1.png")
    opened = open_sets([f"folders={tmp_path / 'a'}", f"folders={tmp_path / 'b' / 'ir'},{tmp_path / 'b' / 'vis'}"])
    assert [stems(item.found) for item in opened] == [["folders/1"], ["folders2/1"]]
    assert opened[1].found.pairs[0].visible == tmp_path / "b" / "vis" / "1.png"


def test_a_source_that_cannot_be_read_is_answered_with_the_nearest(tmp_path):
    source = parse_source("kaist=/data/a=b,every=20,seed=3")
    assert (source.root, source.options.every, source.options.seed) == (Path("/data/a=b"), 20, 3)
    matrix = (2.0, 0.0, -3.5, 0.0, 2.0, 4.0, 1e-05, 0.0, 1.0)
    text = f"flir_v1=/data,align.mode=homography,align.homography={' '.join(map(str, matrix))}"
    assert parse_source(text).options.align.homography == matrix
    for text, message in (
        ("kaits=/data", "did you mean 'kaist'"),
        ("kaist=/data,evry=2", "kaist has no option 'evry'; did you mean 'every'"),
        ("kaist=/data,every=0", "every: expected at least 1"),
        ("kaist=/data,every=two", "every: expected int, got str"),
        ("kaist=/data,/more", "kaist: expected one path, such as kaist=/data/kaist,limit=20000, got 2"),
        ("folders=", "folders: expected one path or two"),
        ("synthetic=x", "synthetic: expected SEED:COUNT"),
        ("flir_v1=/data,align.homography=1 0 0 0 1 0 0 0 1", "set align.mode=homography too"),
    ):
        with pytest.raises(SettingsError) as caught:
            parse_source(text)
        assert message in str(caught.value), text


def test_a_root_one_level_off_is_answered_with_the_right_one(tmp_path):
    kaist_tree(tmp_path / "up" / "kaist")
    for root in (
        tmp_path / "up",
        tmp_path / "up" / "kaist" / "set00",
        tmp_path / "up" / "kaist" / "set00" / "V000",
    ):
        with pytest.raises(SettingsError) as caught:
            SETS["kaist"].find(root)
        assert f"did you mean {tmp_path / 'up' / 'kaist'}?" in str(caught.value)
        assert "lwir/      I00000.jpg" in str(caught.value)
    with pytest.raises(SettingsError, match="kaist: no folder at"):
        SETS["kaist"].find(tmp_path / "absent")


def test_a_missing_or_empty_folder_is_named(tmp_path):
    write_image(tmp_path / "set00" / "V000" / "lwir" / "I00000.jpg")
    with pytest.raises(SettingsError, match=r"missing visible in .*V000"):
        SETS["kaist"].find(tmp_path)
    write_image(tmp_path / "m" / "ir" / "1.png")
    with pytest.raises(SettingsError, match="missing vis"):
        SETS["m3fd"].find(tmp_path / "m")
    (tmp_path / "m" / "vis").mkdir()
    with pytest.raises(SettingsError, match=r"no pair of images below .*1 image\(s\) lack a partner: ir/1\.png"):
        SETS["m3fd"].find(tmp_path / "m")
    write_image(tmp_path / "m" / "vis" / "1.png")
    write_image(tmp_path / "m" / "vis" / "1.jpg")
    with pytest.raises(SettingsError, match=r"1\.jpg and 1\.png share a stem"):
        SETS["m3fd"].find(tmp_path / "m")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_that_is_cut_short_or_of_another_size_is_named(tmp_path, suffix):
    for folder in ("ir", "vis"):
        write_image(tmp_path / folder / f"1{suffix}", picture(1, (90, 120)))
    pair = open_sets([f"folders={tmp_path}"])[0].found.pairs[0]
    whole = pair.infrared.read_bytes()
    pair.infrared.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(ImageError, match=rf"ir.1\{suffix}: expected a complete image.*truncated.*replace it"):
        pair.read()
    write_image(pair.infrared, picture(1, (90, 121)))
    with pytest.raises(ImageError, match=r"pair 'folders/1': expected equal sizes, got infrared \(90, 121\)"):
        pair.read()
