"""The folder that a report is written to: whole or not at all."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import FusionError
from ..evaluation.document import Sheet
from ..imaging import compressed_data
from .sinks import refuse_existing

__all__ = ["ReportFolder", "write_contents"]


@dataclass(frozen=True)
class ReportFolder:
    """Where a report goes, and where what is unfinished waits until then.

    Attributes:
        path: Of the report.
        reports: Names of the files in it by which a report is known.
        unfinished: Name of the folder in it that holds what is unfinished.
    """

    path: Path
    reports: Sequence[str]
    unfinished: str

    @property
    def work(self) -> Path:
        """The folder that holds what is unfinished."""
        return self.path / self.unfinished

    def refuse_finished(self, overwrite: bool) -> None:
        """Raise :class:`ImageError` where a report is there that may not be overwritten.

        One that was being written when it was interrupted is none.
        """
        is_finished = any((self.path / name).exists() for name in self.reports) and not self.work.exists()
        refuse_existing(self.path, is_finished, overwrite)

    def clear_work(self) -> None:
        """Remove what is unfinished."""
        shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def drafts(self, names: Sequence[str]) -> Iterator[Path]:
        """Give a folder to write everything to, then put it in place: an interruption leaves no half report.

        What is unfinished is removed at the end, and stays where the report cannot be written.

        Args:
            names: Of the files and folders that are to be written, in the order in which they are put in place;
                earlier ones are replaced.

        Raises:
            FusionError: It cannot be written.
        """
        drafts = self.work / "report"
        try:
            drafts.mkdir(parents=True, exist_ok=True)
            yield drafts
            for name in names:
                if (drafts / name).is_dir():  # a folder takes the place of no other, unless that is empty
                    shutil.rmtree(self.path / name, ignore_errors=True)
                (drafts / name).replace(self.path / name)
        except OSError as error:
            raise FusionError(f"{self.path}: the report cannot be written: {error.strerror}") from error
        self.clear_work()

    def write(self, contents: Mapping[str, str | bytes], pictures: str, sheets: Sequence[Sheet]) -> None:
        """Write a report of files and pictures; see :meth:`drafts`.

        Args:
            contents: By name of the file.
            pictures: Name of the folder in it for pictures; an earlier one is replaced.
            sheets: Pictures.

        Raises:
            FusionError: It cannot be written.
        """
        with self.drafts([pictures, *contents]) as drafts:
            (drafts / pictures).mkdir(exist_ok=True)
            write_contents(drafts, contents)
            for number, sheet in enumerate(sheets):
                name = f"{number:02d}_{_file_name(sheet.title)}.png"
                (drafts / pictures / name).write_bytes(compressed_data(sheet.image, "png"))


def write_contents(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write files, given by name.

    Raises:
        OSError: One cannot be written.
    """
    for name, content in contents.items():
        # A file name of the user's may hold bytes that are no text.
        data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
        (folder / name).write_bytes(data)


def _file_name(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "_", title).strip("_.")[:120]
