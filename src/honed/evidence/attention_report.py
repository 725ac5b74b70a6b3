"""The page of `honed attention`: one self-contained HTML file without any script."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from honed.evidence.attention_drawings import curve_plots, region_forest
from honed.evidence.attention_faith import Faithfulness
from honed.evidence.attention_plots import Overlay, Picture, TokenHeat, jpeg, scale_picture
from honed.evidence.attention_regions import RegionTable
from honed.evidence.attention_shortcut import SAME_SOURCE, ShortcutCheck, shortcut_warning
from honed.evidence.attention_words import COLUMNS, NOT_SAID, headline, region_rows, region_summary
from honed.evidence.report import TEMPLATES, content_hash, environment
from honed.evidence.report_format import NOT_RUN, bare_reason, decimal, percent

N_STRONGEST = 5


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

    title : of the run, never a path.    method : name of the map that `regions` and `shortcuts` were computed from.
    regions : None without masks, and `not_run["Regions"]` says why.    faith : one for each kind of map; first the one
    of `method`.    drawings : of one example image, region -> PNG file of its picture in `region_pictures`.
    settings : what was run, name -> text.    not_run : check -> reason.    notes : further sentences for the summary.
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

    @property
    def withheld(self) -> frozenset[str]:
        """Kinds of maps that survive random weights."""
        return frozenset(one.method for one in self.faith if one.is_withheld)


def render_attention(facts: AttentionFacts) -> str:
    """The page as a string; the same facts always give the same page.

    A map that survives random weights is named and not shown: neither its pictures, nor what was computed from it.
    """
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("report.css", "attention.css"))
    is_withheld = facts.method in facts.withheld
    regions = None if is_withheld else facts.regions
    shortcuts = () if is_withheld else facts.shortcuts
    shown = [item for item in facts.gallery if item.method not in facts.withheld]
    return (
        environment()
        .get_template("attention.html.j2")
        .render(
            policy=f"default-src 'none'; img-src data:; style-src '{content_hash(style)}'; base-uri 'none';"
            " form-action 'none'",
            style=Markup(style),  # noqa: S704 - our own file
            facts=facts,
            is_withheld=is_withheld,
            headline="The map is withheld: it survives random weights" if is_withheld else headline(regions),
            summary=[*(region_summary(regions) if regions else ()), *facts.notes],
            warning=shortcut_warning(shortcuts),
            shortcuts=shortcuts,
            same_source=SAME_SOURCE,
            regions=regions,
            level=percent(regions.level, 0) if regions else "",
            forest=region_forest(regions) if regions else None,
            columns=COLUMNS,
            rows=region_rows(regions.overall) if regions else [],
            class_rows=region_rows(regions.per_class) if regions else [],
            drawings={name: _data(file, "png") for name, file in facts.drawings.items()},
            faith=[(one, [] if one.is_withheld else curve_plots(one)) for one in facts.faith],
            gallery=[_card(item) for item in shown],
            n_left_out=len(facts.gallery) - len(shown),
            scales=[_data(jpeg(scale_picture(is_change=is_change)), "jpeg") for is_change in (False, True)],
            not_run={name: f"{NOT_RUN}{bare_reason(why)}" for name, why in facts.not_run.items()},
            not_run_phrase=NOT_RUN,
            not_said=NOT_SAID if regions else NOT_SAID[:1],
        )
    )


def _card(item: GalleryItem) -> dict[str, Any]:
    """What the template needs of one example; pictures with words that stand for them."""
    card: dict[str, Any] = {"item": item, "pictures": [], "texts": [], "scale": ""}
    if item.overlay is not None:
        own = item.overlay
        names = ("base", "specialist", "difference")
        told = (
            f"Attention of the base: strongest {own.peaks[0]}",
            f"Attention of the specialist: strongest {own.peaks[1]}",
            f"Specialist minus base: largest change {own.peaks[2]}",
        )
        pictures: tuple[Picture, ...] = (own.base, own.specialist, own.difference)
        card["pictures"] = [
            (name, _data(jpeg(picture), "jpeg"), words)
            for name, picture, words in zip(names, pictures, told, strict=True)
        ]
        card["scale"] = (
            f"Scales end at {decimal(own.top)} (base, specialist) and \u00b1{decimal(own.top_change)} (difference)"
            " times an even spread."
        )
    if item.tokens is not None:
        card["texts"] = [
            (name, tokens, _strongest(tokens)) for name, tokens in zip(("base", "specialist"), item.tokens, strict=True)
        ]
    return card


def _strongest(tokens: Sequence[TokenHeat]) -> list[str]:
    """The strongest tokens, each once, for those who cannot see the shades."""
    ordered = sorted((token for token in tokens if token.step), key=lambda token: -token.step)
    return list(dict.fromkeys(token.text for token in ordered))[:N_STRONGEST]


def _data(file: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"
