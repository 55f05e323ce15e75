"""Fast DDS and large messages: how it is told of config/fastdds.xml, which gives it room for them."""

from __future__ import annotations

import os

__all__ = ["profiles_variable"]

_BEFORE_KILTED = ("humble", "jazzy")


def profiles_variable() -> str:
    """Return the environment variable that names the file of profiles to the Fast DDS of this distribution.

    Kilted renamed it and warns about the old name.
    """
    is_older = os.environ.get("ROS_DISTRO", "jazzy") in _BEFORE_KILTED
    return "FASTRTPS_DEFAULT_PROFILES_FILE" if is_older else "FASTDDS_DEFAULT_PROFILES_FILE"
