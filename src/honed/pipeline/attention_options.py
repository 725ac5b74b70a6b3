"""What a user may say of `honed attention`; judged before anything heavy is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

from honed.errors import UsageError

MapName = Literal["rollout", "relevance", "last"]
RegionKind = Literal["values", "chest"]


@dataclass(frozen=True)
class AttentionOptions:
    """rows : at most, of the run's development part, or of the new inputs.    map : what is drawn and compared.

    mask : column of mask files; None takes a column `mask`, if there is one; "" none.    regions : what masks mean.
    """

    rows: int = 100
    map: MapName = "relevance"
    mask: str | None = None
    regions: RegionKind = "values"
    device: str = "auto"

    def check(self) -> None:
        """Raises UsageError, naming the flag, for a value out of range."""
        if self.rows < 1:
            raise UsageError(f"--rows must be at least 1. Got {self.rows} instead.")
        for name, value, kind in (("--map", self.map, MapName), ("--regions", self.regions, RegionKind)):
            if value not in get_args(kind):
                raise UsageError(f"{name} {value}: it is none of {', '.join(get_args(kind))}.")


def attention_options(rows: int, drawn: str, mask: str | None, regions: str, device: str) -> AttentionOptions:
    """Options as a user gave them.

    Raises UsageError, naming the flag, for a value out of range.
    """
    options = AttentionOptions(rows, cast("MapName", drawn), mask, cast("RegionKind", regions), device)
    options.check()
    return options
