"""`honed plan`: counts against really built stacks, memory that moves the right way, and shapes of any size."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from honed.app.plan_view import plan_json, show_plan, size
from honed.config import make_config
from honed.errors import BaseModelError, DataError, UsageError
from honed.methods.base import discover, get_method
from honed.pipeline.plan import AssumedData, plan
from honed.planning.machines import GPUS, Machine, named_machine
from honed.planning.memory import baseline_bytes, plan_disk, plan_memory
from honed.planning.metering import Meter, Work
from honed.planning.plan import Plan, PlanRequest, make_plan
from honed.planning.rehearsal import Rehearsal, Specialist
from honed.planning.shapes import BaseShape, read_base_shape
from honed.planning.workload import Batch, Workload, scoring_passes, training_passes
from models import HIDDEN_SIZE, N_CLASSES, TEXT_MODELS, make_examples, make_stack, make_trunk, tiny_config

HOUSE = Machine("house", 10**12, {"float32": 1e11, "bfloat16": 1e11}, 1e10, is_gpu=False, is_measured=True)
METHODS = sorted(discover())


def tiny_shape(name: str = "bert", n_layers: int | None = None) -> BaseShape:
    config = tiny_config(name)
    if n_layers:
        config.num_hidden_layers = n_layers
    return BaseShape(name, config, config.num_hidden_layers, HIDDEN_SIZE, 64, None)


def specialist(method: str = "lora", *, depth: int | str = 2, **changes: Any) -> Specialist:
    return replace(Specialist(method, get_method(method).options(), "mean", depth, "float32", N_CLASSES), **changes)


def workload(**changes: Any) -> Workload:
    usual = Workload(200, np.array([8, 12, 16]), 60.0, N_CLASSES, 5, 0.15, 0.1, 2, 16)
    return replace(usual, **changes)


def planned(
    special: Specialist | None = None, load: Workload | None = None, machine: Machine = HOUSE, **shape: Any
) -> Plan:
    return make_plan(PlanRequest(tiny_shape(**shape), special or specialist(), load or workload()), [machine])


# -- counting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", TEXT_MODELS)
def test_parameters_are_those_of_a_really_built_stack(name: str, method: str) -> None:
    found = Rehearsal(tiny_shape(name), specialist(method), 3).parameters
    stack = make_stack(name, [0], method=method, dtype="float32")
    assert found.adapter == sum(p.numel() for p in stack.adapter_parameters(0).values())
    assert found.head == sum(p.numel() for p in stack.head_parameters(0).values())
    assert found.base == stack.n_base_parameters
    assert len(found.layers) == len(stack.layers)


def test_a_native_head_is_counted() -> None:
    found = Rehearsal(tiny_shape("llama"), specialist(head="native"), 3).parameters
    stack = make_stack("llama", [0], head="native", dtype="float32")
    assert found.head == sum(p.numel() for p in stack.head_parameters(0).values())


def test_the_meter_counts_what_really_runs() -> None:
    """The same step on real tensors: same products, same tensors alive."""
    stack = make_stack("bert", [0, 1, 2], dtype="float32")
    examples = make_examples("bert", 6)
    inputs = replace(examples.inputs, encoded=[np.full(9, 3, np.int32)] * 6, n_tokens=np.full(6, 9))
    examples = replace(examples, inputs=inputs)
    trunk = make_trunk(stack, examples)
    for slot in range(3):
        for p in (*stack.adapter_parameters(slot).values(), *stack.head_parameters(slot).values()):
            p.grad = torch.zeros_like(p)
    with Meter() as real:
        logits = stack.logits(inputs, trunk, [(slot, np.arange(6)) for slot in range(3)])
        stack.task.loss(logits, torch.zeros(len(logits), dtype=torch.int64)).sum().backward()
    rehearsed = Rehearsal(tiny_shape("bert"), specialist(), 3).train(Batch(6, 9), 1.0)
    assert rehearsed.work.flop == real.work.flop > 0
    assert rehearsed.peak_bytes == pytest.approx(real.peak_bytes, rel=0.05)


def test_products_are_counted_by_hand() -> None:
    a, b, c = torch.rand(3, 4), torch.rand(4, 5), torch.rand(3, 5)
    with Meter() as meter:
        torch.mm(a, b)
        torch.addmm(c, a, b)
        c.addmm_(a, b)
    assert meter.work.flop == 3 * 2 * 3 * 4 * 5
    assert meter.peak_bytes == 2 * 3 * 5 * 4 - 3 * 5 * 4  # one result at a time, and c was there before


def test_views_cost_nothing_and_weights_are_not_activations() -> None:
    weight = torch.rand(100, 100)
    with Meter() as meter:
        weight.T[:, :50].unsqueeze(0)
    assert meter.work == Work({})
    assert meter.peak_bytes == 0


def test_deep_bases_are_continued_on_a_straight_line() -> None:
    """Twelve layers alike: what is metered up to six layers is where the line would have led."""
    rehearsal = Rehearsal(tiny_shape(n_layers=12), specialist(), 3)
    batch = Batch(4, 8)
    one, two, six = (rehearsal.train(batch, 0.8, depth) for depth in (1, 2, 6))
    line = one.along(two, 5, keeps=True)
    assert line.work.flop == pytest.approx(six.work.flop, rel=1e-9)
    assert line.peak_bytes == pytest.approx(six.peak_bytes, rel=0.05)
    deep = rehearsal.train(batch, 0.8, 12)
    assert deep.work.flop == pytest.approx(one.work.flop + 11 * (two.work.flop - one.work.flop))


def test_experts_that_do_not_see_a_token_are_idle() -> None:
    import transformers

    config = transformers.Qwen3MoeConfig(
        vocab_size=60, hidden_size=32, intermediate_size=64, moe_intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, num_experts=8, num_experts_per_tok=2, head_dim=8,
        max_position_embeddings=64,
    )  # fmt: skip
    found = Rehearsal(BaseShape("moe", config, 2, 32, 64, None), specialist(depth=1), 2).parameters
    assert found.base - found.active == 2 * 6 * (32 * 2 * 16 + 16 * 32)


# -- memory and time move the right way ------------------------------------------------------------------------------


def peak(found: Plan) -> int:
    return found.machines[0].memory.host_bytes


def seconds(found: Plan) -> float:
    result = found.machines[0].seconds
    assert result is not None
    return result


def test_more_layers_more_memory_and_time() -> None:
    plans = [planned(specialist(depth=depth), n_layers=8) for depth in (1, 2, 8)]
    trained = [p.machines[0].memory.host["activations"] + p.facts.slot_bytes for p in plans]
    assert trained == sorted(trained)
    assert trained[0] < trained[-1]
    assert [p.work.train.flop for p in plans] == sorted({p.work.train.flop for p in plans})


def test_more_rows_more_of_everything() -> None:
    few, many = planned(load=workload(rows=200)), planned(load=workload(rows=4000))
    assert peak(few) < peak(many)
    assert seconds(few) < seconds(many)
    assert few.disk.kept_bytes < many.disk.kept_bytes
    assert many.facts.trunk_bytes == int(3400 * 12 * HIDDEN_SIZE * 4)


def test_two_epochs_train_twice_as_long_as_one() -> None:
    one, two = (planned(load=workload(epochs=n, stop_frac=0.0)).work.train.flop for n in (1, 2))
    assert 1.8 * one < two < 2 * one, "the test parts are scored once"


def test_recomputing_takes_less_memory_and_more_work() -> None:
    batch = Batch(20, 60)
    kept, again = (
        Rehearsal(tiny_shape(), specialist(depth=3, recompute=recompute), 3).train(batch, 0.8)
        for recompute in (False, True)
    )
    assert again.peak_bytes < 0.7 * kept.peak_bytes
    assert again.work.flop > 1.1 * kept.work.flop


def test_slots_of_a_method_that_does_not_stack_hold_one_set_of_moments() -> None:
    full = planned(specialist("full"))
    held = full.machines[0].memory.host
    assert held["optimizer moments"] == 2 * full.facts.slot_bytes
    assert held["trained weights"] == 0, "they are the base's own"
    lora = planned(specialist("lora"))
    assert lora.machines[0].memory.host["optimizer moments"] == 2 * 6 * lora.facts.slot_bytes


def test_a_checkpoint_is_copied_where_the_activations_were() -> None:
    """Full fine-tuning keeps every slot's weights, and a checkpoint doubles them: only what exceeds them counts."""
    short = planned(specialist("full"), machine=replace(HOUSE, flop_per_s={"float32": 1e15}, bytes_per_s=1e15))
    facts = replace(short.facts, lasts_s=1e9)
    passes = plan_memory(facts, is_gpu=False).host["activations"]
    extra = plan_memory(facts, is_gpu=False).host["checkpoint or baselines"]
    assert extra == max(0, max(2 * facts.checkpoint_bytes, baseline_bytes(facts.workload)) - passes)
    huge = replace(facts, parameters=replace(facts.parameters, adapter=10**9))
    assert plan_memory(huge, is_gpu=False).host["checkpoint or baselines"] > 2 * huge.checkpoint_bytes - 2 * passes
    assert plan_disk(short.facts, keeps_texts=False).during["checkpoints"] == 0
    assert plan_disk(facts, keeps_texts=False).during["checkpoints"] == 2 * facts.checkpoint_bytes


