"""The dependency rule: imports point down, and the core needs no ROS."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.bootstrap import FROM_DISTRIBUTION

# Part of the package -> the parts that it may import, beside itself.
CORE_0 = {"arrays", "errors", "feature_grid", "files", "frame", "provenance", "settings", "spec"}
LAYER_1 = {
    "chart_style",
    "media",
    "imaging",
    "geometry",
    "timing",
    "networks",
    "metrics",
    "synthetic",
    "classical",
    "releases",
    "cards",
    "tracking_sets",
}
LAYER_2 = {"weights", "checkpoints", "checkpoint_files", "engines", "alignment", "features", "tracking"}
LAYER_3 = {"fusion_result", "pipeline_opening", "pipeline_stages", "pipeline", "evaluation"}
ALLOWED = {
    **dict.fromkeys(CORE_0, CORE_0),
    **dict.fromkeys(LAYER_1, CORE_0),
    "synthetic": CORE_0 | {"geometry", "imaging"},
    "media": CORE_0 | {"imaging"},
    "tracking_sets": CORE_0 | {"media", "imaging"},
    **dict.fromkeys(LAYER_2, CORE_0 | LAYER_1),
    "checkpoints": CORE_0 | LAYER_1 | {"checkpoint_files"},
    "weights": CORE_0 | LAYER_1 | {"checkpoint_files", "checkpoints"},
    **dict.fromkeys(LAYER_3, CORE_0 | LAYER_1 | LAYER_2 | LAYER_3),
    **dict.fromkeys({"bags", "cli"}, CORE_0 | LAYER_1 | LAYER_2 | LAYER_3 | {"bags", "cli"}),
    **dict.fromkeys({"ros", "nodes"}, CORE_0 | LAYER_1 | LAYER_2 | LAYER_3 | {"ros", "nodes"}),
}
STAGES = {"alignment", "features", "tracking"}
ROS = {"rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs", "rcl_interfaces", "builtin_interfaces",
       "lifecycle_msgs", "geometry_msgs", "rosgraph_msgs", "vision_msgs", "message_filters", "cv_bridge", "launch",
       "launch_ros"}  # fmt: skip

# Imported inside functions, by those who have asked for what these do.
OPTIONAL = {"onnxruntime", "torch_tensorrt", "dask", "pyrtools"}
# Never named in the requirements: rosbags reads with it, and its errors are caught.
COMES_WITH_ROSBAGS = {"apsw", "backports", "compression"}


def _imports(path: Path, module: tuple[str, ...], top_level_only: bool = False) -> set[tuple[str, ...]]:
    """Return what a file imports as absolute dotted names, split at the dots."""
    tree = ast.parse(path.read_text())
    nodes = _executed_at_import(tree.body) if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module[: len(module) - node.level] if node.level else ()
            name = (*base, *(node.module.split(".") if node.module else ()))
            found |= {(*name, alias.name) for alias in node.names}
    return found


def _executed_at_import(statements: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements that run when the module is imported, also inside if, try and with."""
    for statement in statements:
        yield statement
        for branch in ("body", "orelse", "finalbody"):
            if isinstance(statement, (ast.If, ast.Try, ast.With)):
                yield from _executed_at_import(getattr(statement, branch, []))
        for handler in getattr(statement, "handlers", []):
            yield from _executed_at_import(handler.body)


def _files(repository: Path) -> list[tuple[Path, tuple[str, ...]]]:
    files = sorted((repository / "fusion_ros").rglob("*.py"))
    # A package's own name is one level below its __init__ for the purpose of relative imports.
    return [(file, file.relative_to(repository).with_suffix("").parts) for file in files]


def test_imports_point_down_only(repository):
    offences = []
    for file, module in _files(repository):
        if len(module) < 2 or module[1] == "__init__":
            continue
        part = module[1]
        # The verbs that start nodes import them inside the function: only there is this allowed.
        local_ok = {"ros", "nodes"} if part == "cli" else set()
        top = _imports(file, module, top_level_only=True)
        for name in _imports(file, module):
            if name[0] != "fusion_ros" or len(name) < 2 or name[1] in {part, "__version__"}:
                continue
            allowed = ALLOWED[part] | (local_ok if name not in top else set())
            # A stage is handed an engine and knows only what an engine is.
            knows_engines = part in STAGES and name[1:3] == ("engines", "base")
            if name[1] not in allowed and not knows_engines:
                offences.append(f"{file.relative_to(repository)} imports {'.'.join(name)}")
    assert not offences


def test_only_ros_and_nodes_import_ros(repository):
    offences = [
        f"{file.relative_to(repository)} imports {'.'.join(name)}"
        for file, module in _files(repository)
        if len(module) > 2 and module[1] not in {"ros", "nodes"}
        for name in _imports(file, module, top_level_only=module[1] == "cli")
        if name[0] in ROS
    ]
    assert not offences


def test_nothing_in_the_package_imports_training_or_tests(repository):
    for file, module in _files(repository):
        assert not {name[0] for name in _imports(file, module)} & {"training", "test"}, file


def test_training_imports_only_what_it_may(repository):
    for file in sorted((repository / "training").rglob("*.py")):
        module = file.relative_to(repository).with_suffix("").parts
        parts = {name[1] for name in _imports(file, module) if name[0] == "fusion_ros" and len(name) > 1}
        assert parts <= CORE_0 | LAYER_1 | LAYER_2 | {"bags", "__version__"}, file


def _requirements(path: Path) -> set[str]:
    lines = path.read_text().splitlines()
    return {line.partition("==")[0].strip().lower() for line in lines if "==" in line}


def test_what_the_package_imports_is_installed_with_it(repository):
    distributed = {module: (wheel, package) for wheel, (module, package) in FROM_DISTRIBUTION.items()}
    runtime, robot = (_requirements(repository / "requirements" / name) for name in ("runtime.txt", "robot.txt"))
    manifest = (repository / "package.xml").read_text()
    known = ROS | COMES_WITH_ROSBAGS | {"fusion_ros", *sys.stdlib_module_names}
    offences = []
    for file, module in _files(repository):
        at_import = {name[0] for name in _imports(file, module, top_level_only=True)}
        later = {name[0] for name in _imports(file, module)} - at_import - OPTIONAL
        for name in (at_import | later) - known:
            wheel, package = distributed.get(name, (name, f"python3-{name}"))
            if wheel not in runtime:
                offences.append(f"{file.relative_to(repository)}: {name} is not in requirements/runtime.txt")
            if name not in robot and f"<exec_depend>{package}</exec_depend>" not in manifest:
                offences.append(
                    f"{file.relative_to(repository)}: {name} is neither in robot.txt nor in package.xml"
                )
    assert not offences


@pytest.mark.parametrize("module", ["fusion_ros.pipeline", "fusion_ros.bags", "fusion_ros.cli.main"])
def test_the_core_imports_where_ros_is_absent(module):
    hide = (
        "import sys, importlib.abc\n"
        "class Hide(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {sorted(ROS)!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    command = [sys.executable, "-c", f"{hide}import {module}\nassert 'rclpy' not in sys.modules"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
