"""Imports OpenVINO without its usage reports.

Importing ``openvino`` sends an event to its maker, from a process that it forks for the purpose:
neither is welcome in a node with threads on a robot. OpenVINO does without its reporting package
where that is not installed, so during the import it looks as if it were not.
"""

from __future__ import annotations

import sys

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

__all__ = ["openvino", "ops"]
