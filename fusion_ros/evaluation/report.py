"""An evaluation as one HTML page that needs nothing beside itself.

The page loads nothing from anywhere: styles, script, plots and pictures are inside, and its content security
policy keeps it so. Names of files and methods come from users and are escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from ..errors import FusionError
from .html import FOLDER, rendered
from .page import contents
from .ranking import worst_and_best
from .results import Evaluation, PictureKey, Thumbnails

__all__ = ["worst_and_best", "write_report"]


def write_report(evaluation: Evaluation, thumbnails: Mapping[PictureKey, Thumbnails], path: Path) -> None:
    """Write the report.

    Args:
        evaluation: What to show.
        thumbnails: Pictures by source, frame, method and condition; wanted are those of the frames that
            :func:`worst_and_best` names for each method. Where one is missing, only the figures are shown.
        path: HTML file to write; replaced if it exists.

    Raises:
        FusionError: Jinja2 or matplotlib is not installed, or the file cannot be written.
    """
    text = _render(evaluation, thumbnails)
    try:
        # A file name of the user's may hold bytes that are no text.
        path.write_bytes(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise FusionError(f"{path}: the report cannot be written: {error.strerror}") from error


def _render(evaluation: Evaluation, thumbnails: Mapping[PictureKey, Thumbnails]) -> str:
    script = (FOLDER / "report.js").read_text(encoding="utf-8")
    return rendered(
        "report.html.j2",
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **contents(evaluation, thumbnails),
    )