def test_the_trunk_cache_leaves_memory_for_the_disk() -> None:
    small = replace(HOUSE, memory_bytes=10**6)
    request = PlanRequest(tiny_shape(), specialist(depth=1), workload(rows=4000))
    assert make_plan(request, [HOUSE]).disk.during["trunk cache"] == 0
    spilled = make_plan(request, [small])
    assert spilled.machines[0].memory.host["trunk cache"] == 0
    assert spilled.disk.during["trunk cache"] == spilled.facts.trunk_bytes > 0


def test_a_sharded_plan_that_needs_recomputing_says_so() -> None:
    config = make_config({"base": "100b", "precision": "bfloat16", "depth": "all"})
    result = plan(config, machines=["H200"]).machines[0]
    fitting = [remedy.name for remedy in result.remedies if remedy.fits]
    assert any("sharding" in name and "recomputing" in name for name in fitting)


def test_a_step_is_bound_by_its_products_memory_or_calls() -> None:
    machine = replace(HOUSE, flop_per_s={"float32": 100.0}, bytes_per_s=10.0)
    assert machine.seconds(Work({(1000.0, 10): 2}), "float32") == 20
    assert machine.seconds(Work({(10.0, 1000): 1}), "float32") == 100
    assert machine.seconds(Work({(0.0, 0): 3}), "float32") == pytest.approx(3e-5)
    assert machine.seconds(Work({(1.0, 1): 1}), "bfloat16") is None


