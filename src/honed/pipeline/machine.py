"""What a run says of the machine it ran on, and how a full or read-only disk is told."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from honed.errors import HonedError, OutputError
from honed.version import __version__

_DISK = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
}


@contextmanager
def disk_faults(run: Path, command: str = "fit") -> Iterator[None]:
    """Turn a full disk into a message that says how to go on. command : whose --resume continues."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, OutputError) as error:
        fault = error.__cause__ if isinstance(error, OutputError) else error
        number = fault.errno if isinstance(fault, OSError) else None
        if number not in _DISK and "No space left" in str(error):
            number = errno.ENOSPC
        if number not in _DISK:
            raise
        raise HonedError(
            f"Writing to {run} failed: {_DISK[number]}.",
            cause="What was written before is whole.",
            remedy=f"Free space, then continue with `honed {command} --resume {run}`.",
        ) from error


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far."""
    try:
        import resource
    except ImportError:  # Windows has no such count
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    found = {"python": sys.version.split()[0], "honed": __version__}
    for name in ("torch", "transformers", "peft", "accelerate", "scikit-learn", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
