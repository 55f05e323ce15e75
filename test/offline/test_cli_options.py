"""Options are the settings: same names, same checks, and the nearer source wins."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass

import pytest

from fusion_ros.cli.main import verb_parser
from fusion_ros.cli.options import add_settings, settings_from
from fusion_ros.errors import SettingsError
from fusion_ros.pipeline import FusionSettings
from fusion_ros.settings import Settings, setting
from fusion_ros.timing import PairingSettings


@dataclass(frozen=True)
class Inner(Settings):
    tolerance_ms: float = setting(20.0, "Largest difference.", unit="ms", bounds=(0.0, 100.0))
    strict: bool = setting(True, "Be strict.")


@dataclass(frozen=True)
class Outer(Settings):
    count: int = setting(3, "How many, 100% sure.", bounds=(0, None))
    mode: str = setting("fast", "Way to go.", choices=("fast", "good"))
    topics: tuple[str, ...] = setting((), "Names.", element=str)
    pairing: Inner = setting(Inner(), "Pairing.")


def parse(*words: str, prefix: str = "") -> Outer:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_settings(parser, Outer, prefix=prefix)
    return settings_from(parser.parse_args(words), Outer, prefix=prefix)


def test_without_options_the_defaults_hold():
    assert parse() == Outer()


def test_options_carry_dotted_names_and_every_type():
    settings = parse(
        "--pairing.tolerance_ms", "5", "--no-pairing.strict", "--topics", "/a", "/b", "--mode", "good"
    )
    assert settings == Outer(mode="good", topics=("/a", "/b"), pairing=Inner(5.0, False))
    assert parse("--pairing.strict").pairing.strict is True


def test_yaml_wins_over_defaults_and_options_over_yaml(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("count: 7\npairing:\n  tolerance_ms: 30\n  strict: false\n")
    settings = parse("--params", str(file), "--pairing.tolerance_ms", "40")
    assert settings == Outer(count=7, pairing=Inner(40.0, False))


def test_an_option_given_with_the_default_value_still_wins_over_yaml(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("fusion_node:\n  ros__parameters:\n    count: 7\n    pairing.strict: false\n")
    settings = parse("--params", str(file), "--count", "3", "--pairing.strict")
    assert settings == Outer()


def test_a_prefix_keeps_several_settings_classes_apart(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("world:\n  count: 7\nworld.mode: good\nother:\n  anything: 1\n")
    settings = parse("--params", str(file), "--world.pairing.tolerance_ms", "1", prefix="world")
    assert settings == Outer(count=7, mode="good", pairing=Inner(1.0))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--pairing.tolerance_ms", "500"], "pairing.tolerance_ms: expected 0 to 100 ms, got 500"),
        (["--mode", "god"], "did you mean 'good'"),
        (["--params", "/nowhere.yaml"], "no settings file at /nowhere.yaml"),
    ],
)
def test_values_are_checked_like_anywhere_else(words, reason):
    with pytest.raises(SettingsError, match=reason):
        parse(*words)


def test_an_unknown_yaml_key_names_the_nearest(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("pairing: {tolerence_ms: 3}")
    with pytest.raises(SettingsError, match=r"did you mean 'pairing\.tolerance_ms'"):
        parse("--params", str(file))


def test_the_help_tells_meaning_unit_bounds_default_and_choices(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    assert "--pairing.tolerance_ms FLOAT Largest difference. (0 to 100 ms; default: 20.0)" in text
    assert "--mode {fast,good} Way to go. (default: fast)" in text
    assert "--pairing.strict, --no-pairing.strict Be strict. (default: True)" in text
    assert "How many, 100% sure. (at least 0; default: 3)" in text
    assert "--topics [STR ...] Names. (default: none)" in text


def test_a_negative_number_may_have_an_exponent():
    words = [
        "--rgb",
        "a",
        "--thermal",
        "b",
        "--out",
        "c",
        "--alignment.homography",
        "1",
        "-2.97e-05",
        "-.5",
        "-1E3",
    ]
    args = verb_parser("fuse").parse_args([*words, "0", "0", "0", "0", "1"])
    assert vars(args)["alignment.homography"][1:4] == [-2.97e-05, -0.5, -1000.0]


def parse_verb(verb: str, *words: object) -> argparse.Namespace:
    required = {"fuse": ["--rgb", "a", "--thermal", "b"], "evaluate": ["--bag", "a"], "compare": []}[verb]
    return verb_parser(verb).parse_args([*required, "--out", "c", *map(str, words)])


def test_the_file_of_the_robot_serves_evaluate_with_its_pairing(repository, capsys):
    args = parse_verb("evaluate", "--params", repository / "config" / "fusion.yaml")
    assert settings_from(args, FusionSettings) == FusionSettings()
    assert settings_from(args, PairingSettings, prefix="pairing") == PairingSettings(timeout_ms=250.0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", ["fuse", "compare"])
def test_what_only_the_robot_can_use_is_named_once(repository, capsys, verb):
    args = parse_verb(verb, "--params", repository / "config" / "fusion.yaml")
    assert settings_from(args, FusionSettings) == FusionSettings()
    assert capsys.readouterr().err.count("config/fusion.yaml: not used here: pairing.timeout_ms\n") == 1


def test_every_parameter_of_the_fusion_node_may_stand_in_the_file(repository, tmp_path, capsys):
    table = (repository / "docs" / "parameters.md").read_text().split("## ")[1]
    assert table.startswith("fusion_node\n")
    names = re.findall(r"^\| `([\w.]+)`", table, re.MULTILINE)
    others = [name for name in names if name not in FusionSettings.describe()]
    assert {"pairing.timeout_ms", "input.width", "autostart"} < set(others)
    others += ["use_sim_time", "qos_overrides./parameter_events.publisher.depth"]
    file = tmp_path / "robot.yaml"
    lines = [f"    {name}: 1" for name in others]
    file.write_text("\n".join(["fusion_node:", "  ros__parameters:", "    output.scale: 0.5", *lines]))
    settings = settings_from(parse_verb("fuse", "--params", file), FusionSettings)
    assert settings == FusionSettings.from_mapping({"output.scale": 0.5})
    assert capsys.readouterr().err == f"fusion-ros: {file}: not used here: {', '.join(others)}\n"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("qos: {input_deph: 3}", "qos.input_depth"),
        ("output: {scael: 0.5}", "output.scale"),
        ("paring: {timeout_ms: 3}", "pairing.timeout_ms"),
    ],
)
@pytest.mark.parametrize("verb", ["fuse", "evaluate"])
def test_a_misspelt_parameter_of_the_robot_is_refused(tmp_path, verb, text, nearest):
    (tmp_path / "robot.yaml").write_text(text)
    with pytest.raises(SettingsError, match=f"unknown setting .* did you mean '{nearest}'"):
        settings_from(parse_verb(verb, "--params", tmp_path / "robot.yaml"), FusionSettings)


def test_a_misspelt_name_in_a_section_is_refused_by_the_class_of_the_section(tmp_path):
    (tmp_path / "robot.yaml").write_text("pairing: {timeot_ms: 3}")
    args = parse_verb("evaluate", "--params", tmp_path / "robot.yaml")
    assert settings_from(args, FusionSettings) == FusionSettings()
    with pytest.raises(SettingsError, match="did you mean 'timeout_ms'"):
        settings_from(args, PairingSettings, prefix="pairing")
