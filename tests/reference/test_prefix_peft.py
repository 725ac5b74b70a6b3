"""Prefix tuning in decoders is PEFT's, in both directions; where it is not, nothing is written that PEFT would read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.artifact import Artifact, ArtifactInfo, save_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, load_tokenizer
from honed.methods.base import PeftFiles, get_method
from honed.routing import Routing
from honed.serving.engine import load_specialist
from honed.tasks.heads import LinearHead, NativeHead
from honed.training.build import StackSpec, build_stack, encode
from honed.training.loop import Examples, SlotPlan, predict
from honed.training.stack import Adaptation, Stack
from tolerances import tolerance

CLOSE = tolerance("logits_same_weights", "float32")
LABELS = ("good", "bad", "late")
TEXTS, LABEL = m.toy_texts(12)
METHOD = get_method("prefix")
DECODERS = ("llama", "gemma3", "gpt2", "mistral", "opt")
"""Rotary positions with grouped heads; two kinds of layer; learned positions; a window in every layer; positions that
are counted from the mask."""


def decoder_config(name: str) -> Any:
    """Sequences of up to 11 tokens reach beyond the windows of 4."""
    import transformers as t

    if name == "gpt2":
        return t.GPT2Config(vocab_size=60, n_embd=32, n_layer=3, n_head=4, n_positions=64, pad_token_id=0)
    if name == "mistral":
        return t.MistralConfig(
            vocab_size=60, hidden_size=32, num_attention_heads=4, num_hidden_layers=3, intermediate_size=64,
            num_key_value_heads=2, sliding_window=4, head_dim=16, pad_token_id=0,
        )  # fmt: skip
    if name == "opt":
        return t.OPTConfig(
            vocab_size=60, hidden_size=32, num_attention_heads=4, num_hidden_layers=3, ffn_dim=64,
            word_embed_proj_dim=32, max_position_embeddings=64, pad_token_id=0,
        )  # fmt: skip
    return m.tiny_config(name)


def make_model(config: Any, *, n_classes: int = 0) -> Any:
    import transformers

    config.num_labels = n_classes or config.num_labels
    cls = transformers.AutoModelForSequenceClassification if n_classes else transformers.AutoModel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return cls.from_config(config).eval()


def batch_of_ids() -> dict[str, torch.Tensor]:
    ids = torch.randint(3, 60, (3, 11), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 7:], mask[2, 9:] = 0, 0
    return {"input_ids": ids.where(mask.bool(), torch.tensor(0)), "attention_mask": mask}


def peft_files(model: Any, folder: Path) -> PeftFiles:
    """What PEFT itself saves."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    return PeftFiles(config, load_file(folder / "adapter_model.safetensors"))


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("name", DECODERS)
def test_ours_loads_theirs(name: str, projection: bool, tmp_path: Path) -> None:
    from peft import PrefixTuningConfig, TaskType, get_peft_model

    config = PrefixTuningConfig(
        task_type=TaskType.SEQ_CLS, num_virtual_tokens=6, prefix_projection=projection, encoder_hidden_size=5
    )
    torch.manual_seed(0)
    theirs = get_peft_model(make_model(decoder_config(name), n_classes=3), config).eval()
    files = peft_files(theirs, tmp_path)
    options, state = METHOD.from_peft(
        PeftFiles(files.config, {"prompt_embeddings": files.tensors["prompt_embeddings"]})
    )
    assert options == METHOD.options(tokens=6)
    model = make_model(decoder_config(name), n_classes=3)
    head = NativeHead(model, Routing(), 1)
    ours = Stack(model, head, None, Adaptation(METHOD, [options], "all", [0]))
    head_prefix = METHOD.peft_prefix
    saved_head = {key.removeprefix(head_prefix): t for key, t in files.tensors.items() if key.startswith(head_prefix)}
    assert saved_head.keys() == ours.head_parameters(0).keys()
    ours.load_slot_state(
        0, {f"adapter.{k}": t for k, t in state.items()} | {f"head.{k}": t for k, t in saved_head.items()}
    )
    ours.routing.only = 0
    batch = batch_of_ids()
    with torch.inference_mode():
        expected, base = theirs(**batch).logits, theirs.base_model(**batch).logits
        torch.testing.assert_close(ours.model(**batch).logits, expected, **CLOSE)
    assert not torch.allclose(expected, base, **CLOSE)


