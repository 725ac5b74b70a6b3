"""What an export format is: one file of this folder for each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from honed.artifact import ArtifactInfo
    from honed.bases import ResolvedBase
    from honed.export.other_program import OtherProgram
    from honed.serving.engine import Specialist


@dataclass(frozen=True)
class Source:
    """What is exported.

    specialist : loaded from `adapter`, its artifact; writing uses it up.    base : where its base model lies.
    int8 : also with 8-bit weights, where the format has that.
    """

    specialist: Specialist
    adapter: Path
    base: ResolvedBase
    int8: bool = False

    @property
    def info(self) -> ArtifactInfo:
        """What honed.json says of it."""
        return self.specialist.artifact.info


class Format(ABC):
    """One format: how it is written, and which other program reads it back.

    has_int8 : whether `--int8` means something.
    """

    has_int8 = False

    def check_installed(self) -> None:  # noqa: B027 - most formats need nothing more
        """Refuse where packages are missing.

        Raises UsageError with the command that installs them.
        """

    def check(self, adapter: Path, info: ArtifactInfo) -> None:  # noqa: B027 - a format may take everything
        """Refuse an artifact that this format cannot hold.

        Raises UsageError with why, and what to use instead.
        """

    @property
    @abstractmethod
    def program(self) -> str:
        """The program that reads it back, with its version."""

    @abstractmethod
    def is_in(self, folder: Path) -> bool:
        """Whether `folder` holds such an export."""

    @abstractmethod
    def write(self, folder: Path, source: Source) -> None:
        """Write everything into the existing empty folder."""

    @abstractmethod
    def dtype(self, info: ArtifactInfo) -> str:
        """In which number format the export computes."""

    @abstractmethod
    def load(self, folder: Path, base: Path, device: torch.device) -> OtherProgram:
        """The export in the hands of the other program. base : folder of the base model, where it needs one.

        Raises Unreadable if that program cannot load it.
        """

    def has_int8_in(self, folder: Path) -> bool:
        """Whether the export in `folder` has a graph of 8-bit weights too."""
        return False

    def load_int8(self, folder: Path) -> OtherProgram:
        """That graph, in the hands of the other program. Raises Unreadable as `load`."""
        raise NotImplementedError
