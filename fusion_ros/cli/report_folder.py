"""The folder that a report is written to: whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import FusionError
from ..evaluation.document import Sheet
from ..imaging import compressed_data

__all__ = ["write_report_folder"]


def write_report_folder(
    folder: Path, work: str, contents: Mapping[str, str | bytes], pictures: str, sheets: Sequence[Sheet]
) -> None:
    """Write everything beside what is there, then put it in place: an interruption leaves no half report.

    Args:
        folder: Of the report.
        work: Name of the folder in it that holds what is unfinished.
        contents: By name of the file.
        pictures: Name of the folder in it for pictures; an earlier one is replaced.
        sheets: Pictures.

    Raises:
        FusionError: It cannot be written.
    """
    drafts = folder / work / "report"
    try:
        (drafts / pictures).mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            # A file name of the user's may hold bytes that are no text.
            data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
            (drafts / name).write_bytes(data)
        for number, sheet in enumerate(sheets):
            name = f"{number:02d}_{_file_name(sheet.title)}.png"
            (drafts / pictures / name).write_bytes(compressed_data(sheet.image, "png"))
        shutil.rmtree(folder / pictures, ignore_errors=True)
        (drafts / pictures).replace(folder / pictures)
        for name in contents:
            (drafts / name).replace(folder / name)
    except OSError as error:
        raise FusionError(f"{folder}: the report cannot be written: {error.strerror}") from error


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", title).strip("_.")[:120]
