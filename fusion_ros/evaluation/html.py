"""Templates as HTML pages that need nothing beside themselves."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from ..errors import FusionError

__all__ = ["FOLDER", "data_url", "rendered"]

FOLDER = Path(__file__).parent
"""Where the templates, their style and their script lie."""


def rendered(template: str, **contents: Any) -> str:
    """Return a page, the style inside it; what it shows is escaped, and nothing that it names may be missing.

    Raises:
        FusionError: Jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise FusionError("the report needs Jinja2, which is not installed: pip install jinja2") from error

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (FOLDER / "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **contents)


def data_url(data: bytes, kind: str) -> str:
    """Return an image file as a URL that holds it; ``kind`` is ``png`` or ``jpeg``."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
