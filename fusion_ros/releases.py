"""What the authors of each method published: repositories, licences, files.

None of it is shipped. The table says where a user finds it, how the files of one network fit together, and
what our implementation is held against.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ALIASES", "RELEASES", "Part", "Release", "Shapes", "how_to_get", "import_command"]

ALIASES = {"reconet": "reconet_fuser"}
"""Short name of a method -> its network's."""

Shapes = Mapping[str, "tuple[int, ...]"]
"""Shape of every tensor, by the authors' name."""


@dataclass(frozen=True)
class Part:
    """One file of a release.

    Attributes:
        title: What it holds, among people.
        file: Where it is in the authors' repository.
        heads: How the names of its tensors begin once all files are joined.
        added: What joining puts before the file's own names; the heads begin with it.
    """

    title: str
    file: str
    heads: tuple[str, ...] = ("",)
    added: str = ""


@dataclass(frozen=True)
class Release:
    """What the authors of one network published.

    Attributes:
        repository: ``owner/name`` on GitHub.
        commit: The commit that was read.
        licence: Terms of the repository, an SPDX name where it states one.
        parts: The files that make the network.
        parity: What our network's outputs are held against.
        settings: Setting of our network -> its value as the shapes tell it, by the authors' names.
        beside: How names begin that belong to other networks in the same file; they are left out.
        fingerprint: :func:`fingerprint` of the released tensors; empty where they were never seen.
        has_weights: Weights were published, and not the code alone.
        about: What the released weights are, for a user who takes them for something else.
        notice: What has to stay with every copy.
    """

    repository: str
    commit: str
    licence: str
    parts: tuple[Part, ...]
    parity: str
    settings: Mapping[str, Callable[[Shapes], Any]] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    fingerprint: str = ""
    has_weights: bool = True
    about: str = ""
    notice: str = ""

    @property
    def origin(self) -> str:
        """Repository and commit in one."""
        return f"{self.repository} @ {self.commit}"


_NONE_STATED = "none stated"
_RECONET = "dlut-dimt/ReCoNet"
_RECONET_COMMIT = "0870f5f37852ace85850d9fd2d4570eb57682d22"
_RECONET_NOTICE = "MIT License, Copyright (c) 2022 Zhanbo Huang; full text: LICENSE in dlut-dimt/ReCoNet."
_MNIST = "Trained on 32x32 MNIST digits: does not register infrared to visible images."
_OWN_TRAINING = "a checkpoint that you trained with the authors' code"


def _blocks(shapes: Shapes) -> int:
    """Count LRRNet's blocks of one branch."""
    return sum(re.fullmatch(r"get_ls1\.lrrblock\d+\.conv_Wdz\.conv2d\.bias", name) is not None for name in shapes)


