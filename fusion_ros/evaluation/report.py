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
from .page import contents
from .ranking import worst_and_best
from .results import Evaluation, PictureKey, Thumbnails

__all__ = ["worst_and_best", "write_report"]

_FOLDER = Path(__file__).parent


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
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise FusionError("the report needs Jinja2, which is not installed: pip install jinja2") from error

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        style=(_FOLDER / "report.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **contents(evaluation, thumbnails),
    )
