"""Build description for colcon (ament_python) and pip."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "fusion_ros"
SHARE = f"share/{NAME}"


def installed_folder(folder: str) -> list[tuple[str, list[str]]]:
    """List every file under ``folder`` for installation below share/, one entry per sub-folder."""
    entries: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            entries.setdefault(f"{SHARE}/{path.parent.as_posix()}", []).append(path.as_posix())
    return list(entries.items())


setup(
    name=NAME,
    version="0.1.0",
    description="Thermal and colour cameras in, one fused image out: a ROS 2 perception package",
    license="Apache-2.0",
    python_requires=">=3.10",
    # training/ and test/ stay in the checkout: as top-level names they would clash with other packages.
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={f"{NAME}.engines": ["*.yaml"], f"{NAME}.evaluation": ["*.css", "*.j2", "*.js"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        *installed_folder("launch"),
        *installed_folder("config"),
        *installed_folder("models"),
    ],
    # What ROS does not bring. torch and OpenCV are left to the installer: their builds differ by machine.
    install_requires=["numpy", "pyyaml"],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "fusion-ros = fusion_ros.cli.main:main",
            "fusion_node = fusion_ros.nodes.fusion_node:main",
            "feature_node = fusion_ros.nodes.feature_node:main",
            "tracker_node = fusion_ros.nodes.tracker_node:main",
            "synthetic_camera_node = fusion_ros.nodes.synthetic_camera_node:main",
            "bag_player_node = fusion_ros.cli.play:node_main",
            "recorder_node = fusion_ros.cli.record:node_main",
        ]
    },
)
