"""DINOv2 out of its mirror's ONNX file: the same numbers as ONNX Runtime gives on that very file; converted once."""

from __future__ import annotations

import builtins
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from honed import base_conversion
from honed.base_catalogue import BASES
from honed.base_conversion import convert_dinov2
from honed.bases import load_backbone, resolve
from honed.errors import BaseModelError
from tolerances import tolerance

SPEC = BASES["dinov2-small"]
FOLDER = SPEC.mirror.folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="NOT RUN: needs pip install 'honed[dinov2]'")


@pytest.fixture(scope="module")
def onnx_file() -> Path:
    assert FOLDER is not None
    return FOLDER / SPEC.mirror.onnx_file


def test_equal_to_onnx_runtime_on_the_mirrors_file(onnx_file: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="NOT RUN: needs pip install 'honed[onnx]'")
    runtime = pytest.importorskip("onnxruntime", reason="NOT RUN: needs pip install 'honed[onnx]'")
    import torch

    model = onnx.load(str(onnx_file))
    last = [node for node in model.graph.node if node.name.startswith("/backbone/layernorm/")][-1].output[0]
    model.graph.output.append(onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, None))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype(np.float32)
    expected = session.run([last], {"input_image": pixels})[0]
    with torch.no_grad():
        found = load_backbone(resolve("dinov2-small"))(torch.tensor(pixels)).last_hidden_state
    assert expected.shape == (2, 1 + 16 * 16, 384)
    np.testing.assert_allclose(found.numpy(), expected, **tolerance("another_runtime", "float32"))


def test_it_is_the_pinned_base_with_the_hubs_own_configuration() -> None:
    base = resolve("dinov2-small")
    assert (base.source, base.architecture, base.n_layers) == ("mirror", "Dinov2Model", 12)
    assert base.n_parameters == SPEC.n_parameters
    # what facebook/dinov2-small has at the pinned revision, byte for byte
    for name, sha256 in (
        ("config.json", "1809f83e3bdb1609a501a610ad4a742f4fd8ae44d72ca4aa0df52d1f2ac8628d"),
        ("preprocessor_config.json", "14e780d86fa1861f8751f868d7f45425b5feb55c38ca26f152ca5097ab30f828"),
    ):
        assert hashlib.sha256((base.path / name).read_bytes()).hexdigest() == sha256


def test_it_is_converted_once(onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls = []
    real = base_conversion.dinov2_weights
    monkeypatch.setattr(base_conversion, "dinov2_weights", lambda path: calls.append(path) or real(path))
    one, two = convert_dinov2(onnx_file, "x"), convert_dinov2(onnx_file, "x")
    assert (one, len(calls)) == (two, 1)
    assert sorted(path.name for path in one.parent.iterdir()) == ["x"]  # no half folder is left
    found = hashlib.sha256((one / "model.safetensors").read_bytes()).hexdigest()
    assert found == SPEC.mirror.converted_sha256


def test_a_changed_conversion_is_refused(onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.numpy import save_file

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = base_conversion.dinov2_weights(onnx_file)
    folder = convert_dinov2(onnx_file, f"dinov2-small-{SPEC.mirror.converted_sha256[:12]}")
    weights["embeddings.cls_token"] = weights["embeddings.cls_token"] + 1
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(BaseModelError, match="not the pinned ones"):
        resolve("dinov2-small")


def test_another_file_and_a_missing_package_are_told(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(onnx_file.read_bytes()[:1000])
    with pytest.raises(BaseModelError, match="is not the ONNX export"):
        convert_dinov2(damaged, "damaged")
    assert not (tmp_path / "honed" / "bases" / "damaged").exists()
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BaseModelError, match=r"honed\[dinov2\]"):
        convert_dinov2(onnx_file, "x")
