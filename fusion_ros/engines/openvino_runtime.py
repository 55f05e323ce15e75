"""Imports OpenVINO without its usage reports, and starts it once.

Importing ``openvino`` sends an event to its maker, from a process that it forks for the purpose:
neither is welcome in a node with threads on a robot. OpenVINO does without its reporting package
where that is not installed, so during the import it looks as if it were not.
"""

from __future__ import annotations

import sys
from functools import cache

_REPORTING = "openvino_telemetry"

_hidden = _REPORTING not in sys.modules
if _hidden:
    sys.modules[_REPORTING] = None  # type: ignore[assignment] # how Python marks a module that must not be found
try:
    import openvino
    from openvino import opset13 as ops
finally:
    if _hidden:
        del sys.modules[_REPORTING]

__all__ = ["core", "openvino", "ops"]


@cache
def core() -> openvino.Core:
    """Return the process's one OpenVINO core.

    Where two of them overlap and the older one ends first, OpenVINO 2026.4 leaves a stack for signals behind that
    is no longer mapped, and the next signal (Ctrl-C, say) kills the process without a word.
    """
    return openvino.Core()
