"""Nothing of a test set gets into training, whatever its files are called."""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from fusion_ros.errors import SettingsError
from training.data import fingerprints, held_out
from training.data.held_out import check, leaked, read_held_out
from training.data.pairs import FilePair, MemoryPair, PairImages, Split, list_pairs, read_names
from training.data.sets import open_sets
from training.data.sets.synthetic import SyntheticPair
from training.data.splits import split_found

PLACES = ("roadscene", "tno", "tno21", "msrs", "msrs_gray", "flir/train", "flir/test")
"""Folders of the real images, each with ir/ and vis/."""


def grey(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)


def test_images(shared: Path) -> list[np.ndarray]:
    """The infrared images that results are reported on, as the lists of the data folder name them."""
    data = shared / "data"
    files = [*(data / "tno" / "ir").iterdir(), *(data / "tno21" / "ir").iterdir()]
    for name in ("roadscene", "msrs"):
        by_stem = {path.stem: path for path in (data / name / "ir").iterdir()}
        files += [by_stem[stem] for stem in read_names(data / name / "splits" / "test.txt")]
    return [grey(path) for path in files]


test_images.__test__ = False


def is_one_of(image: np.ndarray, others: list[np.ndarray]) -> bool:
    """Whether an image is one of the others, encoded anew: less than 3 grey levels off in the mean."""
    return any(image.shape == other.shape and np.abs(image.astype(int) - other).mean() < 3.0 for other in others)


def renamed(shared: Path, place: str, folder: Path) -> Path:
    """Link the images of a folder under numbers alone."""
    for kind in ("ir", "vis"):
        (folder / kind).mkdir(parents=True)
        for index, path in enumerate(sorted((shared / "data" / place / kind).iterdir())):
            (folder / kind / f"{index:05d}{path.suffix}").symlink_to(path)
    return folder


def test_nothing_of_a_test_set_is_trained_on_though_all_names_are_changed(shared, tmp_path):
    sources = [f"folders={renamed(shared, place, tmp_path / str(n))}" for n, place in enumerate(PLACES)]
    split = check(split_found(open_sets(sources)))
    used = [pair.read_infrared() for pair in (*split.train, *split.validation)]
    forbidden = test_images(shared)
    assert not any(is_one_of(image, forbidden) for image in used)
    everything = [grey(path) for place in PLACES for path in sorted((shared / "data" / place / "ir").iterdir())]
    assert len(used) == sum(not is_one_of(image, forbidden) for image in everything) > 300


def test_under_their_own_names_the_splits_alone_keep_test_images_out(shared):
    data = shared / "data"
    split = split_found(open_sets([f"{name}={data / name}" for name in ("roadscene", "msrs", "tno")]))
    assert leaked([*split.train, *split.validation]) == []


def test_the_images_that_flir_and_roadscene_share_are_told_by_their_roadscene_names(shared):
    data = shared / "data"
    with (data / "flir" / "roadscene_overlap.csv").open() as file:
        rows = list(csv.DictReader(file))
    expected = {
        (row["flir_split"] + "/" + Path(row["flir_file"]).stem, "roadscene/" + Path(row["roadscene_file"]).stem)
        for row in rows
        if row["roadscene_split"] == "test"
    }
    found = set()
    for part in ("train", "test"):
        pairs = list_pairs(data / "flir" / part / "ir", data / "flir" / part / "vis")
        found |= {(f"{part}/{name}", held) for name, held in leaked(pairs)}
    assert found == expected
    assert sum(name.startswith("train/") for name, _ in found) == 32


def test_other_recordings_raise_no_alarm(shared):
    data = shared / "data"
    files = [
        *sorted((data / "misaligned" / "metu_vistir" / "ir").iterdir()),
        *sorted((data / "sequences" / "m3svd_0111_1716" / "thermal").iterdir())[::10],
    ]
    pairs = [FilePair(path.stem, path, path) for path in files]
    pairs += [
        FilePair(p.stem, p, p, is_raw=True) for p in sorted((data / "raw16" / "fieldscale_seq").iterdir())[::8]
    ]
    assert len(pairs) > 15
    assert leaked(pairs) == []


def _recompressed(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)


@pytest.mark.parametrize(
    "alter",
    [
        _recompressed,
        lambda image: _recompressed(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)),
        lambda image: cv2.resize(image, (640, 512), interpolation=cv2.INTER_CUBIC),
        lambda image: ((image / 255.0) ** 0.7 * 255).astype(np.uint8),
        lambda image: image[2:-2, 2:-2],
    ],
    ids=["recompressed", "halved and recompressed", "of another shape", "brightened", "trimmed"],
)
def test_altered_copies_of_test_images_are_found(shared, alter):
    images = [alter(image) for image in test_images(shared)]
    pairs = [MemoryPair(f"copies/{index}", PairImages(image, image)) for index, image in enumerate(images)]
    assert len(leaked(pairs)) == len(images) == 112


