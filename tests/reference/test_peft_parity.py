"""The artifact in the hands of plain transformers and PEFT gives what honed gives, head included."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.artifact import Artifact, ArtifactInfo, save_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, load_tokenizer
from honed.errors import BaseModelError
from honed.methods.base import get_method
from honed.serving.engine import load_specialist
from honed.training.build import StackSpec, build_stack, encode
from honed.training.loop import Examples, SlotPlan, predict
from tolerances import tolerance

LABELS = ("good", "bad", "late")
TEXTS, LABEL = m.toy_texts(18)
CLOSE = tolerance("logits_same_weights", "float32")
BASES = ["llama", "bert", m.REAL]


@dataclass(frozen=True)
class Shipped:
    """A trained artifact, and honed's own logits (n, c) of TEXTS."""

    base: ResolvedBase
    adapter: Path
    logits: np.ndarray[Any, np.dtype[np.float64]]


def ship(base: ResolvedBase, folder: Path, head: str, options: dict[str, Any] | None = None, seed: int = 0) -> Shipped:
    """Train one slot for a few steps and save it."""
    chosen = get_method("lora").options(**(options or {}))
    spec = StackSpec("lora", chosen, head, 2, LABELS, 32, "float32", "cpu", seed)  # type: ignore[arg-type]
    stack = build_stack(base, spec, [seed])
    inputs, rows = encode(stack, TEXTS), np.arange(len(TEXTS))
    examples = Examples(inputs, LABEL, np.ones(len(TEXTS)), np.zeros_like(rows), rows)
    m.train(stack, None, examples, [SlotPlan("final", 0, rows, rows[:0])])
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task="text_classification", method="lora",
        method_options=chosen.model_dump(), head=head, label_names=LABELS, max_tokens=32, temperature=1.0,
        n_layers=len(stack.layers), depth=2, dtype="float32", dataset_fingerprint="0",
        head_modules=stack.head.module_names,
    )  # fmt: skip
    save_artifact(folder / "adapter", Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    return Shipped(base, folder / "adapter", predict(stack, inputs, None, 0, rows))


def make_base(name: str, folder: Path) -> ResolvedBase:
    return m.minilm() if name == "minilm" else m.save_tiny_base(folder / "base", name)


def batch_of(base: ResolvedBase) -> Any:
    batch = load_tokenizer(base)(TEXTS, return_tensors="pt", padding=True, truncation=True, max_length=32)
    batch.pop("token_type_ids", None)  # all zero
    return batch


@pytest.mark.parametrize("name", BASES)
def test_native_head_through_plain_peft(name: str, tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    shipped = ship(make_base(name, tmp_path), tmp_path, "native")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(shipped.base.path, num_labels=len(LABELS))
    batch = batch_of(shipped.base)
    with torch.inference_mode():
        untuned = model.eval()(**batch).logits.numpy()
        logits = PeftModel.from_pretrained(model, shipped.adapter).eval()(**batch).logits.numpy()
    np.testing.assert_allclose(logits, shipped.logits, **CLOSE)
    assert not np.allclose(logits, untuned, **CLOSE)


@pytest.mark.parametrize("name", BASES)
def test_mean_head_through_plain_peft_and_the_lines_of_the_model_card(name: str, tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel
    from safetensors.torch import load_file

    shipped = ship(make_base(name, tmp_path), tmp_path, "mean")
    model = transformers.AutoModel.from_pretrained(shipped.base.path)
    model = PeftModel.from_pretrained(model, shipped.adapter).eval()
    batch, head = batch_of(shipped.base), load_file(shipped.adapter / "head.safetensors")
    lines = card_lines()
    scope: dict[str, Any] = {"model": model, "batch": batch, "head": head}
    with torch.inference_mode():
        exec("\n".join(lines), scope)  # noqa: S102 - the model card's own lines are what is tested
    np.testing.assert_allclose(scope["logits"].numpy(), shipped.logits, **CLOSE)
    stack = load_specialist(shipped.adapter, device="cpu").stack
    inputs = encode(stack, TEXTS)
    with torch.inference_mode():
        stack.logits(inputs, None, [(0, np.arange(len(TEXTS)))])  # routes all rows to the one slot
        ours = stack.model(**stack._collate(inputs, np.arange(len(TEXTS)))).last_hidden_state
    theirs, mask = scope["hidden"], batch["attention_mask"].bool()
    torch.testing.assert_close(ours[mask], theirs[mask], **CLOSE)


def card_lines() -> list[str]:
    """The three lines of the model card that turn hidden states into logits."""
    from honed.evidence.card import TEMPLATES

    text = (TEMPLATES / "card.md.j2").read_text(encoding="utf-8")
    start = text.index("    hidden, mask = model(**batch)")
    lines = [line.strip() for line in text[start:].splitlines()[:3]]
    assert lines[-1].startswith("logits = ")
    return lines


@pytest.mark.parametrize("options", [{"rank": 3, "alpha": 5.0}, {"rslora": True}, {"target": "attention"}])
def test_every_option_of_lora_means_the_same_to_peft(options: dict[str, Any], tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    shipped = ship(make_base("bert", tmp_path), tmp_path, "native", options)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(shipped.base.path, num_labels=len(LABELS))
    model = PeftModel.from_pretrained(model, shipped.adapter)
    with torch.inference_mode():
        np.testing.assert_allclose(model.eval()(**batch_of(shipped.base)).logits.numpy(), shipped.logits, **CLOSE)
        merged = model.merge_and_unload()(**batch_of(shipped.base)).logits.numpy()
    np.testing.assert_allclose(merged, shipped.logits, **CLOSE)


@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("name", ["bert", "llama"])
def test_the_served_artifact_is_the_trained_one(name: str, head: str, tmp_path: Path) -> None:
    shipped = ship(make_base(name, tmp_path), tmp_path, head, seed=5)
    served = load_specialist(shipped.adapter, device="cpu")
    np.testing.assert_allclose(served.logits(TEXTS), shipped.logits, **CLOSE)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    np.testing.assert_allclose(served.logits([TEXTS[i] for i in order]), shipped.logits[order], **CLOSE)


def test_a_base_without_a_pooler_has_no_native_head(tmp_path: Path) -> None:
    """Its classifier would draw a random pooler, another one at every loading; the mean head needs none."""
    base = m.save_tiny_base(tmp_path / "base", "bert", without_pooler=True)
    with pytest.raises(BaseModelError, match=r"pooler.*--head mean"):
        ship(base, tmp_path, "native", seed=5)
    shipped = ship(base, tmp_path, "mean", seed=5)
    np.testing.assert_allclose(load_specialist(shipped.adapter, device="cpu").logits(TEXTS), shipped.logits, **CLOSE)


def test_the_adapter_config_names_every_adapted_module(tmp_path: Path) -> None:
    from safetensors import safe_open

    shipped = ship(make_base("bert", tmp_path), tmp_path, "mean")
    config = json.loads((shipped.adapter / "adapter_config.json").read_text())
    with safe_open(shipped.adapter / "adapter_model.safetensors", "pt") as file:
        saved = {key.removeprefix("base_model.model.").rpartition(".lora_")[0] for key in file.keys()}  # noqa: SIM118
    assert saved == set(config["target_modules"])
    assert all(path.startswith(("encoder.layer.1.", "encoder.layer.2.")) for path in saved)
