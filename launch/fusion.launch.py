"""Start fusion_node: ``ros2 launch fusion_ros fusion.launch.py rgb:=/cam/image_raw thermal:=/boson/image_raw``."""

import yaml
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from fusion_ros.ros.launching import declared, shared_file

# Argument -> the parameter that it sets.
PARAMETERS = {
    "model": "model",
    "features": "features.model",
    "engine": "engine.name",
    "device": "engine.device",
    "use_sim_time": "use_sim_time",
}
ARGUMENTS = {
    # name: (default, description)
    "rgb": ("rgb/image_raw", "RGB image topic; its camera_info is taken from beside it"),
    "thermal": ("thermal/image_raw", "Thermal image topic; its camera_info is taken from beside it"),
    "fused": ("fused/image", "Topic of the fused image"),
    "namespace": ("", "Namespace of the node and of its relative topics"),
    "executable": ("fusion_node", "fusion_node, or feature_node for fused features without a fused image"),
    "name": ("fusion_node", "Name of the node"),
    "model": ("", "Name of a shipped model, or path of a model folder; empty keeps what params_file says"),
    "features": ("", "Model whose feature maps are offered, likewise; empty keeps what params_file says"),
    "engine": ("", "What runs the network: auto, torch or openvino; empty keeps what params_file says"),
    "device": ("", "Device of the engine: auto, cpu, cuda or cuda:N; empty keeps what params_file says"),
    "use_sim_time": (
        "",
        "true: take time from /clock, as in replay; empty keeps what params_file says",
    ),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def generate_launch_description() -> LaunchDescription:
    """Describe the node with every argument declared."""
    params_file = DeclareLaunchArgument(
        "params_file",
        default_value=shared_file("config", "fusion.yaml"),
        description="YAML file whose values override the built-in defaults",
    )
    return LaunchDescription([*declared(ARGUMENTS), params_file, OpaqueFunction(function=fusion_node)])


def fusion_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node; only arguments that were given win over the parameter file."""
    given = {name: LaunchConfiguration(name).perform(context) for name in PARAMETERS}
    parameters = {PARAMETERS[name]: yaml.safe_load(value) for name, value in given.items() if value}
    node = LifecycleNode(
        package="fusion_ros",
        executable=LaunchConfiguration("executable"),
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            *([parameters] if parameters else []),
        ],
        remappings=[
            ("rgb/image_raw", LaunchConfiguration("rgb")),
            ("thermal/image_raw", LaunchConfiguration("thermal")),
            ("fused/image", LaunchConfiguration("fused")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    return [node]
