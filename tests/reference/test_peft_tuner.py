"""Every tuner of the installed PEFT behind honed's interface, and its adapters in the hands of plain PEFT and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.artifact import Artifact, ArtifactInfo, save_artifact, tokenizer_sha256
from honed.bases import ResolvedBase, load_backbone, load_tokenizer
from honed.config import make_config
from honed.errors import ConfigError, UsageError
from honed.methods.base import PeftFiles, get_method
from honed.methods.peft_tuner import PeftTunerOptions, peft_config, tuner_names
from honed.serving.engine import load_specialist
from honed.training.build import StackSpec, build_stack, encode
from honed.training.loop import predict
from tolerances import tolerance

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:peft.*")  # advice to those who call PEFT themselves
CLOSE = tolerance("logits_same_weights", "float32")
LABELS = ("good", "bad", "late")
TEXTS, _ = m.toy_texts(12)


@dataclass(frozen=True)
class Tuner:
    """options : that fit modules of 32 x 32.    starts_at_base : no difference at step 0.    dtype : that it can."""

    options: dict[str, Any] = field(default_factory=dict)
    merges: bool = True
    starts_at_base: bool = True
    dtype: str = "float64"


TUNERS = {
    "ADAMSS": Tuner(),
    "BEFT": Tuner(),
    "C3A": Tuner({"block_size": 8}, starts_at_base=False),
    "DEFT": Tuner(),
    "DELORA": Tuner(),
    "DORA": Tuner(),
    "FOURIERFT": Tuner({"n_frequency": 100}, starts_at_base=False),
    "FROD": Tuner(),
    "GLORA": Tuner(),
    "GRALORA": Tuner({"r": 8}),
    "HIRA": Tuner(),
    "HRA": Tuner(),
    "IA3": Tuner(),
    "LILY": Tuner({"r": 8}, merges=False),
    "LOHA": Tuner(),
    "LOKR": Tuner(),
    "LORA": Tuner({"use_rslora": True}),
    "MISS": Tuner({"r": 8}),
    "OFT": Tuner({"oft_block_size": 8, "r": 0}),
    "OSF": Tuner(),
    "PEANUT": Tuner({"r": 8}),
    "PSOFT": Tuner({"r": 4}, dtype="float32"),
    "RANDLORA": Tuner(),
    "ROAD": Tuner({"group_size": 8}),
    "SHIRA": Tuner({"r": 4}),
    "SUPERTUNING": Tuner(),
    "TINYLORA": Tuner(),
    "UNILORA": Tuner(starts_at_base=False),
    "VBLORA": Tuner({"vector_length": 8, "num_vectors": 16}, starts_at_base=False),
    "VERA": Tuner(),
    "WAVEFT": Tuner({"n_frequency": 64}),
}
tuners = pytest.mark.parametrize("tuner", [name for name in TUNERS if name in tuner_names()])
both = pytest.mark.parametrize("name", ["bert", "llama"])


def given(tuner: str) -> dict[str, Any]:
    return {"tuner": tuner, **TUNERS[tuner].options}


def test_the_table_has_every_tuner_that_is_offered() -> None:
    assert set(tuner_names()) <= TUNERS.keys(), "a newer PEFT: try it, and add it here or to REFUSED"


@pytest.mark.parametrize(
    ("tuner", "hint"),
    [("PREFIX_TUNING", "--method prefix"), ("P_TUNING", "--method prefix"), ("prompt_tuning", "--method prefix"),
     ("ADALORA", "optimizer step"), ("POLY", "task number"), ("LN_TUNING", "norms"), ("verra", "did you mean VERA")],
)  # fmt: skip
def test_a_tuner_that_is_not_to_be_had_says_why(tuner: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        make_config({"data": "x.csv", "method": "peft_tuner", "method_options": {"tuner": tuner}})


def test_all_faults_are_shown_at_once_with_the_name_that_was_meant() -> None:
    options = {"tuner": "vera", "dinitial": 0.2, "vera_dropout": 0.1, "bias": "all", "r": 8}
    with pytest.raises(ConfigError) as fault:
        make_config({"data": "x.csv", "method": "peft_tuner", "method_options": options})
    shown = str(fault.value)
    assert "3 faults" in shown and "--option dinitial: unknown; did you mean d_initial?" in shown
    assert "--option vera_dropout" in shown and "--option bias: unknown" in shown and "--option r" not in shown


def test_options_of_the_tuner_are_saved_with_ours() -> None:
    options = PeftTunerOptions.model_validate({"tuner": "vera", "r": 8, "target": "all-linear"})
    assert options.model_dump() == {"tuner": "VERA", "target": "all-linear", "r": 8}
    assert PeftTunerOptions(**options.model_dump()) == options


@tuners
def test_slots_begin_train_and_merge_on_their_own(tuner: str) -> None:
    name = "dinov2"
    fact, examples = TUNERS[tuner], m.make_examples(name)
    close = tolerance("logits_same_weights", fact.dtype)
    stack = m.make_stack(name, [5, 9, 5], method="peft_tuner", dtype=fact.dtype, **given(tuner))
    states = [stack.adapters.state(slot) for slot in range(3)]
    single = m.make_stack(name, [9], method="peft_tuner", dtype=fact.dtype, **given(tuner)).adapters.state(0)
    assert all(
        torch.equal(states[0][key], states[2][key]) and torch.equal(states[1][key], single[key]) for key in single
    )

    batch = stack.task.collate(examples.inputs.encoded)

    def hidden(slot: int | None) -> torch.Tensor:
        stack.adapters.use(slot)
        state: torch.Tensor = stack.model(**batch).last_hidden_state
        return state

    base = m.tiny_model(name, fact.dtype)(**batch).last_hidden_state.detach()
    assert torch.equal(hidden(None), base), "no adapter in use: the base, exactly"
    rounding = 1e-6 * float(base.abs().max())  # DEFT and FROD begin at the base up to a decomposition's rounding
    assert (float((hidden(1).detach() - base).abs().max()) <= rounding) == fact.starts_at_base

    hidden(1).pow(3).sum().backward()
    live = {id(p) for slot in range(3) for p in stack.adapters.parameters(slot).values()}
    assert stack.adapters.parameters(1), "something should train"
    assert {id(p) for p in stack.model.parameters() if p.requires_grad} <= live
    for slot in range(3):
        assert {p.grad is not None for p in stack.adapters.parameters(slot).values()} == {slot == 1}
    others = [hidden(slot).detach() for slot in (None, 0, 2)]
    move(stack, 1)
    moved = hidden(1).detach()
    assert not torch.allclose(moved, base, **close)
    assert all(torch.equal(hidden(slot), other) for slot, other in zip((None, 0, 2), others, strict=True))
    if not fact.merges:
        with pytest.raises(UsageError, match="cannot be merged"):
            stack.adapters.merge(1)
        return
    stack.adapters.merge(1)
    assert stack.model.state_dict().keys() == m.tiny_model(name).state_dict().keys()
    torch.testing.assert_close(hidden(1), moved, **CLOSE)  # some tuners keep parts in float32


def move(stack: Any, slot: int) -> None:
    """A change of every trained tensor, as training would make, but large."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in stack.adapters.parameters(slot).values():
            p.add_(0.1 * torch.randn(p.shape, generator=generator).to(p))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResolvedBase]:
    return {name: m.save_tiny_base(tmp_path_factory.mktemp(name) / "base", name) for name in ("bert", "llama")}


