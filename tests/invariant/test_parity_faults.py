"""Parity or nothing: every planted fault of an export is caught, and told by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from export_runs import make_run
from honed.errors import ParityError
from honed.pipeline.export import export, recheck

HALVES = ("float16", "bfloat16")


@dataclass(frozen=True)
class Exported:
    """A run, and where it was exported, by head and format."""

    runs: dict[str, Path]
    folders: dict[tuple[str, str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("faults")
    runs = {head: make_run(folder, "lora", head) for head in ("mean", "native")}
    return Exported(
        runs, {(head, to): export(run, to=to).folder for head, run in runs.items() for to in ("peft", "merged")}
    )


def change_json(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


def change_tensors(folder: Path, name: str, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / name)
    change(tensors)
    (folder / name).unlink()
    save_file(tensors, folder / name, metadata={"format": "pt"})


def drop(part: str) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        for name in [name for name in tensors if part in name]:
            del tensors[name]

    return change


def round_to(dtype: str) -> Callable[[dict[str, Any]], None]:
    def change(tensors: dict[str, Any]) -> None:
        import torch

        tensors |= {name: t.to(getattr(torch, dtype)).float() for name, t in tensors.items() if t.is_floating_point()}

    return change


def drop_head_file(folder: Path) -> None:
    (folder / "head.safetensors").unlink()


def drop_merged_head(folder: Path) -> None:
    change_tensors(folder, "model.safetensors", drop("classifier"))


def drop_adapter_head(folder: Path) -> None:
    change_tensors(folder, "adapter_model.safetensors", drop("classifier"))


def double_alpha(folder: Path) -> None:
    change_json(folder, "adapter_config.json", lambda config: config.update(lora_alpha=2 * config["lora_alpha"]))


def other_vocabulary(folder: Path) -> None:
    def change(tokenizer: dict[str, Any]) -> None:
        words = tokenizer["model"]["vocab"]
        words["parcel"], words["again"] = words["again"], words["parcel"]

    change_json(folder, "tokenizer.json", change)


def lowercase(folder: Path) -> None:
    change_json(folder, "tokenizer.json", lambda tokenizer: tokenizer.update(normalizer={"type": "Lowercase"}))


def other_length(folder: Path) -> None:
    change_json(folder, "tokenizer_config.json", lambda config: config.update(model_max_length=64))


def stored_half(folder: Path) -> None:
    change_tensors(folder, "model.safetensors", round_to("float16"))


def computed_half(folder: Path) -> None:
    change_json(folder, "config.json", lambda config: config.update(dtype="bfloat16"))


def swap_names(folder: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        names = config["id2label"]
        names["0"], names["1"] = names["1"], names["0"]

    change_json(folder, "config.json", change)


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@dataclass(frozen=True)
class Fault:
    """An export of the run with `head`, harmed; the check and the layer that must tell it."""

    head: str
    to: str
    harm: Callable[[Path], None]
    check: str
    layer: str | None = None


FAULTS = {
    "dropped head file": Fault("mean", "merged", drop_head_file, "head", "head"),
    "dropped head file beside the adapter": Fault("mean", "peft", drop_head_file, "head", "head"),
    "dropped native head": Fault("native", "merged", drop_merged_head, "head", "head"),
    "wrong scaling": Fault("mean", "peft", double_alpha, "logits", "encoder.layer.1"),
    "wrong scaling, native head": Fault("native", "peft", double_alpha, "logits", "bert.encoder.layer.1"),
    "stale tokenizer: vocabulary": Fault("mean", "merged", other_vocabulary, "tokens"),
    "stale tokenizer: lowercase": Fault("native", "peft", lowercase, "tokens"),
    "stale tokenizer: length": Fault("mean", "merged", other_length, "tokens"),
    "half precision, stored": Fault("mean", "merged", stored_half, "logits", "embeddings"),
    "half precision, computed": Fault("native", "merged", computed_half, "logits", "embeddings"),
    "swapped label names": Fault("native", "merged", swap_names, "label_names"),
    "swapped label names beside the adapter": Fault("mean", "peft", swap_names, "label_names"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_caught(exported: Exported, fault: Fault, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported.folders[fault.head, fault.to], tmp_path / "export"))
    fault.harm(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "parity.json"}
    with pytest.raises(ParityError) as caught:
        recheck(exported.runs[fault.head], to=fault.to, out=folder)
    error = caught.value
    assert error.exit_code == 4
    outcomes = {row["check"]: row["outcome"] for row in error.facts["parity"]["checks"]}
    assert outcomes[fault.check] == "different"
    assert error.facts["verdict"] == "FAIL" and error.facts["first_difference"] == fault.layer
    assert fault.layer is None or f"in {fault.layer}" in error.cause
    assert json.loads((folder / "parity.json").read_text()) == error.facts
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "parity.json"} == before


@pytest.mark.parametrize("head", ["mean", "native"])
@pytest.mark.parametrize("to", ["peft", "merged"])
def test_without_a_fault_it_passes(exported: Exported, head: str, to: str) -> None:
    assert recheck(exported.runs[head], to=to).parity["verdict"] == "PASS"


def test_a_lost_head_is_named(exported: Exported, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(exported.folders["native", "merged"], tmp_path / "export"))
    drop_merged_head(folder)
    with pytest.raises(ParityError, match=r"It has lost classifier\.bias, classifier\.weight\."):
        recheck(exported.runs["native"], to="merged", out=folder)


@pytest.mark.parametrize(
    ("head", "to", "harm", "told"),
    [
        ("mean", "merged", truncated, "transformers .* cannot use it: its model gives"),
        ("native", "peft", drop_adapter_head, r"peft .* cannot use it: .*classifier\.weight"),
    ],
)
def test_what_the_other_program_cannot_use_is_no_parity(
    exported: Exported, head: str, to: str, harm: Callable[[Path], None], told: str, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(exported.folders[head, to], tmp_path / "export"))
    harm(folder)
    with pytest.raises(ParityError, match=told) as caught:
        recheck(exported.runs[head], to=to, out=folder)
    assert caught.value.exit_code == 4 and caught.value.facts["unreadable"] and not caught.value.facts["parity"]


def test_an_artifact_that_changed_since_it_was_measured_is_caught(exported: Exported, tmp_path: Path) -> None:
    """The export agrees with the adapter folder; neither is what the gate has judged."""
    run = Path(shutil.copytree(exported.runs["mean"], tmp_path / "run"))
    change_tensors(run / "adapter", "head.safetensors", lambda head: head["bias"].add_(0.01))
    with pytest.raises(ParityError, match="No layer differs from the adapter folder as it is now") as caught:
        export(run, to="peft", out=tmp_path / "export")
    assert caught.value.facts["first_difference"] is None
    assert (tmp_path / "export" / "adapter_model.safetensors").exists()
