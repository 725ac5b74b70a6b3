"""Direct preference optimization against TRL's own trainer: the same tokens, loss and gradient from the same pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_language as l
from honed.artifact import Artifact, ArtifactInfo, save_artifact
from honed.training.stack import Inputs, Stack
from tolerances import tolerance

pytest.importorskip("trl", reason="NOT RUN: needs pip install 'honed[preference]'")

# As CHATML, but nothing follows the end of a turn: what does, TRL takes for a part of the reply.
TEMPLATE = l.CHATML.replace("<|im_end|>\n", "<|im_end|>")
BETA = 0.3


def trained(base: Any) -> tuple[Stack, Inputs]:
    """A stack whose slot is no longer the base, and pairs that know what the base says of them."""
    stack = l.preference_stack(base, (0,), beta=BETA)
    inputs = l.preference_inputs(stack, None)
    generator = torch.Generator().manual_seed(1)
    for parameter in stack.adapter_parameters(0).values():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype) * 0.3)
    return stack, inputs


def trl_trainer(base: Any, adapter: Path, out: Path) -> Any:
    """TRL's trainer over the same base, with the weights of a saved adapter; its reference is the base."""
    from datasets import Dataset
    from peft import LoraConfig, load_peft_weights, set_peft_model_state_dict
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    talks = [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in pair.prompt()],
            "chosen": [{"role": "assistant", "content": pair.reply()}],
            "rejected": [{"role": "assistant", "content": pair.rejected}],
        }
        for pair in l.preferences(6)
    ]
    args = DPOConfig(
        output_dir=str(out), beta=BETA, max_length=None, report_to=[], use_cpu=True, bf16=False,
        gradient_checkpointing=False, disable_dropout=True,
    )  # fmt: skip
    config = LoraConfig.from_pretrained(str(adapter))
    config.inference_mode = False  # a saved adapter is one for use
    trainer = DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float64),
        args=args,
        train_dataset=Dataset.from_list(talks),
        processing_class=AutoTokenizer.from_pretrained(base.path),
        peft_config=config,
    )
    trainer.model.to(torch.float64)
    set_peft_model_state_dict(trainer.model, load_peft_weights(str(adapter)))
    return trainer


def test_loss_and_gradient_are_those_of_trl(tmp_path: Path) -> None:
    base = l.save_causal_base(tmp_path / "base", template=TEMPLATE)
    stack, inputs = trained(base)
    info = ArtifactInfo(
        base=str(base.path), base_hub_id=None, base_revision=None, base_sha256=base.sha256, tokenizer_sha256="",
        task="instruction", method="lora", method_options={}, head="language", label_names=("reply",), max_tokens=256,
        temperature=1.0, n_layers=3, depth=2, dtype="float64", dataset_fingerprint="", reading=stack.task.to_json(),
    )  # fmt: skip
    save_artifact(tmp_path / "adapter", Artifact(info, stack.slot_state(0)), sites=stack.adapters.sites)
    trainer = trl_trainer(base, tmp_path / "adapter", tmp_path / "trl")
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(6)])

    ours = stack.task.collate(inputs.encoded)
    order = np.concatenate([np.arange(0, 12, 2), np.arange(1, 12, 2)])  # TRL reads all chosen ones first
    torch.testing.assert_close(ours["input_ids"][order], batch["input_ids"])
    torch.testing.assert_close((ours["targets"][order] >= 0).long(), batch["completion_mask"])

    logits = stack.logits(inputs, None, [(0, np.arange(6))])
    loss = stack.task.loss(logits, torch.zeros(6, dtype=torch.int64)).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    theirs = trainer.compute_loss(trainer.model, batch)
    theirs.backward()
    assert abs(loss.item() - np.log(2)) > 0.01  # the adapter does something
    torch.testing.assert_close(loss, theirs.to(loss), **tolerance("logits_same_weights", "float32"))
    gradient = {
        name.removeprefix("base_model.model.").replace(".default", ""): parameter.grad
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    own = stack.adapter_parameters(0)
    assert gradient.keys() == own.keys()
    for name, parameter in own.items():
        torch.testing.assert_close(
            parameter.grad, gradient[name].to(parameter), **tolerance("logits_same_weights", "float32")
        )
