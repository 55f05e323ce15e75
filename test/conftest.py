"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FUSION_ROS_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of third-party images and reference arrays, which are not ours to distribute."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference data folder (absent: {SHARED}; set FUSION_ROS_SHARED)")
    return SHARED