def ship(base: ResolvedBase, folder: Path, head: str, depth: int | str, options: dict[str, Any]) -> Any:
    """Train one slot for a few steps, save it, and return honed's own logits (n, c) of TEXTS."""
    chosen = METHOD.options(**options)
    spec = StackSpec("prefix", chosen, head, depth, LABELS, 32, "float32", "cpu", 5)  # type: ignore[arg-type]
    stack = build_stack(base, spec, [5])
    inputs, rows = encode(stack, TEXTS), np.arange(len(TEXTS))
    examples = Examples(inputs, LABEL, np.ones(len(TEXTS)), np.zeros_like(rows), rows)
    m.train(stack, None, examples, [SlotPlan("final", 0, rows, rows[:0])])
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task="text_classification", method="prefix",
        method_options=chosen.model_dump(), head=head, label_names=LABELS, max_tokens=32, temperature=1.0,
        n_layers=len(stack.layers), depth=stack.depth, dtype="float32", dataset_fingerprint="0",
        head_modules=stack.head.module_names,
    )  # fmt: skip
    save_artifact(folder / "adapter", Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    return predict(stack, inputs, None, 0, rows)


@pytest.mark.parametrize("options", [{"tokens": 5}, {"tokens": 4, "reparameterise": True, "hidden_size": 6}])
@pytest.mark.parametrize("head", ["native", "mean"])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_theirs_loads_ours(name: str, head: str, options: dict[str, Any], tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel
    from safetensors.torch import load_file

    base = m.save_tiny_base(tmp_path / "base", name)
    expected = ship(base, tmp_path, head, "all", options)
    adapter = tmp_path / "adapter"
    assert [name for name in load_file(adapter / "adapter_model.safetensors") if "mlp" in name] == []
    batch = load_tokenizer(base)(TEXTS, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)  # all zero
    with torch.inference_mode():
        if head == "native":
            auto = transformers.AutoModelForSequenceClassification
            model = auto.from_pretrained(base.path, num_labels=len(LABELS)).eval()
            untuned = model(**batch).logits
            logits = PeftModel.from_pretrained(model, adapter).eval()(**batch).logits
        else:
            model = transformers.AutoModel.from_pretrained(base.path).eval()
            untuned = model(**batch).last_hidden_state
            hidden = PeftModel.from_pretrained(model, adapter).eval()(**batch).last_hidden_state
            assert not torch.allclose(hidden, untuned, **CLOSE)
            keep = batch["attention_mask"].unsqueeze(-1)
            own = load_file(adapter / "head.safetensors")
            logits = (hidden * keep).sum(1) / keep.sum(1) @ own["weight"].T + own["bias"]
    np.testing.assert_allclose(logits.numpy(), expected, **CLOSE)


@pytest.mark.parametrize("options", [{"tokens": 5}, {"tokens": 4, "reparameterise": True, "hidden_size": 6}])
@pytest.mark.parametrize("head", ["native", "mean"])
@pytest.mark.parametrize(("name", "depth"), [("llama", 2), ("llama", "all"), ("bert", 2), ("bert", "all")])
def test_the_served_artifact_is_the_trained_one(
    name: str, depth: int | str, head: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """In PEFT's format or not, with the MLP gone; PEFT's configuration stands only where PEFT would do the same."""
    expected = ship(m.save_tiny_base(tmp_path / "base", name), tmp_path, head, depth, options)
    assert (tmp_path / "adapter" / "adapter_config.json").exists() == (name == "llama" and depth == "all")
    served = load_specialist(tmp_path / "adapter", device="cpu")
    np.testing.assert_allclose(served.logits(TEXTS), expected, **CLOSE)
    assert not any("mlp" in key for key in served.stack.adapter_parameters(0))


def test_in_an_encoder_peft_moves_the_words() -> None:
    """The reason why an encoder's prefix is not written as PEFT's: PEFT shifts its learned positions, ours does not."""
    from peft import PrefixTuningConfig, TaskType, get_peft_model

    torch.manual_seed(0)
    theirs = get_peft_model(
        make_model(m.tiny_config("bert")),
        PrefixTuningConfig(task_type=TaskType.FEATURE_EXTRACTION, num_virtual_tokens=6),
    ).eval()
    embeddings = theirs.get_prompt_embedding_to_save("default")
    head = LinearHead(Routing(), 1, 3, 32, torch.float32)
    ours = Stack(
        make_model(m.tiny_config("bert")), head, None, Adaptation(METHOD, [METHOD.options(tokens=6)], "all", [0])
    )
    names = list(ours.adapter_parameters(0))
    ours.adapters.load(0, dict(zip(names, embeddings.chunk(len(names), dim=1), strict=True)))
    ours.routing.only = 0
    batch = batch_of_ids()
    keep = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected = theirs(**batch).last_hidden_state[keep]
        shifted = ours.model(**batch, position_ids=torch.arange(6, 17)[None]).last_hidden_state[keep]
        torch.testing.assert_close(shifted, expected, **CLOSE)
        assert not torch.allclose(ours.model(**batch).last_hidden_state[keep], expected, **CLOSE)
