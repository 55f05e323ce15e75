"""Quality of service, chosen by parameters.

A reliable subscription gets nothing from a best-effort publisher, and large best-effort images can
vanish in a small shared-memory segment (see ``config/fastdds.xml``). So inputs default to best
effort, which matches every publisher, and outputs to reliable, which serves every subscriber.
"""

from __future__ import annotations

from dataclasses import dataclass

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from ..settings import Settings, setting

__all__ = ["QosSettings", "latched", "overriding", "profile"]


@dataclass(frozen=True)
class QosSettings(Settings):
    """Reliability and queue depth of the image topics."""

    input_reliability: str = setting(
        "best_effort",
        "Reliability of the image subscriptions; best_effort is compatible with every publisher.",
        choices=("best_effort", "reliable"),
        read_only=True,
    )
    input_depth: int = setting(2, "Queue depth of the image subscriptions.", bounds=(1, 100), read_only=True)
    output_reliability: str = setting(
        "reliable",
        "Reliability of the image publishers; reliable serves every subscriber.",
        choices=("best_effort", "reliable"),
        read_only=True,
    )
    output_depth: int = setting(2, "Queue depth of the image publishers.", bounds=(1, 100), read_only=True)


def profile(reliability: str, depth: int) -> QoSProfile:
    """Return a keep-last, volatile profile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy[reliability.upper()]
    )


def latched() -> QoSProfile:
    """Return a profile whose last message reaches late subscribers."""
    return QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def overriding() -> QoSOverridingOptions:
    """Let ``qos_overrides.<topic>.*`` parameters change a topic's profile."""
    return QoSOverridingOptions.with_default_policies()