def test_every_row_passes_once_an_epoch() -> None:
    load = workload(rows=300, lengths=np.array([5, 9, 30, 60]))
    tokens = load.development * 26  # their mean
    scoring = scoring_passes(load, load.development)
    training, steps = training_passes(load, 6)
    for passes in (scoring, training):
        padded = passes.n * passes.typical.rows * passes.typical.tokens
        assert tokens <= padded * 1.02
        assert padded <= 1.6 * tokens, "a batch mixes lengths, but not all of them"
        assert passes.largest.tokens <= 60
    assert steps == -(-load.development // 20)


# -- machines and remedies -------------------------------------------------------------------------------------------


def test_what_does_not_fit_comes_with_alternatives() -> None:
    small = replace(HOUSE, memory_bytes=1000)
    result = planned(specialist(depth=3), machine=small).machines[0]
    assert not result.fits
    by_name = {remedy.name: remedy for remedy in result.remedies}
    assert all(remedy.bytes < result.memory.host_bytes for remedy in result.remedies)
    assert not any(remedy.fits for remedy in result.remedies)
    assert {remedy.status for remedy in result.remedies} <= {"today", "not in honed yet"}
    assert all(remedy.status == "today" for name, remedy in by_name.items() if name.startswith("depth "))


def test_a_sharded_base_fits_its_devices() -> None:
    result = plan(make_config({"base": "100b", "precision": "bfloat16", "depth": 1}), machines=["H100"]).machines[0]
    by_name = {remedy.name: remedy for remedy in result.remedies}
    sharded = next(remedy for name, remedy in by_name.items() if name.startswith("sharding") and "4-bit" not in name)
    assert not result.fits
    assert sharded.fits
    assert sharded.status == "not in honed yet"
    assert by_name["streaming the frozen layers once"].fits
    assert by_name["4-bit base"].bytes < by_name["8-bit base"].bytes < result.memory.device_bytes


@pytest.mark.parametrize("name", GPUS)
def test_named_machines_are_estimates(name: str) -> None:
    machine = named_machine(name.lower().replace("-", " "))
    assert machine is GPUS[name]
    assert not machine.is_measured
    assert machine.memory_bytes >= 16e9


def test_a_format_that_a_card_lacks_is_not_estimated() -> None:
    config = make_config({"base": "100b", "precision": "bfloat16", "depth": 1})
    assert plan(config, machines=["T4"]).machines[0].seconds is None


def test_an_unknown_machine_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean H100"):
        named_machine("H10O")


# -- shapes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "total", "active"), [("100b", 1e11, 1e11), ("1t", 1e12, 32e9)])
def test_a_giant_is_planned_in_seconds_and_without_its_memory(name: str, total: float, active: float) -> None:
    torch.rand(1)
    before, start = psutil.Process().memory_info().rss, time.process_time()
    found = plan(make_config({"base": name, "precision": "bfloat16", "depth": 1}), machines=["H200"])
    assert found.parameters.base == pytest.approx(total, rel=0.05)
    assert found.parameters.active == pytest.approx(active, rel=0.05)
    assert found.facts.base_bytes == 2 * found.parameters.base
    assert time.process_time() - start < 60, "a minute is far more than it takes, and far less than weights would"
    assert psutil.Process().memory_info().rss - before < 1e9
    assert not found.machines[0].fits


def test_a_folder_or_file_with_a_configuration_alone_will_do(tmp_path: Path) -> None:
    tiny_config("llama").save_pretrained(tmp_path)
    folder, file = read_base_shape(str(tmp_path)), read_base_shape(str(tmp_path / "config.json"))
    assert folder.n_layers == file.n_layers == 3
    assert folder.config.hidden_size == file.config.hidden_size == HIDDEN_SIZE
    found = plan(make_config({"base": str(tmp_path), "max_tokens": 32}), machines=["L4"])
    assert found.parameters.base == make_stack("llama", [0], dtype="float32").n_base_parameters


def test_a_broken_configuration_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(BaseModelError, match="cannot be read"):
        read_base_shape(str(tmp_path / "x.json"))
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(BaseModelError, match="model_type"):
        read_base_shape(str(tmp_path / "x.json"))
    with pytest.raises(BaseModelError, match="no config"):
        read_base_shape(str(tmp_path))


# -- from a configuration --------------------------------------------------------------------------------------------


def write_rows(path: Path, n: int) -> Path:
    lines = [json.dumps({"text": "word " * (1 + i % 9) + str(i), "label": "ab"[i % 2]}) for i in range(n)]
    path.write_text("\n".join(lines))
    return path


def test_data_that_are_there_are_read(tmp_path: Path) -> None:
    tiny_config("bert").save_pretrained(tmp_path / "base")
    data = write_rows(tmp_path / "rows.jsonl", 40)
    found = plan(make_config({"data": str(data), "base": str(tmp_path / "base"), "max_tokens": 8}), machines=["L4"])
    load = found.request.workload
    assert (load.rows, load.n_classes) == (40, 2)
    assert load.lengths.max() == 8, "cut"
    assert load.lengths.min() == round(1.4 * 2)
    assert any("1.4 tokens a word" in note for note in found.request.notes)


def test_without_data_rows_are_assumed_and_said() -> None:
    config = make_config({"base": "100b", "depth": 1, "max_tokens": 64})
    found = plan(config, machines=["H200"], assumed=AssumedData(rows=500, tokens=500, n_classes=3))
    assert (found.request.workload.rows, found.request.workload.lengths.tolist()) == (500, [64])
    assert "500 rows of 64 tokens in 3 classes were assumed" in " ".join(found.request.notes)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"data": "absent.csv"}, UsageError),
        ({"depth": 99}, UsageError),
        ({"max_tokens": 900_000}, UsageError),
        ({"base": "./nowhere"}, BaseModelError),
    ],
)
def test_what_cannot_be_planned_is_refused(values: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        plan(make_config({"base": "100b", **values}), machines=["H200"])


def test_unlabelled_data_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\na,x\nb,x\nc,x\nd,x\ne,x\n")
    with pytest.raises(DataError, match="one class"):
        plan(make_config({"base": "100b", "data": str(path)}), machines=["H200"])


def test_a_workload_without_rows_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 4 rows"):
        workload(rows=0)


def test_the_plan_is_shown_and_is_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    small = replace(named_machine("T4"), memory_bytes=10)
    found = make_plan(PlanRequest(tiny_shape(), specialist(), workload()), [HOUSE, small])
    show_plan(found)
    said = capsys.readouterr().out
    assert "house" in said
    assert "What would make it fit T4" in said
    assert "not measured" in said
    read = json.loads(json.dumps(plan_json(found), allow_nan=False))
    assert read["machines"][0]["peak_bytes"] == sum(read["machines"][0]["peak_by_item"].values())
    assert read["machines"][0]["seconds"] == pytest.approx(sum(read["machines"][0]["seconds_by_stage"].values()))


def test_sizes_are_written_in_powers_of_1000() -> None:
    assert [size(n) for n in (12, 1000, 2.05e12)] == ["12 B", "1 kB", "2.05 TB"]
