"""Start fusion_node: ``ros2 launch fusion_ros fusion.launch.py rgb:=/cam/image_raw thermal:=/boson/image_raw``."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import LifecycleNode
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

ARGUMENTS = {
    # name: (default, description)
    "rgb": ("rgb/image_raw", "RGB image topic; its camera_info is taken from beside it"),
    "thermal": ("thermal/image_raw", "Thermal image topic; its camera_info is taken from beside it"),
    "fused": ("fused/image", "Topic of the fused image"),
    "namespace": ("", "Namespace of the node and of its relative topics"),
    "name": ("fusion_node", "Name of the node"),
    "model": ("reconet", "Name of a shipped model, or path of a model folder"),
    "engine": ("auto", "What runs the network: auto, torch or openvino"),
    "device": ("auto", "Device of the engine: auto, cpu, cuda or cuda:N"),
    "use_sim_time": ("false", "Take time from /clock, as when a bag is played"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}


def generate_launch_description() -> LaunchDescription:
    """Describe the node with every argument declared."""
    share = FindPackageShare("fusion_ros")
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    arguments.append(
        DeclareLaunchArgument(
            "params_file",
            default_value=PathJoinSubstitution([share, "config", "fusion.yaml"]),
            description="YAML file whose values override the built-in defaults",
        )
    )
    node = LifecycleNode(
        package="fusion_ros",
        executable="fusion_node",
        name=LaunchConfiguration("name"),
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "model": ParameterValue(LaunchConfiguration("model"), value_type=str),
                "engine.name": ParameterValue(LaunchConfiguration("engine"), value_type=str),
                "engine.device": ParameterValue(LaunchConfiguration("device"), value_type=str),
                "use_sim_time": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool),
            },
        ],
        remappings=[
            ("rgb/image_raw", LaunchConfiguration("rgb")),
            ("rgb/camera_info", sibling_camera_info("rgb")),
            ("thermal/image_raw", LaunchConfiguration("thermal")),
            ("thermal/camera_info", sibling_camera_info("thermal")),
            ("fused/image", LaunchConfiguration("fused")),
            ("fused/camera_info", sibling_camera_info("fused")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
    return LaunchDescription([*arguments, node])


def sibling_camera_info(argument: str) -> PythonExpression:
    """Return the camera_info topic beside an image topic, as image_transport derives it."""
    return PythonExpression(["'", LaunchConfiguration(argument), "'.rpartition('/')[0] + '/camera_info'"])
