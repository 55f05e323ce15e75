"""Start synthetic cameras and fusion_node: ``ros2 launch fusion_ros demo.launch.py condition:=night``."""

import os

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    "condition": ("night", "Light and weather of the synthetic street: day, night or smoke"),
    "model": ("", "Name of a shipped model, or path of a model folder; empty keeps the default"),
    "engine": ("", "What runs the network: auto, torch or openvino; empty keeps the default"),
    "device": ("", "Device of the engine: auto, cpu, cuda or cuda:N; empty keeps the default"),
    "namespace": ("", "Namespace of all nodes and relative topics"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}

FORWARDED = ("model", "engine", "device", "namespace", "log_level")


def generate_launch_description() -> LaunchDescription:
    """Describe the two nodes."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    cameras = Node(
        package="fusion_ros",
        executable="synthetic_camera_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[{"world.condition": ParameterValue(LaunchConfiguration("condition"), value_type=str)}],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    fusion = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            PathJoinSubstitution([FindPackageShare("fusion_ros"), "launch", "fusion.launch.py"])
        ),
        launch_arguments={
            "params_file": PathJoinSubstitution([FindPackageShare("fusion_ros"), "config", "synthetic.yaml"]),
            **{name: LaunchConfiguration(name) for name in FORWARDED},
        }.items(),
    )
    return LaunchDescription([*arguments, room_for_images(), cameras, fusion])


def room_for_images() -> SetEnvironmentVariable:
    """Give Fast DDS shared memory that holds colour images; Kilted renamed the variable."""
    older = os.environ.get("ROS_DISTRO", "jazzy") in ("humble", "jazzy")
    name = "FASTRTPS_DEFAULT_PROFILES_FILE" if older else "FASTDDS_DEFAULT_PROFILES_FILE"
    profile = PathJoinSubstitution([FindPackageShare("fusion_ros"), "config", "fastdds.xml"])
    return SetEnvironmentVariable(name, profile)
