"""The folder in which finished pieces wait for the others, so that an interrupted run goes on."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from ..errors import FusionError
from .results import FrameRecord, SourceFacts, Thumbnails
from .work import Piece, PieceResult

__all__ = ["PictureKey", "PieceStore", "StoredPictures"]

PictureKey = tuple[str, str, str, str]
"""Source, frame, method, condition."""

_FORMAT = 1
_MANIFEST = "request.json"


class PieceStore:
    """Keeps the results of pieces until the evaluation is complete.

    Args:
        folder: Made if it is not there.
        pieces: All pieces of the evaluation; finished ones of an earlier attempt are taken over.

    Raises:
        FusionError: The folder holds the beginnings of another evaluation, or cannot be written.
    """

    def __init__(self, folder: Path, pieces: Iterable[Piece]) -> None:
        self.folder = folder
        request = [_identity(piece) for piece in pieces]
        digest = hashlib.sha256(json.dumps([_FORMAT, request]).encode()).hexdigest()
        manifest = folder / _MANIFEST
        if manifest.is_file() and json.loads(manifest.read_text())["request"] != digest:
            raise FusionError(
                f"{folder} holds an unfinished evaluation of something else (other files, methods, settings or "
                "metrics); choose another --out, or start afresh with --overwrite"
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write(manifest, json.dumps({"request": digest}))

    def __contains__(self, piece: Piece) -> bool:
        return self._path(piece).is_file()

    def add(self, piece: Piece, result: PieceResult) -> None:
        """Keep a result; after a power cut it is there as a whole or not at all."""
        pictures = {
            name: {key: base64.b64encode(data).decode() for key, data in vars(thumbnails).items()}
            for name, thumbnails in result.thumbnails.items()
        }
        _write(self._pictures_path(piece), json.dumps(pictures))
        content = {
            "frames": [asdict(frame) for frame in result.frames],
            "stage_ms": result.stage_ms,
            "facts": asdict(result.facts),
        }
        _write(self._path(piece), json.dumps(content))  # last: this file says that the piece is finished

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

    def pictures(self, piece: Piece) -> dict[str, Thumbnails]:
        """Return the pictures of a result that was kept, by frame."""
        content = json.loads(self._pictures_path(piece).read_text(encoding="utf-8"))
        return {
            name: Thumbnails(**{key: base64.b64decode(text) for key, text in pictures.items()})
            for name, pictures in content.items()
        }

    def remove(self) -> None:
        """Remove the folder: everything has been reported."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, piece: Piece) -> Path:
        digest = hashlib.sha256(json.dumps(_identity(piece)).encode()).hexdigest()
        return self.folder / f"{digest[:20]}.json"

    def _pictures_path(self, piece: Piece) -> Path:
        return self._path(piece).with_suffix(".pictures.json")


class StoredPictures(Mapping[PictureKey, Thumbnails]):
    """Small pictures of finished pieces, read when they are asked for."""

    def __init__(self, store: PieceStore, pieces: Iterable[Piece]) -> None:
        self._store = store
        self._pieces: dict[PictureKey, Piece] = {}
        for piece in pieces:
            for frame in store.get(piece).frames:
                self._pieces[frame.source, frame.frame, frame.method, frame.condition] = piece

    def __getitem__(self, key: PictureKey) -> Thumbnails:
        return self._store.pictures(self._pieces[key])[key[1]]

    def __iter__(self) -> Iterator[PictureKey]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)


def _identity(piece: Piece) -> list[str]:
    """Return what a piece's result depends on, as texts."""
    return [
        piece.recording.identity,
        piece.method.name,
        repr(piece.method),
        piece.condition.name,
        ",".join(column.key for column in piece.columns),
        str(piece.thumbnail_px),
        str(piece.seed),
    ]


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(".part")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise FusionError(f"{path}: cannot be written: {error.strerror}") from error
