"""recorder_node's executable: live ROS topics into a new bag."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ..bags import STORAGES, BagWriter
from ..errors import SettingsError
from ..settings import setting


def node_main(args: list[str] | None = None) -> int:
    """Run recorder_node until it is interrupted; the bag is closed properly in any case."""
    from ..nodes.recorder_node import RecorderNode, RecorderSettings
    from ..nodes.spinning import run_node

    @dataclass(frozen=True)
    class Parameters(RecorderSettings):
        """All parameters of recorder_node."""

        out: str = setting("", "Folder of the new bag.", read_only=True)
        storage: str = setting("mcap", "Storage of the new bag.", choices=STORAGES, read_only=True)

    with ExitStack() as stack:

        def open_sink(node: Any) -> BagWriter:
            if not node.settings.out:
                raise SettingsError("out: expected the folder of the new bag, got nothing; set the parameter out")
            return stack.enter_context(BagWriter(node.settings.out, node.settings.storage))

        return run_node(lambda: RecorderNode(open_sink, Parameters), args)


if __name__ == "__main__":
    raise SystemExit(node_main())