RELEASES: Mapping[str, Release] = {
    "reconet_fuser": Release(
        repository=_RECONET,
        commit=_RECONET_COMMIT,
        licence="MIT",
        parts=(Part("fuser", "archive/params.pth"),),
        parity="the outputs of the authors' network with its released weights on TNO and RoadScene pairs, to 1e-5",
        settings={"width": lambda shapes: shapes["dil_conv_1.0.weight"][0]},
        fingerprint="855c323ad2b5dc647d68d5ff5ed2605d898ace0dacf96c74a0c91afaf50627bc",
        notice=_RECONET_NOTICE,
    ),
    "reconet_fuser_v1": Release(
        repository=_RECONET,
        commit=_RECONET_COMMIT,
        licence="MIT",
        parts=(Part("fuser", _OWN_TRAINING),),
        parity="the outputs of the authors' network with synthetic weights, for none were released",
        settings={"width": lambda shapes: shapes["decoder.conv_d.0.group.0.weight"][0]},
        beside=("register.",),
        has_weights=False,
        notice=_RECONET_NOTICE,
    ),
    "reconet_micro_register": Release(
        repository=_RECONET,
        commit=_RECONET_COMMIT,
        licence="MIT",
        parts=(Part("register", "exp/test_register/weights/m-register.ckpt"),),
        parity="the flows of the authors' network with its released weights on digits and on camera images",
        settings={
            "inputs": lambda shapes: shapes["stem.group.0.weight"][1],
            "width": lambda shapes: shapes["stem.group.0.weight"][0],
        },
        beside=("fuser.",),
        fingerprint="8985acb7c763c9ce71707bde9bed35851450621c1a5bcda3ebb8ebbd60723fb2",
        about=_MNIST,
        notice=_RECONET_NOTICE,
    ),
    "reconet_unet_register": Release(
        repository=_RECONET,
        commit=_RECONET_COMMIT,
        licence="MIT",
        parts=(Part("register", "exp/test_register/weights/u-register.ckpt"),),
        parity="the flows of the authors' network with its released weights on digits and on camera images",
        settings={
            "inputs": lambda shapes: shapes["unet.encoder.0.group.0.weight"][1],
            "width": lambda shapes: shapes["unet.encoder.0.group.0.weight"][0],
        },
        beside=("fuser.",),
        fingerprint="6c3ad5fada77fe00ac1f84f3fffd9105d705aa2608bfb6cab2fca964c1828509",
        about=_MNIST,
        notice=_RECONET_NOTICE,
    ),
    "lrrnet": Release(
        repository="hli1221/imagefusion-LRRNet",
        commit="e489fc325ea6acb9b7327b1de2c0cc4a09172ba4",
        licence=_NONE_STATED,
        parts=(Part("network", "model/final_lrr_net_lam2_1.5_wir_3.0_lam3_gram_2000_epoch_4_block_4.model"),),
        parity="the outputs of the authors' network with its released weights on TNO and RoadScene pairs, to 1e-5",
        settings={
            "channels": lambda shapes: shapes["get_ls1.lamj"][1] // 2,
            "blocks": _blocks,
            "fusion": lambda shapes: "add" if shapes["decoder.conv_ReL.conv2d.weight"][1] == 1 else "cat",
        },
        fingerprint="9918ad18309999a34fac0c9bf3224fe9cebd37dd829ca129ccb80d21905781c8",
    ),
    "didfuse": Release(
        repository="Zhaozixiang1228/IVIF-DIDFuse",
        commit="5f287300dce7cbc90b9e08e6872455af6baa279f",
        licence=_NONE_STATED,
        parts=(
            Part(
                "encoder",
                "Models/Encoder_weight_IJCAI.pkl",
                heads=tuple(f"encoder.cov{i}." for i in (1, 2, 3, 4)),
                added="encoder.",
            ),
            Part(
                "decoder",
                "Models/Decoder_weight_IJCAI.pkl",
                heads=tuple(f"decoder.cov{i}." for i in (5, 6, 7)),
                added="decoder.",
            ),
        ),
        parity="the outputs of the authors' network with its released weights on TNO and RoadScene pairs, to 1e-5",
        fingerprint="9f1ff1510375e1c5e7ba0d667db12efee0e159fc889f499a756bf7bde8add330",
        about="The weights of the IJCAI 2020 version, which the journal version's rules were not trained with.",
    ),
    "rfn_nest": Release(
        repository="hli1221/imagefusion-rfn-nest",
        commit="76e4e05",
        licence=_NONE_STATED,
        parts=(
            Part(
                "auto-encoder",
                "nestfuse_gray_1e2.model, from models/nestfuse.zip",
                heads=("conv0.", "DB", "conv_out."),
            ),
            Part(
                "residual fusion network",
                "Final_epoch_2_alpha_700_wir_6.0_wvi_3.0_ssim_vi.model, from models/rfn_twostage.zip",
                heads=("fusion_block",),
            ),
        ),
        parity=(
            "the outputs of the authors' network with synthetic weights, to 1e-4 of their maximum: "
            "the released files could not be had"
        ),
    ),
}
"""Network -> what its authors published; a network that is not named here has no public checkpoint."""


def import_command(name: str) -> str:
    """Return the command line that imports the authors' files of a network of :data:`RELEASES`."""
    files = " ".join(f"<{part.title.replace(' ', '-')}-file>" for part in RELEASES[name].parts)
    return f"fusion-ros import-weights {name} {files}"


def how_to_get(name: str) -> str:
    """Say in one sentence how a user gets weights for a network."""
    if name not in RELEASES:
        return "no weights of it are public: train your own"
    release = RELEASES[name]
    if not release.has_weights:
        return f"its authors released none: train your own, or import {_OWN_TRAINING}: '{import_command(name)}'"
    return f"import the authors', of github.com/{release.repository}: '{import_command(name)}', or train your own"
