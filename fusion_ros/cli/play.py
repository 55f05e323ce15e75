"""``fusion-ros play``: a bag onto live ROS topics."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from ..bags import BagReader, Replay, ReplaySettings
from ..errors import SettingsError
from ..settings import setting
from .options import add_settings, settings_from

HELP = "play a bag onto live ROS topics, whatever its format"
EXAMPLES = """
  fusion-ros play drive/
  fusion-ros play drive.bag --rate 0.5 --loop
  fusion-ros play cut.mcap --salvage
  fusion-ros play drive.mcap --start_offset_s 30 --clock_hz 100
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the bag and the replay's settings."""
    parser.add_argument("bag", help="rosbag2 folder, .mcap, .db3 or rosbag1 .bag")
    parser.add_argument("--salvage", action="store_true", help="play a damaged recording as far as it goes")
    add_settings(parser, ReplaySettings)


def main(args: argparse.Namespace) -> int:
    """Play until the bag ends or Ctrl-C."""
    values = {"bag": args.bag, "salvage": args.salvage, **settings_from(args, ReplaySettings).flat()}
    return node_main(overrides=values)


def node_main(args: list[str] | None = None, overrides: dict[str, Any] | None = None) -> int:
    """Run bag_player_node; ``overrides`` are parameter values that win over ROS arguments."""
    from rclpy.parameter import Parameter

    from ..nodes.bag_player_node import BagPlayerNode, PlayerSettings
    from ..nodes.spinning import run_node

    @dataclass(frozen=True)
    class Parameters(PlayerSettings, ReplaySettings):
        """All parameters of bag_player_node."""

        bag: str = setting("", "Bag to play: rosbag2 folder, .mcap, .db3 or rosbag1 .bag.", read_only=True)
        salvage: bool = setting(False, "Play a damaged recording as far as it goes.", read_only=True)

    def open_replay(node: Any) -> Replay:
        if not node.settings.bag:
            raise SettingsError("bag: expected the path of a bag, got nothing; set the parameter bag")
        names = ReplaySettings.describe()
        settings = ReplaySettings.from_mapping({name: getattr(node.settings, name) for name in names})
        return Replay(BagReader(node.settings.bag, salvage=node.settings.salvage), settings)

    chosen = [
        Parameter(name, value=list(v) if isinstance(v, tuple) else v)
        for name, v in (overrides or {}).items()
        if v != ()
    ]
    return run_node(lambda: BagPlayerNode(open_replay, Parameters, parameter_overrides=chosen), args)


if __name__ == "__main__":
    raise SystemExit(node_main())
