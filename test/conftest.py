"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FUSION_ROS_SHARED", REPOSITORY.parent / "shared"))


@pytest.fixture(scope="session", autouse=True)
def _no_models_of_the_developer(tmp_path_factory) -> Iterator[None]:
    """Keep the suite, and the programs that it starts, away from the models in somebody's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.delenv("FUSION_ROS_MODELS", raising=False)
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of third-party images and reference arrays, which are not ours to distribute."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the reference data folder (absent: {SHARED}; set FUSION_ROS_SHARED)")
    return SHARED


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch in one thread: over maps as small as the tests' it waits for others longer than they save."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def authors_files(shared, tmp_path) -> Callable[[str], list[Path]]:
    """Writes the files of a release, ``authors_files("didfuse")``, in its authors' format, and returns them."""
    import torch
    from safetensors.torch import load_file

    def write(network: str) -> list[Path]:
        copies = shared / "weights" / "upstream"
        folder = tmp_path / f"files_of_{network}"
        folder.mkdir()
        if network == "didfuse":
            tensors = load_file(copies / "didfuse.safetensors")
            for part in ("encoder", "decoder"):
                own = {name[8:]: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
                path = folder / f"{part.capitalize()}_weight_IJCAI.pkl"
                torch.save({"weight": own, "epoch": 120}, path, _use_new_zipfile_serialization=False)
        elif network.endswith("_register"):
            kind = network.split("_")[1][0]
            tensors = load_file(copies / f"reconet_{kind}register_mnist.safetensors")
            state = {f"register.{name}": tensor for name, tensor in tensors.items()}
            lightning = {"epoch": 9, "global_step": 1, "state_dict": state, "optimizer_states": [{"state": {}}]}
            torch.save(lightning, folder / f"{kind}-register.ckpt")
        else:
            name = {"reconet_fuser": "reconet"}.get(network, network)
            torch.save(load_file(copies / f"{name}.safetensors"), folder / "params.pth")
        return sorted(folder.iterdir())

    return write
