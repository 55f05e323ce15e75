"""What the launch files have in common; nothing else imports this, for it needs launch and launch_ros."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from .dds import profiles_variable

__all__ = ["declared", "fusion_launch", "room_for_images", "shared_file"]


def declared(arguments: Mapping[str, tuple[str, str]]) -> list[DeclareLaunchArgument]:
    """Return the declarations of arguments, given name -> (default, description)."""
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]


def shared_file(*parts: str) -> PathJoinSubstitution:
    """Return the path of a file in the share folder, such as ``shared_file("config", "fusion.yaml")``."""
    return PathJoinSubstitution([FindPackageShare("fusion_ros"), *parts])


def fusion_launch(forwarded: Iterable[str], **given: Any) -> IncludeLaunchDescription:
    """Return what fusion.launch.py describes.

    Args:
        forwarded: Arguments that it is given as the including file was given them.
        given: Arguments of its own, by name.
    """
    arguments = {**given, **{name: LaunchConfiguration(name) for name in forwarded}}
    source = PythonLaunchDescriptionSource(shared_file("launch", "fusion.launch.py"))
    return IncludeLaunchDescription(source, launch_arguments=arguments.items())


def room_for_images() -> SetEnvironmentVariable:
    """Give Fast DDS shared memory that holds colour images and feature maps."""
    return SetEnvironmentVariable(profiles_variable(), shared_file("config", "fastdds.xml"))