def test_a_split_loses_leaked_pairs_with_a_warning_that_names_them(shared, caplog):
    data = shared / "data" / "flir" / "train"
    pairs = list_pairs(data / "ir", data / "vis", ("001", "002", "149", "150"))
    split = check(Split(pairs[:3], pairs[1:]))
    assert [pair.name for pair in split.train] == ["001", "002"]
    assert [pair.name for pair in split.validation] == ["002"]
    assert "149 (is roadscene/FLIR_08932)" in caplog.text
    assert "150 (is roadscene/FLIR_08954)" in caplog.text
    with pytest.raises(SettingsError, match="nothing is left to validate on"):
        check(Split(pairs[:2], pairs[2:]))
    with pytest.raises(SettingsError, match="nothing is left to train on"):
        check(Split(pairs[2:], pairs[:2]))
    clean = Split(pairs[:1], pairs[1:2])
    assert check(clean) is clean


def test_remembered_files_are_not_read_again_until_they_change(shared, tmp_path, monkeypatch):
    image = tmp_path / "1.jpg"
    shutil.copyfile(shared / "data" / "flir" / "train" / "ir" / "149.jpg", image)
    pairs, cache = [FilePair("a/1", image, image)], tmp_path / "cache" / "fingerprints.csv"
    assert leaked(pairs, cache) == [("a/1", "roadscene/FLIR_08932")]
    reads = []
    read = FilePair.read_infrared
    monkeypatch.setattr(FilePair, "read_infrared", lambda pair: reads.append(pair.name) or read(pair))
    assert leaked(pairs, cache) == [("a/1", "roadscene/FLIR_08932")]
    assert reads == []
    shutil.copyfile(shared / "data" / "flir" / "train" / "ir" / "001.jpg", image)
    assert leaked(pairs, cache) == []
    assert reads == ["a/1"]
    cache.write_bytes(b"\xff,no,cache\n\x00")
    assert leaked(pairs, cache) == []
    assert reads == ["a/1", "a/1"]


def test_a_place_where_nothing_can_be_remembered_only_warns(shared, tmp_path, caplog):
    (tmp_path / "file").touch()
    image = shared / "data" / "flir" / "train" / "ir" / "149.jpg"
    assert leaked([FilePair("a/1", image, image)], tmp_path / "file" / "cache.csv") != []
    assert "fingerprints are not remembered" in caplog.text


def test_rendered_pairs_are_not_rendered_and_unreadable_ones_not_fatal(tmp_path, monkeypatch):
    def refuse(_):
        raise AssertionError("rendered")

    monkeypatch.setattr(SyntheticPair, "read", refuse)
    (tmp_path / "1.png").touch()
    pairs = [*open_sets(["synthetic=0:3"])[0].found.pairs, FilePair("a/1", tmp_path / "1.png", tmp_path / "1.png")]
    assert leaked(pairs) == []


def test_the_shipped_list_holds_hashes_alone_and_the_command_writes_it_anew(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parser = argparse.ArgumentParser()
    held_out.add_commands(parser.add_subparsers())
    data, out = shared / "data", tmp_path / "held_out.csv"
    sources = [
        f"roadscene={data / 'roadscene'}",
        f"tno={data / 'tno'}",
        f"tno={data / 'tno21'}",
        f"msrs={data / 'msrs'}",
    ]
    options = parser.parse_args(["held-out", *sources, "--out", str(out)])
    options.run_command(options)
    assert out.read_text() == held_out.HELD_OUT.read_text()
    assert {len(image.fingerprint) * 8 for image in read_held_out(out)} == {fingerprints.BITS}
    out.write_text("set,name,fingerprint\nroadscene,1,abc\n")
    read_held_out.cache_clear()
    with pytest.raises(SettingsError, match="expected the columns set, name, fingerprint"):
        read_held_out(out)
    options = parser.parse_args(["held-out", f"folders={data / 'flir' / 'train'}", "--out", str(out)])
    with pytest.raises(SettingsError, match="none of these sets has a test part"):
        options.run_command(options)


def test_fingerprints_differ_in_as_many_bits_as_fields_change():
    ramp = np.tile(np.arange(17, dtype=np.uint8), (16, 1))  # each field brighter than its left neighbour
    turned = ramp.copy()
    turned[:5] = turned[:5, ::-1]  # in five rows none is: 5 x 16 bits
    codes = [fingerprints.fingerprint(image) for image in (ramp, turned)]
    assert fingerprints.distances(codes, codes).tolist() == [[0, 80], [80, 0]]
