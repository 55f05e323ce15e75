"""Play a bag through fusion_node: ``ros2 launch fusion_ros replay.launch.py bag:=/data/street rgb:=/rgb/image``.

The player publishes /clock, and fusion_node lives by it. With ``record`` the fused topic goes into a new bag.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, EmitEvent, RegisterEventHandler, TimerAction
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from fusion_ros.ros.launching import declared, fusion_launch, room_for_images

ARGUMENTS = {
    "rate": ("1.0", "Playing speed relative to the recording"),
    "loop": ("false", "Start over at the end of the bag"),
    "start_offset": ("0.0", "Seconds of the bag to skip"),
    "record": ("", "Folder of a new MCAP bag for the fused topic; empty records nothing"),
    "rgb": ("/rgb/image_raw", "RGB image topic in the bag"),
    "thermal": ("/thermal/image_raw", "Thermal image topic in the bag"),
    "fused": ("fused/image", "Topic of the fused image"),
    "model": ("", "Name of a shipped model, or path of a model folder; empty keeps the default"),
    "engine": ("", "What runs the network: auto, torch or openvino; empty keeps the default"),
    "device": ("", "Device of the engine: auto, cpu, cuda or cuda:N; empty keeps the default"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
}
FORWARDED = ("rgb", "thermal", "fused", "model", "engine", "device", "log_level")
# Time, after the last frame, for what is still on its way.
DRAIN_S = 2.0


def generate_launch_description() -> LaunchDescription:
    """Describe the player, the fusion node and the optional recorder; all end with the bag."""
    bag = DeclareLaunchArgument("bag", description="Bag to play: rosbag2 (sqlite3, mcap) or rosbag1")
    player = Node(
        package="fusion_ros",
        executable="bag_player_node",
        output="screen",
        parameters=[
            {
                "bag": ParameterValue(LaunchConfiguration("bag"), value_type=str),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=bool),
                "start_offset_s": ParameterValue(LaunchConfiguration("start_offset"), value_type=float),
                "clock_hz": 100.0,
                "wait_for_subscribers_s": 5.0,
            }
        ],
    )
    recorder = Node(
        package="fusion_ros",
        executable="recorder_node",
        output="screen",
        condition=IfCondition(PythonExpression(["'", LaunchConfiguration("record"), "' != ''"])),
        parameters=[{"out": ParameterValue(LaunchConfiguration("record"), value_type=str)}],
        remappings=[("fused/image", LaunchConfiguration("fused"))],
    )
    fusion = fusion_launch(FORWARDED, use_sim_time="true")
    end = RegisterEventHandler(
        OnProcessExit(
            target_action=player,
            on_exit=[TimerAction(period=DRAIN_S, actions=[EmitEvent(event=Shutdown(reason="the bag has ended"))])],
        )
    )
    return LaunchDescription([bag, *declared(ARGUMENTS), room_for_images(), fusion, recorder, player, end])
