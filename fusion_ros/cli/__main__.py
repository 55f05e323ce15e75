"""``python -m fusion_ros.cli`` is ``fusion-ros``."""

from __future__ import annotations

import sys

from .main import main

sys.exit(main())
