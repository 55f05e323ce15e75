"""The launch files, against the real launch and launch_ros."""

from __future__ import annotations

import ast
import importlib.util
import runpy

import pytest

FILES = {
    "fusion.launch.py": {"rgb", "thermal", "namespace", "params_file", "model", "engine", "device", "use_sim_time",
                         "log_level"},
    "demo.launch.py": {"condition", "model", "engine", "device", "namespace", "log_level"},
    "replay.launch.py": {"bag", "rate", "loop", "start_offset", "record", "rgb", "thermal"},
    "tracking.launch.py": {"rgb", "thermal", "features", "modality", "initial_box", "namespace", "params_file",
                           "tracker_params_file", "use_sim_time", "synthetic", "log_level"},
}  # fmt: skip

needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None,
    reason="needs launch and launch_ros, which come with a ROS distribution and not from PyPI",
)


@needs_launch
@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_declared_with_a_description(repository, name):
    from launch.actions import DeclareLaunchArgument

    description = runpy.run_path(str(repository / "launch" / name))["generate_launch_description"]()
    declared = {e.name: e for e in description.entities if isinstance(e, DeclareLaunchArgument)}
    assert set(declared) >= FILES[name]
    for argument in declared.values():
        assert len(argument.description) > 10, argument.name


def test_the_shipped_parameter_files_are_accepted(repository):
    from fusion_ros.nodes.fusion_node import FusionNodeSettings
    from fusion_ros.settings import load_yaml

    files = sorted((repository / "config").glob("*.yaml"))
    assert files
    for file in files:
        FusionNodeSettings.from_mapping(load_yaml(file))


def _assigned(tree: ast.Module, name: str) -> ast.expr:
    (value,) = [n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == name]
    return value


@pytest.mark.parametrize("name", FILES)
def test_every_argument_that_is_used_is_declared(repository, name):
    """Holds without ROS, too: launch itself finds this out only when somebody starts the file."""
    tree = ast.parse((repository / "launch" / name).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    def first_strings(function: str) -> set[str]:
        named = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == function and c.args]
        return {c.args[0].value for c in named if isinstance(c.args[0], ast.Constant)}

    table = _assigned(tree, "ARGUMENTS")
    declared = {key.value for key in table.keys} | first_strings("DeclareLaunchArgument")
    assert first_strings("LaunchConfiguration") <= declared
    assert FILES[name] <= declared


@pytest.mark.parametrize("name", ["demo.launch.py", "replay.launch.py", "tracking.launch.py"])
def test_what_is_forwarded_to_the_fusion_launch_file_is_declared_there(repository, name):
    """launch hands on what the included file does not know, without a word."""
    trees = {n: ast.parse((repository / "launch" / n).read_text()) for n in (name, "fusion.launch.py")}
    forwarded = set(ast.literal_eval(_assigned(trees[name], "FORWARDED")))
    assert forwarded <= set(ast.literal_eval(_assigned(trees["fusion.launch.py"], "ARGUMENTS")))
    own = set(ast.literal_eval(_assigned(trees[name], "ARGUMENTS")))
    assert forwarded <= own


@needs_launch
@pytest.mark.parametrize(
    ("given", "parameters", "image"),
    [
        ({}, {}, "rgb/image_raw"),
        (
            {"modality": "thermal", "initial_box": "300,180,40,90", "use_sim_time": "true"},
            {"modality": "thermal", "initial_box": [300.0, 180.0, 40.0, 90.0], "use_sim_time": True},
            "rgb/image_raw",
        ),
        (
            {"initial_box": "[1, 2, 3.5, 4]", "model": "reconet"},
            {"initial_box": [1.0, 2.0, 3.5, 4.0]},
            "fused/image",
        ),
        ({"model": "none"}, {}, "rgb/image_raw"),
        ({"image": "/other/image", "rgb": "/cam/image_raw"}, {}, "/other/image"),
        ({"rgb": "/cam/image_raw"}, {}, "/cam/image_raw"),
    ],
)
def test_the_tracker_gets_what_the_arguments_say(repository, monkeypatch, given, parameters, image):
    from launch import LaunchContext

    from fusion_ros.nodes.tracker_node import TrackerNodeSettings

    file = runpy.run_path(str(repository / "launch" / "tracking.launch.py"))
    context = LaunchContext()
    defaults = {name: default for name, (default, _) in file["ARGUMENTS"].items()}
    context.launch_configurations.update(defaults | given)
    monkeypatch.setitem(file["tracker_node"].__globals__, "LifecycleNode", lambda **described: described)
    node = file["tracker_node"](context)
    assert node["parameters"] == ([parameters] if parameters else [])
    assert node["remappings"] == [("fused/image", image)]
    TrackerNodeSettings.from_mapping({n: v for n, v in parameters.items() if n != "use_sim_time"})


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [
        ("humble", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"),
        ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE"),
        ("rolling", "FASTDDS_DEFAULT_PROFILES_FILE"),
    ],
)
def test_fast_dds_is_given_room_by_the_variable_that_the_distribution_knows(monkeypatch, distribution, variable):
    from fusion_ros.cli.processes import isolated_environment
    from fusion_ros.ros.dds import profiles_variable

    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    assert profiles_variable() == variable
    given = {name: path for name, path in isolated_environment().items() if name.endswith("_PROFILES_FILE")}
    assert list(given) == [variable]
    assert given[variable].endswith("config/fastdds.xml")


def test_the_synthetic_rigs_parameter_file_is_its_homography(repository):
    from fusion_ros.settings import load_yaml
    from fusion_ros.synthetic import SyntheticWorld

    values = load_yaml(repository / "config" / "synthetic.yaml")
    expected = SyntheticWorld().rig.homography(12.0).ravel()
    assert values["alignment.homography"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
