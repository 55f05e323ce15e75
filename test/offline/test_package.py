"""The package as colcon installs it: plain and with symlinks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXECUTABLES = {
    "fusion-ros",
    "fusion_node",
    "feature_node",
    "tracker_node",
    "synthetic_camera_node",
    "bag_player_node",
    "recorder_node",
}
PACKAGED = ("fusion_ros", "launch", "config", "models", "resource", "package.xml", "setup.py", "setup.cfg")

needs_colcon = pytest.mark.skipif(
    importlib.util.find_spec("colcon_core") is None, reason="needs colcon (make test installs it)"
)


@pytest.fixture(scope="module", params=[(), ("--symlink-install",)], ids=["plain", "symlink"])
def install(request, repository, tmp_path_factory) -> Path:
    workspace = tmp_path_factory.mktemp("workspace")
    source = workspace / "src" / "fusion_ros"
    source.mkdir(parents=True)
    for name in (*PACKAGED, "training", "test"):
        copy = shutil.copytree if (repository / name).is_dir() else shutil.copy
        copy(repository / name, source / name)
    command = [sys.executable, "-m", "colcon", "build", *request.param]
    environment = {**os.environ, "COLCON_HOME": str(workspace / "home"), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=workspace, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return workspace / "install" / "fusion_ros"


def _sourced(install: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user would after ``source install/setup.bash``, seeing nothing of the checkout."""
    script = f'source "{install.parent}/setup.bash" && exec "$@"'
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "AMENT_PREFIX_PATH")}
    return subprocess.run(
        ["bash", "-c", script, "bash", *command],
        cwd=install,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def _python(install: Path, code: str) -> subprocess.CompletedProcess[str]:
    return _sourced(install, sys.executable, "-c", code)


@needs_colcon
def test_ros2_run_and_the_index_find_the_package(install):
    assert {path.name for path in (install / "lib" / "fusion_ros").iterdir()} == EXECUTABLES
    assert (install / "share/ament_index/resource_index/packages/fusion_ros").is_file()
    assert (install / "share/fusion_ros/package.xml").is_file()


@needs_colcon
def test_launch_config_and_models_are_in_share(install, repository):
    for folder in ("launch", "config", "models"):
        wanted = {p.relative_to(repository) for p in (repository / folder).rglob("*") if p.is_file()}
        wanted = {path for path in wanted if "__pycache__" not in path.parts}
        for path in wanted:
            assert (install / "share" / "fusion_ros" / path).is_file(), path
    assert (install / "share/fusion_ros/models/reconet").is_dir()


@needs_colcon
def test_weights_are_found_from_the_installation_alone(install):
    load = "from fusion_ros.weights import find_model, load_network; load_network('reconet')"
    done = _python(install, f"{load}; print(find_model('reconet'))")
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == install / "share/fusion_ros/models/reconet"


@needs_colcon
@pytest.mark.parametrize("name", ["training", "models", "test"])
def test_nothing_but_the_package_becomes_importable(install, name):
    (site,) = install.glob("lib/python*/site-packages")
    assert not (site / name).exists()
    code = f"import importlib.util; spec = importlib.util.find_spec({name!r}); print(spec and spec.origin)"
    origin = _python(install, code).stdout.strip()
    # The standard library has a package called test; ours must not stand in its place.
    assert str(install.parents[1]) not in origin


@needs_colcon
def test_an_installed_executable_starts(install):
    executable = install / "lib" / "fusion_ros" / "fusion-ros"
    done = _sourced(install, str(executable), "models", "verify", "reconet")
    assert done.returncode == 0, done.stderr
    # ros2 run must not fall back to a Python that lacks what this environment has.
    assert str(Path(sys.executable).parent) in executable.read_text().splitlines()[0]
