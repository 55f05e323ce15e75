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


@pytest.mark.parametrize("name", FILES)
def test_every_argument_that_is_used_is_declared(repository, name):
    """Holds without ROS, too: launch itself finds this out only when somebody starts the file."""
    tree = ast.parse((repository / "launch" / name).read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    def first_strings(function: str) -> set[str]:
        named = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == function and c.args]
        return {c.args[0].value for c in named if isinstance(c.args[0], ast.Constant)}

    (table,) = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "ARGUMENTS"
    ]
    declared = {key.value for key in table.keys} | first_strings("DeclareLaunchArgument")
    assert first_strings("LaunchConfiguration") <= declared
    assert FILES[name] <= declared


def test_the_synthetic_rigs_parameter_file_is_its_homography(repository):
    from fusion_ros.settings import load_yaml
    from fusion_ros.synthetic import SyntheticWorld

    values = load_yaml(repository / "config" / "synthetic.yaml")
    expected = SyntheticWorld().rig.homography(12.0).ravel()
    assert values["alignment.homography"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
