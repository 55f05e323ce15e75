"""Settings: what a user may write, and what is refused with a way out."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fusion_ros.errors import FusionError, SettingsError
from fusion_ros.settings import Settings, load_yaml, markdown_table, parse_assignments, setting


@dataclass(frozen=True)
class Inner(Settings):
    tolerance_ms: float = setting(20.0, "Largest difference.", unit="ms", bounds=(0.0, 1000.0))
    policy: str = setting("nearest", "How to match.", choices=("nearest", "first"))


@dataclass(frozen=True)
class Outer(Settings):
    inner: Inner = setting(Inner(), "Matching.")
    queue: int = setting(5, "Frames kept.", bounds=(1, None), read_only=True)
    homography: tuple[float, ...] = setting((), "Nine numbers.", element=float)

    def check(self) -> None:
        if len(self.homography) not in (0, 9):
            raise SettingsError(f"homography: expected 9 numbers, got {len(self.homography)}")


def test_dotted_and_nested_spellings_mean_the_same():
    dotted = Outer.from_mapping({"inner.tolerance_ms": 5.0, "queue": 2})
    nested = Outer.from_mapping({"inner": {"tolerance_ms": 5.0}, "queue": 2})
    assert dotted == nested == Outer(Inner(tolerance_ms=5.0), queue=2)


def test_an_update_keeps_what_it_does_not_name():
    changed = Outer(Inner(tolerance_ms=5.0)).updated({"inner.policy": "first"})
    assert changed.inner == Inner(5.0, "first")


def test_an_integer_is_welcome_where_a_real_number_is_meant():
    assert Outer.from_mapping({"inner.tolerance_ms": 7}).inner.tolerance_ms == 7.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"iner.tolerance_ms": 5.0}, "did you mean 'inner.tolerance_ms'"),
        ({"gain": 5.0}, "known names: homography, inner.policy"),
        ({"inner.tolerance_ms": -1.0}, r"inner\.tolerance_ms: expected 0 to 1000 ms, got -1.0"),
        ({"inner.tolerance_ms": float("nan")}, "expected a finite number"),
        ({"inner.tolerance_ms": "5"}, "expected float, got str '5'"),
        ({"inner.policy": "nearst"}, "did you mean 'nearest'"),
        ({"queue": 0}, "queue: expected at least 1, got 0"),
        ({"queue": True}, "expected int, got bool"),
        ({"homography": 1.0}, "expected a list of float"),
        ({"homography": [1.0, 2.0]}, "expected 9 numbers, got 2"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(values, message):
    with pytest.raises(SettingsError, match=message):
        Outer.from_mapping(values)


def test_direct_construction_is_checked_like_a_file():
    with pytest.raises(FusionError, match="expected 0 to 1000"):
        Inner(tolerance_ms=2000.0)
    with pytest.raises(SettingsError, match="expected Inner"):
        replace(Outer(), inner=Outer())


def test_the_flat_form_rebuilds_the_settings():
    settings = Outer(Inner(3.0, "first"), 7, tuple(range(9)))
    assert Outer.from_mapping(settings.flat()) == settings


def test_plain_and_ros_yaml_are_both_read(tmp_path):
    plain, ros = tmp_path / "plain.yaml", tmp_path / "ros.yaml"
    plain.write_text("inner: {tolerance_ms: 5}\nqueue: 2\n")
    ros.write_text("/**:\n  ros__parameters:\n    inner.tolerance_ms: 5\nfusion:\n  ros__parameters: {queue: 2}\n")
    assert Outer.from_mapping(load_yaml(plain)) == Outer.from_mapping(load_yaml(ros)) == Outer(Inner(5.0), 2)


@pytest.mark.parametrize(("text", "message"), [("[1, 2]", "expected a mapping"), ("a: [", "not valid YAML")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text, message):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        load_yaml(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.yaml"):
        load_yaml(tmp_path / "absent.yaml")


def test_the_table_for_the_documentation_says_all_there_is():
    table = markdown_table(Outer)
    assert "| `inner.tolerance_ms` | float | `20.0` | 0 to 1000 ms | Largest difference. (ms) |" in table
    assert "| `queue` | int | `5` | at least 1 | Frames kept. Fixed once configured. |" in table


def test_settings_are_read_from_one_text():
    assert parse_assignments(" blocks=4, fusion = l1,nest=false , gain=0.5,") == {
        "blocks": 4,
        "fusion": "l1",
        "nest": False,
        "gain": 0.5,
    }
    assert parse_assignments("") == {}


@pytest.mark.parametrize("text", ["blocks", "=4", "blocks=", "blocks=[1", "blocks={a: 1}", "a=1,,b"])
def test_what_is_no_assignment_is_refused(text):
    with pytest.raises(SettingsError, match="expected name=value, such as blocks=4, got"):
        parse_assignments(text)


def test_a_name_that_comes_twice_is_refused():
    with pytest.raises(SettingsError, match="blocks is set twice, to 4 and to 5"):
        parse_assignments("blocks=4,blocks=5")


def test_a_folder_and_a_binary_file_are_no_settings(tmp_path):
    with pytest.raises(SettingsError, match="expected a YAML file, got a folder"):
        load_yaml(tmp_path)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(SettingsError, match="is not valid YAML"):
        load_yaml(tmp_path / "picture.png")
