"""What the attention page says in words: headline, table rows, what it cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from honed.evidence.attention_regions import RegionFigure, RegionTable
from honed.evidence.estimate import Estimate
from honed.evidence.report_format import MINUS, NOT_RUN, decimal, p_text, percent

COLUMNS = ("region", "area", "base", "specialist", "change", "p", "pointing, base", "pointing, specialist", "rows")

NOT_SAID = tuple(
    """\
Attention is not a reason. A region may be attended to and not used; only what changes the prediction when it is taken \
away was used.
A map is as fine as its patches: a region narrower than a patch shares it with its neighbours, and its figures move \
towards theirs.
Regions overlap (a lung border is lung too), so their shares do not add up to 1, and one change can show in several.
Masks were drawn on other grounds than this question; where a disease hides an organ's edge, the mask stops at what \
could be seen.""".splitlines()
)


def headline(table: RegionTable | None) -> str:
    """The page's first line, where the map may be shown."""
    if table is None:
        return "Where the specialist looks, against its base"
    sure = changed(table)
    if not sure:
        return "No region's attention changed beyond chance"
    region, (base, specialist, _) = max(sure, key=lambda one: abs(one[1][2].value))
    way = "rose" if specialist.value > base.value else "fell"
    return (
        f"Attention on the region \u201c{region.region}\u201d {way} from {decimal(base.value)} to"
        f" {decimal(specialist.value)} times an even spread"
    )


def changed(table: RegionTable) -> list[tuple[RegionFigure, tuple[Estimate, Estimate, Estimate]]]:
    """Regions whose change is beyond chance after correction for their number, with their densities."""
    alpha = 1 - table.level
    return [
        (figure, figure.density.figures)
        for figure in table.overall
        if figure.density.figures is not None and figure.corrected_p is not None and figure.corrected_p < alpha
    ]


def region_summary(table: RegionTable) -> list[str]:
    """Which regions changed, which way, and how spread the maps are."""
    told, sure = [], changed(table)
    for word, sign in (("more", 1), ("less", -1)):
        own = [
            f"{figure.region} ({decimal(base.value)} \u2192 {decimal(specialist.value)}, {p_text(figure.corrected_p)})"
            for figure, (base, specialist, change) in sure
            if sign * change.value > 0
        ]
        if own:
            told.append(f"The specialist attends {word} than its base to, times an even spread: {'; '.join(own)}.")
    names = {figure.region for figure, _ in sure}
    others = [f.region for f in table.overall if f.density.figures is not None and f.region not in names]
    if others and sure:
        told.append(f"No change beyond chance: {', '.join(others)}.")
    if table.entropy.figures is not None:
        base, specialist, change = table.entropy.figures
        told.append(
            f"Spread of the maps (entropy; 1 is even, 0 a single patch): base {decimal(base.value)}, specialist"
            f" {decimal(specialist.value)}, change {_cell(change, is_signed=True)}"
            + ("." if table.entropy.standing else ", which is within chance.")
        )
    return told


def region_rows(figures: Sequence[RegionFigure]) -> list[dict[str, str]]:
    """Table rows by the names of COLUMNS, and "class"; a cell is "value [low, high]"."""
    rows = []
    for figure in figures:
        counts = ((figure.n_empty, "without the region"), (figure.n_no_heat, "without a map"))
        left_out = ", ".join(f"{n} {why}" for n, why in counts if n)
        row = dict.fromkeys(("class", *COLUMNS), "") | {
            "class": figure.class_name,
            "region": figure.region,
            "area": "" if figure.area is None else percent(figure.area),
            "p": p_text(figure.corrected_p),
            "rows": f"{figure.density.n}" + (f" [{left_out} left out]" if left_out else ""),
        }
        if figure.density.figures is None:
            row["base"] = f"{NOT_RUN}{figure.density.not_run}"
        else:
            base, specialist, change = figure.density.figures
            row |= {"base": _cell(base), "specialist": _cell(specialist), "change": _cell(change, is_signed=True)}
        if figure.pointing.figures is not None:
            base, specialist, _ = figure.pointing.figures
            row |= {"pointing, base": _share(base), "pointing, specialist": _share(specialist)}
        rows.append(row)
    return rows


def signed(value: float) -> str:
    """+0.12 or -0.12, with a real minus sign."""
    return f"{'+' if value > 0 else MINUS if value < 0 else ''}{decimal(abs(value))}"


def _cell(own: Estimate, *, is_signed: bool = False) -> str:
    write = signed if is_signed else decimal
    return f"{write(own.value)} [{write(own.low)}, {write(own.high)}]"


def _share(own: Estimate) -> str:
    return f"{percent(own.value, 0)} [{percent(own.low, 0)}, {percent(own.high, 0)}]"
