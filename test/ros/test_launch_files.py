"""The launch files, against the real launch and launch_ros."""

from __future__ import annotations

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
