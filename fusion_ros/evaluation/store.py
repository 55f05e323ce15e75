"""The folder in which finished pieces wait for the others, so that an interrupted run goes on."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from ..errors import FusionError
from ..files import write_atomically
from .results import FrameRecord, PictureKey, SourceFacts, Thumbnails
from .work import Piece, PieceResult

__all__ = ["PieceStore", "StoredPictures"]

_FORMAT = 1
_MANIFEST = "request.json"


class PieceStore:
    """Keeps the results of pieces until the evaluation is complete.

    Args:
        folder: Made if it is not there.
        pieces: All pieces of the evaluation; finished ones of an earlier attempt are taken over.
        origin: What else results depend on: commit and versions.
        replace_other: Discard the beginnings of another evaluation.

    Raises:
        FusionError: The folder holds the beginnings of another evaluation, or cannot be written.
    """

    def __init__(
        self, folder: Path, pieces: Iterable[Piece], origin: str = "", *, replace_other: bool = False
    ) -> None:
        self.folder = folder
        # Taken once: a file that is touched while the evaluation runs does not make its pieces unknown.
        self._names = {piece: _digest(_identity(piece))[:20] for piece in pieces}
        request = _digest([_FORMAT, origin, list(self._names.values())])
        manifest = folder / _MANIFEST
        is_other = folder.is_dir() and _request_of(manifest) != request
        if is_other and replace_other:
            shutil.rmtree(folder, ignore_errors=True)
        elif is_other:
            raise FusionError(
                f"{folder} holds an unfinished evaluation of something else (other files, methods, settings, "
                "metrics or versions); choose another --out, or start afresh with --overwrite"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FusionError(f"{folder}: cannot be made: {error.strerror}") from error
        _write(manifest, json.dumps({"request": request}).encode())

    def __contains__(self, piece: Piece) -> bool:
        try:
            self.get(piece)
        except (OSError, ValueError, KeyError, TypeError):  # not done, or cut off when the power went
            return False
        return True

    def add(self, piece: Piece, result: PieceResult) -> None:
        """Keep a result; where writing is interrupted it counts as not done."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as pictures:  # JPEG does not get smaller
            for index, frame in enumerate(result.frames):
                for name, data in vars(result.thumbnails[frame.frame]).items() if result.thumbnails else ():
                    pictures.writestr(f"{index}/{name}", data)
        _write(self._pictures_path(piece), packed.getvalue())
        content = {
            "frames": [asdict(frame) for frame in result.frames],
            "stage_ms": result.stage_ms,
            "facts": asdict(result.facts),
        }
        _write(self._path(piece), json.dumps(content).encode())  # last: this file says that the piece is finished

    def get(self, piece: Piece) -> PieceResult:
        """Return a result that was kept, without its pictures."""
        content = json.loads(self._path(piece).read_text(encoding="utf-8"))
        facts = content["facts"]
        return PieceResult(
            frames=tuple(FrameRecord(**frame) for frame in content["frames"]),
            stage_ms=content["stage_ms"],
            thumbnails={},
            facts=SourceFacts(**{**facts, "problems": tuple(facts["problems"])}),
        )

    def picture(self, piece: Piece, index: int) -> Thumbnails:
        """Return the pictures of one frame of a result that was kept.

        Raises:
            KeyError: None were made.
        """
        with zipfile.ZipFile(self._pictures_path(piece)) as pictures:
            return Thumbnails(**{name: pictures.read(f"{index}/{name}") for name in ("thermal", "rgb", "fused")})

    def _path(self, piece: Piece) -> Path:
        return self.folder / f"{self._names[piece]}.json"

    def _pictures_path(self, piece: Piece) -> Path:
        return self.folder / f"{self._names[piece]}.zip"


class StoredPictures(Mapping[PictureKey, Thumbnails]):
    """Small pictures of finished pieces, read when they are asked for."""

    def __init__(self, store: PieceStore) -> None:
        self._store = store
        self._places: dict[PictureKey, tuple[Piece, int]] = {}

    def note(self, piece: Piece, result: PieceResult) -> None:
        """Take up the frames of a piece's result."""
        for index, frame in enumerate(result.frames):
            self._places[frame.source, frame.frame, frame.method, frame.condition] = piece, index

    def __getitem__(self, key: PictureKey) -> Thumbnails:
        return self._store.picture(*self._places[key])

    def __iter__(self) -> Iterator[PictureKey]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def _identity(piece: Piece) -> list[str]:
    """Return what a piece's result depends on, as texts."""
    engine = replace(piece.method.settings.engine, threads=0)  # how many there are changes nothing
    return [
        piece.recording.identity,
        repr(replace(piece.method, settings=replace(piece.method.settings, engine=engine))),
        piece.condition.name,
        ",".join(column.key for column in piece.columns),
        str(piece.thumbnail_px),
        str(piece.seed),
    ]


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _request_of(manifest: Path) -> str:
    """Return what a folder was begun for; empty where it does not say."""
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))["request"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write(path: Path, data: bytes) -> None:
    try:
        write_atomically(path, data)
    except OSError as error:
        raise FusionError(f"{path}: cannot be written: {error.strerror}") from error
