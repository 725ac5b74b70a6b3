"""LoRA adapters that plain PEFT made, read into a stack: same weights, same logits."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import models as m
from honed.errors import UsageError
from honed.methods.base import PeftFiles, get_method
from honed.tasks.heads import LinearHead, masked_mean
from honed.training.stack import Adaptation, Stack

LEAVES = {"bert": ["query", "value"], "llama": ["q_proj", "v_proj", "down_proj"], "gemma3": ["q_proj", "o_proj"]}
ROWS = np.array([5, 1, 8])


def write_theirs(name: str, folder: Path, **options: Any) -> Any:
    """A PEFT model with random weights in A and B, saved; float32."""
    from peft import LoraConfig, get_peft_model

    base = m.tiny_model(name, "float32")
    paths = [path for path, _ in base.named_modules() if path.rpartition(".")[2] in LEAVES[name]]
    upper = [path for path in paths if not re.search(r"\blayers?\.0\.", path)]
    model = get_peft_model(base, LoraConfig(r=3, lora_alpha=5, target_modules=upper, **options))
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(len(key)))
    model.save_pretrained(folder)
    return model.eval()


def read(folder: Path) -> PeftFiles:
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text())
    return PeftFiles(config, load_file(folder / "adapter_model.safetensors"))


@pytest.mark.parametrize("options", [{}, {"use_rslora": True}], ids=["plain", "rslora"])
@pytest.mark.parametrize("name", LEAVES)
def test_ours_loads_theirs(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs = write_theirs(name, tmp_path, **options)
    method = get_method("lora")
    read_options, state = method.from_peft(read(tmp_path))
    assert read_options.rank == 3 and read_options.target == ",".join(sorted(LEAVES[name]))

    stack = m.make_stack(name, [0, 1], dtype="float32", depth="all", **read_options.model_dump())
    ours = stack.slot_state(1)
    assert {f"adapter.{key}" for key in state} < ours.keys()
    zero = {key: torch.zeros_like(tensor) for key, tensor in ours.items()}  # layers that theirs leaves alone
    stack.load_slot_state(1, zero | {f"adapter.{key}": tensor for key, tensor in state.items()})
    examples = m.make_examples(name)
    batch = stack.task.collate([examples.inputs.encoded[i] for i in ROWS])
    with torch.inference_mode():
        stack.logits(examples.inputs, None, [(1, ROWS)])  # routes the batch to slot 1
        mine = masked_mean(stack.model(**batch).last_hidden_state, batch["attention_mask"])
        wanted = masked_mean(theirs(**batch).last_hidden_state, batch["attention_mask"])
        plain = masked_mean(m.tiny_model(name, "float32")(**batch).last_hidden_state, batch["attention_mask"])
    torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(mine, plain, atol=1e-3)


def test_a_variant_that_we_have_not_is_refused(tmp_path: Path) -> None:
    write_theirs("bert", tmp_path, use_dora=True)
    with pytest.raises(UsageError, match="use_dora"):
        get_method("lora").from_peft(read(tmp_path))


def test_slots_of_one_stack_may_differ_in_rank_and_scaling() -> None:
    """Each slot is what it would be alone."""
    method, name = get_method("lora"), "bert"
    options = [method.options(rank=2, alpha=3.0), method.options(rank=5, rslora=True)]
    examples = m.make_examples(name)
    plans = m.make_plans(examples, has_stop=False)[:2]

    def stack_of(own: list[Any], seeds: list[int]) -> Stack:
        from honed.routing import Routing

        base = m.make_stack(name, [0])
        head = LinearHead(Routing(), len(own), m.N_CLASSES, m.HIDDEN_SIZE, torch.float64)
        return Stack(m.tiny_model(name), head, base.task, Adaptation(method, own, 2, seeds))

    together = m.train(stack_of(options, [0, 1]), None, examples, plans)
    for slot, plan in enumerate(plans):
        single = m.train(stack_of([options[slot]], [slot]), None, examples, [m.alone(plan)])
        torch.testing.assert_close(single.state[plan.name], together.state[plan.name], rtol=1e-9, atol=1e-9)
    with pytest.raises(UsageError, match="target"):
        stack_of([options[0], method.options(target="all-linear")], [0, 1])