def batch_of(base: ResolvedBase) -> Any:
    batch = load_tokenizer(base)(TEXTS, return_tensors="pt", padding=True)
    batch.pop("token_type_ids", None)
    return batch


@tuners
@both
def test_ours_through_plain_peft(name: str, tuner: str, bases: dict[str, ResolvedBase], tmp_path: Path) -> None:
    import transformers
    from peft import PeftModel

    base, options = bases[name], PeftTunerOptions(**given(tuner))
    stack = build_stack(base, StackSpec("peft_tuner", options, "native", 2, LABELS, 32, "float32", "cpu"), [3, 4])
    move(stack, 1)
    inputs = encode(stack, TEXTS)
    expected = predict(stack, inputs, None, 1, np.arange(len(TEXTS)))
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer), task="text_classification", method="peft_tuner",
        method_options=options.model_dump(), head="native", label_names=LABELS, max_tokens=32, temperature=1.0,
        n_layers=len(stack.layers), depth=2, dtype="float32", dataset_fingerprint="0",
        head_modules=stack.head.module_names,
    )  # fmt: skip
    save_artifact(tmp_path / "adapter", Artifact(info, stack.slot_state(1)), sites=stack.adapters.sites)

    served = load_specialist(tmp_path / "adapter", device="cpu")
    np.testing.assert_allclose(served.logits(TEXTS), expected, **CLOSE)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base.path, num_labels=len(LABELS))
    batch = batch_of(base)
    with torch.inference_mode():
        untuned = model.eval()(**batch).logits.numpy()
        logits = PeftModel.from_pretrained(model, tmp_path / "adapter").eval()(**batch).logits.numpy()
    np.testing.assert_allclose(logits, expected, **CLOSE)
    assert not np.allclose(logits, untuned, **CLOSE)


@tuners
@both
def test_plain_pefts_through_ours(name: str, tuner: str, bases: dict[str, ResolvedBase], tmp_path: Path) -> None:
    from peft import PeftModel
    from safetensors.torch import load_file

    method, base, options = get_method("peft_tuner"), bases[name], PeftTunerOptions(**given(tuner))
    spec = StackSpec("peft_tuner", options, "mean", 2, LABELS, 32, "float32", "cpu")
    sites = build_stack(base, spec, [0]).adapters.sites
    torch.manual_seed(11)
    theirs = PeftModel(load_backbone(base), peft_config(options, sites)).eval()
    with torch.no_grad():
        for p in theirs.parameters():
            if p.requires_grad:
                p.add_(0.1 * torch.randn_like(p))
        expected = theirs(**batch_of(base)).last_hidden_state
    theirs.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    read, state = method.from_peft(PeftFiles(config, load_file(tmp_path / "adapter_model.safetensors")))
    assert read.tuner == ("LORA" if tuner == "LORA" else tuner)
    stack = build_stack(base, StackSpec("peft_tuner", read, "mean", 2, LABELS, 32, "float32", "cpu"), [99])
    assert set(stack.adapters.sites) == set(sites)
    stack.adapters.load(0, state)
    stack.adapters.use(0)
    with torch.inference_mode():
        torch.testing.assert_close(stack.model(**batch_of(base)).last_hidden_state, expected, **CLOSE)
