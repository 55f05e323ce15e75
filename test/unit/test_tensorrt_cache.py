"""Kept TensorRT engines: found by all that they depend on, and never used when damaged or not ours."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from fusion_ros.engines.tensorrt_cache import EngineKey, cache_folder, engine_path, read_engine, write_engine

KEY = EngineKey(
    network="reconet",
    graph="a" * 64,
    weights="b" * 64,
    shape=(1, 1, 480, 640),
    precision="float16",
    gpu="Orin",
    capability="8.7",
    torch="2.13.0",
    torch_tensorrt="2.13.0",
    tensorrt="11.0.0",
    cuda="13.2",
    fusion_ros="0.1.0",
)
ENGINE = bytes(range(256)) * 40


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_an_engine_is_another_one_when_anything_it_depends_on_changes(field, tmp_path):
    other = dataclasses.replace(KEY, **{field: (1, 1, 480, 641) if field == "shape" else "x"})
    assert engine_path(tmp_path, other) != engine_path(tmp_path, KEY)
    path = tmp_path / "renamed.engine"
    write_engine(path, KEY, ENGINE)
    assert read_engine(path, KEY) == ENGINE
    assert read_engine(path, other) is None


def test_a_kept_engine_is_found_by_its_key_alone_and_read_by_nobody_else(tmp_path):
    folder = tmp_path / "new" / "cache"
    path = engine_path(folder, KEY)
    assert path.name.startswith("reconet-640x480-float16-")
    assert read_engine(path, KEY) is None
    write_engine(path, KEY, ENGINE)
    assert read_engine(path, KEY) == ENGINE
    assert [file.name for file in folder.iterdir()] == [path.name]
    assert folder.stat().st_mode & 0o077 == path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: data[:-1], "contents"),
        (lambda data: data[:-700] + bytes([data[-700] ^ 1]) + data[-699:], "contents"),
        (lambda data: data[:40], "header"),
        (lambda data: b"", "no engine of this format"),
        (lambda data: b"\x80\x04" + data, "no engine of this format"),
        (lambda data: data.replace(b'"Orin"', b'"Orun"'), "something else"),
        (lambda data: data.replace(b'{"key"', b'["key"'), "header"),
    ],
)
def test_a_damaged_engine_is_not_used_and_says_why(damage, reason, tmp_path, caplog):
    path = tmp_path / "x.engine"
    write_engine(path, KEY, ENGINE)
    path.write_bytes(damage(path.read_bytes()))
    assert read_engine(path, KEY) is None
    assert reason in caplog.text
    assert "built again" in caplog.text


def test_an_engine_that_others_may_write_is_not_used(tmp_path, caplog):
    path = tmp_path / "x.engine"
    write_engine(path, KEY, ENGINE)
    path.chmod(0o666)
    assert read_engine(path, KEY) is None
    assert "may be written by others" in caplog.text


def test_an_engine_that_cannot_be_kept_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    write_engine(tmp_path / "file" / "x.engine", KEY, ENGINE)
    assert "could not be written" in caplog.text


def test_engines_are_kept_where_the_user_said_else_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("") == tmp_path / "fusion_ros" / "tensorrt"
    assert cache_folder("/elsewhere") == Path("/elsewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder("") == Path("/home/someone/.cache/fusion_ros/tensorrt")
