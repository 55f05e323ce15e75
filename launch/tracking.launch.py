"""Follow a target: ``ros2 launch fusion_ros tracking.launch.py rgb:=/cam/image_raw initial_box:=300,180,40,90``.

Starts feature_node and tracker_node, and with ``synthetic:=true`` cameras that look at a synthetic street.
"""

import yaml
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node

from fusion_ros.ros.launching import declared, fusion_launch, room_for_images, shared_file

ARGUMENTS = {
    # name: (default, description)
    "rgb": ("rgb/image_raw", "RGB image topic; its camera_info is taken from beside it"),
    "thermal": ("thermal/image_raw", "Thermal image topic; its camera_info is taken from beside it"),
    "modality": (
        "",
        "What targets are followed in: fused, rgb or thermal; empty keeps what tracker_params_file says",
    ),
    "initial_box": ("", "The target in the first image: x,y,width,height in pixels; empty awaits it on ~/init"),
    "features": ("", "Model whose features are followed; empty keeps what params_file says, or the default"),
    "model": ("", "Model of a fused image beside the features; empty keeps what params_file says, or none"),
    "fused": ("fused/image", "Topic of that fused image"),
    "image": ("", "Topic of the image for tracks/image; empty: the fused image where model is given, else rgb"),
    "engine": ("", "What runs the network: auto, torch or openvino; empty keeps what params_file says"),
    "device": ("", "Device of the engine: auto, cpu, cuda or cuda:N; empty keeps what params_file says"),
    "namespace": ("", "Namespace of all nodes and relative topics"),
    "params_file": ("", "YAML file for feature_node; empty: config/fusion.yaml, or that of the synthetic cameras"),
    "tracker_params_file": ("", "YAML file for tracker_node; empty keeps the defaults"),
    "use_sim_time": ("", "true: take time from /clock, as in replay; empty keeps what the files say"),
    "synthetic": ("false", "true: start the synthetic cameras, too"),
    "rate": ("", "Frames a second of both synthetic cameras; empty keeps 30 and 25, which takes a fast machine"),
    "condition": ("day", "Light and weather of the synthetic street: day, night or smoke"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}
FORWARDED = (
    "rgb",
    "thermal",
    "fused",
    "features",
    "model",
    "engine",
    "device",
    "namespace",
    "use_sim_time",
    "log_level",
)


def generate_launch_description() -> LaunchDescription:
    """Describe the nodes with every argument declared."""
    return LaunchDescription([*declared(ARGUMENTS), room_for_images(), OpaqueFunction(function=nodes)])


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return feature_node, as fusion.launch.py starts it, tracker_node, and the cameras where they are wanted."""
    is_synthetic = IfCondition(LaunchConfiguration("synthetic")).evaluate(context)
    params_file = LaunchConfiguration("params_file").perform(context) or shared_file(
        "config", "synthetic.yaml" if is_synthetic else "fusion.yaml"
    )
    features = fusion_launch(FORWARDED, executable="feature_node", name="feature_node", params_file=params_file)
    return [*([cameras(context)] if is_synthetic else []), features, tracker_node(context)]


def cameras(context: LaunchContext) -> Node:
    """Return the synthetic cameras."""
    rate = LaunchConfiguration("rate").perform(context)
    rates = {f"world.{camera}_rate_hz": float(rate) for camera in ("rgb", "thermal")} if rate else {}
    return Node(
        package="fusion_ros",
        executable="synthetic_camera_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[{"world.condition": LaunchConfiguration("condition"), **rates}],
        remappings=[
            ("rgb/image_raw", LaunchConfiguration("rgb")),
            ("thermal/image_raw", LaunchConfiguration("thermal")),
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )


def tracker_node(context: LaunchContext) -> LifecycleNode:
    """Return the tracker; only arguments that were given win over its parameter file."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    parameters = {name: yaml.safe_load(given(name)) for name in ("modality", "use_sim_time") if given(name)}
    if given("initial_box"):
        parameters["initial_box"] = [float(number) for number in given("initial_box").strip("[] ").split(",")]
    is_fused = given("model") not in ("", "none")
    files = [given("tracker_params_file")] if given("tracker_params_file") else []
    return LifecycleNode(
        package="fusion_ros",
        executable="tracker_node",
        name="tracker_node",
        namespace=LaunchConfiguration("namespace"),
        output="screen",
        parameters=[*files, *([parameters] if parameters else [])],
        remappings=[("fused/image", given("image") or (given("fused") if is_fused else given("rgb")))],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
    )
