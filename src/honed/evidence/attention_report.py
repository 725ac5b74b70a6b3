"""The page of `honed attention`: one self-contained HTML file without any script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from honed.evidence.attention_faith import Faithfulness
from honed.evidence.attention_plots import Overlay, TokenHeat
from honed.evidence.attention_regions import RegionTable
from honed.evidence.attention_shortcut import ShortcutCheck


@dataclass(frozen=True)
class GalleryItem:
    """One example of the gallery. method : whose map it is, as `Faithfulness.method`; given, predicted : label names.

    overlay for images; tokens (of base, of specialist) for texts.
    """

    example_id: str
    method: str
    given: str
    predicted: str
    overlay: Overlay | None = None
    tokens: tuple[Sequence[TokenHeat], Sequence[TokenHeat]] | None = None


@dataclass(frozen=True)
class AttentionFacts:
    """Everything that the page says.

    title : of the run, never a path.    method : name of the map that `regions` was computed from.
    regions : None without masks, and `not_run["regions"]` says why.    faith : one for each kind of map; first the one
    of `method`.    drawings : region drawings as PNG bytes, caption -> file.    settings : what was run, name -> text.
    not_run : check -> reason.    notes : further sentences for the summary.
    """

    title: str
    method: str
    n_rows: int
    regions: RegionTable | None
    faith: Sequence[Faithfulness]
    shortcuts: Sequence[ShortcutCheck]
    gallery: Sequence[GalleryItem]
    drawings: Mapping[str, bytes]
    settings: Mapping[str, Any]
    not_run: Mapping[str, str]
    notes: Sequence[str] = ()


def render_attention(facts: AttentionFacts) -> str:
    """The page as a string; the same facts always give the same page. Withheld maps are named, never shown."""
    raise NotImplementedError
