"""pyproject.toml, constraints.txt and the changelog agree with each other and with the code."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPO = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(text: str) -> dict[str, Version]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    requirements = [Requirement(line) for line in lines if line]
    for requirement in requirements:
        assert requirement.url is None, f"{requirement} names a file or an address"
        assert re.fullmatch(r"==[\w.]+", str(requirement.specifier)), f"{requirement} is no plain pin (local suffix?)"
    return {canonicalize_name(r.name): Version(str(r.specifier).removeprefix("==")) for r in requirements}


def wanted() -> list[Requirement]:
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [r for r in (Requirement(line) for lines in lists for line in lines) if r.name != "honed"]


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_dependency_is_pinned_inside_its_range(requirement: Requirement) -> None:
    version = pins((REPO / "constraints.txt").read_text(encoding="utf-8")).get(canonicalize_name(requirement.name))
    assert version is not None, f"{requirement.name} has no pin in constraints.txt"
    assert version in requirement.specifier


@pytest.mark.parametrize("line", ["torch==2.13.0+cpu", "honed @ file:///somewhere", "torch>=2"])
def test_a_pin_that_names_a_build_or_a_file_is_caught(line: str) -> None:
    with pytest.raises(AssertionError):
        pins(line)


def test_mirrors_and_data_are_pinned_as_in_the_code() -> None:
    from honed.base_catalogue import BASES
    from honed.data.licences import PACKAGE, VERSION

    extras = PROJECT["optional-dependencies"]
    for spec in BASES.values():
        assert f"{spec.mirror.package}=={spec.mirror.version}" in extras[spec.mirror.extra]
    assert f"{PACKAGE}=={VERSION}" in extras["demo"]


def test_the_doctor_checks_the_ranges_of_the_project() -> None:
    from honed.app.doctor import OPTIONAL, REQUIRED

    ranges = {r.name: str(r.specifier) for r in map(Requirement, PROJECT["dependencies"])}
    for name, oldest in REQUIRED.items():
        assert re.search(r">=(\d+)(?:\.(\d+))?", ranges[name]).groups("0") == tuple(map(str, oldest))  # type: ignore[union-attr]
    assert {extra for extra, _ in OPTIONAL.values()} <= PROJECT["optional-dependencies"].keys()


def test_the_changelog_has_an_entry_for_the_version() -> None:
    path = REPO / "CHANGELOG.md"
    if not path.is_file():
        pytest.skip("NOT RUN: CHANGELOG.md does not exist yet")
    heading = re.compile(rf"^## .*{re.escape(PROJECT['version'])}\b", re.MULTILINE)
    assert heading.search(path.read_text(encoding="utf-8")), f"CHANGELOG.md has no entry for {PROJECT['version']}"


def test_the_package_data_is_declared() -> None:
    data = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["package-data"]
    source = REPO / "src" / "honed"
    declared = {path for pattern in data["honed"] for path in source.glob(pattern)}
    others = {
        p for p in source.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc") and ".egg-info" not in str(p)
    }
    assert others <= declared, f"not packaged: {sorted(str(p) for p in others - declared)}"


def test_tolerances_have_reasons() -> None:
    from tolerances import TOLERANCES

    assert all(len(entry.reason) > 20 for entry in TOLERANCES.values())
