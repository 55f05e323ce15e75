"""Tracking: following targets over feature maps, whatever network or camera these come from."""

from __future__ import annotations

from .track import Box, Track, TrackStatus, clipped, overlap
from .tracker import Tracker, TrackerSettings
from .trackers import Trackers

__all__ = ["Box", "Track", "TrackStatus", "Tracker", "TrackerSettings", "Trackers", "clipped", "overlap"]
