"""Start synthetic cameras and fusion_node: ``ros2 launch fusion_ros demo.launch.py condition:=night``."""

from launch import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from fusion_ros.ros.launching import declared, fusion_launch, room_for_images, shared_file

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
    cameras = Node(
        package="fusion_ros",
        executable="synthetic_camera_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[{"world.condition": ParameterValue(LaunchConfiguration("condition"), value_type=str)}],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    fusion = fusion_launch(FORWARDED, params_file=shared_file("config", "synthetic.yaml"))
    return LaunchDescription([*declared(ARGUMENTS), room_for_images(), cameras, fusion])
