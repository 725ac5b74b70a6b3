"""The file that docs/new-method.md shows, as a package of its own, keeps every promise of a method."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DOCUMENT = REPO / "docs" / "new-method.md"


def block(language: str) -> str:
    """The only code block of a language in the document."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return str(found)


def environment(folder: Path, code: str) -> dict[str, str]:
    """`code` as a package installed in `folder`, as the document's pyproject.toml says."""
    project = tomllib.loads(block("toml"))["project"]
    (module,) = project["entry-points"]["honed.methods"].values()
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{module}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = [f"{key} = {value}" for key, value in project["entry-points"]["honed.methods"].items()]
    (info / "entry_points.txt").write_text("\n".join(["[honed.methods]", *entries, ""]))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(REPO / "src")])}


@dataclass(frozen=True)
class Outcome:
    """Names of the contract tests that passed, failed (or broke) and were skipped; output : what pytest printed."""

    passed: list[str]
    failed: list[str]
    skipped: list[str]
    output: str


def run_contract(folder: Path, code: str, which: str) -> Outcome:
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_methods.py"]
    result = subprocess.run(
        [*command, "-k", which, f"--junitxml={report}"],
        cwd=REPO, env=environment(folder, code), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert report.is_file(), result.stdout + result.stderr
    names: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it just now
        kinds = {child.tag for child in case}
        kind = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        names[kind].append(str(case.get("name")))
    return Outcome(**names, output=result.stdout[-4000:])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_documents_ia3_passes_the_contract_suite(tmp_path: Path) -> None:
    outcome = run_contract(tmp_path, block("python"), "ia3")
    assert outcome.failed == [], outcome.output
    tests = {name.partition("[")[0] for name in outcome.passed}
    promised = set(re.findall(r"^def (test_\w+)\((?=.*method)", contract_source(), re.MULTILINE))
    without_dropout = {name for name in promised if "dropout" in name}
    assert tests == promised - without_dropout
    for model in ("bert", "llama", "gemma3", "modernbert", "dinov2"):
        assert sum(model in name for name in outcome.passed) >= 10, f"{model}: {outcome.passed}"
    assert {name.partition("[")[0] for name in outcome.skipped if "minilm" not in name} == without_dropout


def contract_source() -> str:
    return (REPO / "tests" / "contract" / "test_methods.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_fault_in_the_file_is_caught(tmp_path: Path) -> None:
    code, right = block("python"), "plain.weight.mul_(self.factor[slot])"
    assert code.count(right) == 1
    outcome = run_contract(tmp_path, code.replace(right, "pass"), "ia3 and bert and test_merged_is_unmerged")
    assert outcome.failed and not outcome.passed, outcome.output


def test_the_documents_ia3_is_peft_s(tmp_path: Path) -> None:
    """Plain PEFT loads what it saves and says the same; in a process of its own, since methods are found once."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", AGAINST_PEFT, str(tmp_path)],
        cwd=REPO / "tests", env=environment(tmp_path, block("python")), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    difference, change = json.loads(result.stdout.splitlines()[-1])
    assert difference < 1e-5 < change


AGAINST_PEFT = """
import json, sys
from pathlib import Path
sys.path.insert(0, ".")
import torch
from peft import PeftModel
from safetensors.torch import save_file
import models as m
from honed.methods.base import Adapted, get_method

stack, examples, folder = m.make_stack("bert", [0], method="ia3", dtype="float32"), m.make_examples("bert"), sys.argv[1]
with torch.no_grad():
    for parameter in stack.adapter_parameters(0).values():
        parameter.add_(0.3 * torch.randn_like(parameter))
files = get_method("ia3").to_peft(None, Adapted(stack.adapters.sites, 3, 2, stack.adapters.state(0)))
Path(folder, "adapter_config.json").write_text(json.dumps(files.config))
save_file(files.tensors, Path(folder, "adapter_model.safetensors"))
batch = stack.task.collate(examples.inputs.encoded)
stack.routing.only = 0
with torch.inference_mode():
    ours, base = stack.model(**batch).last_hidden_state, m.tiny_model("bert", "float32")(**batch).last_hidden_state
    theirs = PeftModel.from_pretrained(m.tiny_model("bert", "float32"), folder).eval()(**batch).last_hidden_state
print(json.dumps([float((ours - theirs).abs().max()), float((ours - base).abs().max())]))
"""
