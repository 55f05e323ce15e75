"""``fusion-ros run``: the nodes of a YAML file, for machines without ``ros2 launch``."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from ..errors import SettingsError, nearest_name
from ..settings import load_yaml
from .processes import Processes, node_command

HELP = "start the nodes that a YAML file lists, without ros2 launch"
EXAMPLES = """
  fusion-ros run street.yaml

street.yaml:
  nodes:
    - executable: synthetic_camera_node
      parameters: {world.condition: night}
    - executable: fusion_node
      name: fusion
      namespace: /robot
      remap: {rgb/image_raw: /rgb/image_raw, thermal/image_raw: /thermal/image_raw}
      params_file: config/synthetic.yaml
      parameters: {pairing.tolerance_ms: 30.0}
"""
_KEYS = ("executable", "name", "namespace", "remap", "parameters", "params_file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the file."""
    parser.add_argument("file", type=Path, help="YAML file with a list under 'nodes'")


def main(args: argparse.Namespace) -> int:
    """Start all nodes; when one ends or on Ctrl-C, end the others. Return the first failure's exit code."""
    commands = node_commands(load_yaml(args.file), str(args.file))
    with Processes() as processes:
        for name, command in commands.items():
            processes.start(name, command)
        while not (ended := processes.ended()):
            time.sleep(0.1)
    return next((code for code in ended.values() if code), 0)


def node_commands(content: dict[str, Any], source: str) -> dict[str, list[str]]:
    """Return a label -> command line for each node of the file.

    Raises:
        SettingsError: The file is not of the form that the verb's help shows.
    """
    nodes = content.get("nodes")
    if not isinstance(nodes, list) or not nodes:
        raise SettingsError(f"{source}: expected a list under 'nodes', got {nodes!r}")
    return {f"{index}:{entry_name(entry)}": _command(entry, source) for index, entry in enumerate(nodes, 1)}


def entry_name(entry: Any) -> str:
    """Return what to call a node of the file in messages."""
    return str(entry.get("name") or entry.get("executable")) if isinstance(entry, dict) else repr(entry)


def _command(entry: Any, source: str) -> list[str]:
    if not isinstance(entry, dict) or "executable" not in entry:
        raise SettingsError(f"{source}: expected a mapping with 'executable' for each node, got {entry!r}")
    for key in entry:
        if key not in _KEYS:
            raise SettingsError(f"{source}: unknown key {key!r} of a node; {nearest_name(key, _KEYS)}")
    ros = []
    if "name" in entry:
        ros += ["-r", f"__node:={entry['name']}"]
    if "namespace" in entry:
        ros += ["-r", f"__ns:={entry['namespace']}"]
    for old, new in (entry.get("remap") or {}).items():
        ros += ["-r", f"{old}:={new}"]
    if "params_file" in entry:
        ros += ["--params-file", str(entry["params_file"])]
    return node_command(entry["executable"], entry.get("parameters"), *ros)
