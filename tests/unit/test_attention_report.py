"""Overlays, region drawings, token runs and the attention page: true to the maps, self-contained, safe."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from honed.errors import EvidenceError
from honed.evidence.attention_drawings import curve_plots, region_forest
from honed.evidence.attention_faith import Curves, faithfulness
from honed.evidence.attention_plots import (
    heat_colours,
    jpeg,
    overlay,
    overlay_png,
    png,
    region_pictures,
    regions_png,
    scale_picture,
    to_oklab,
    token_heat,
)
from honed.evidence.attention_regions import region_table
from honed.evidence.attention_report import AttentionFacts, GalleryItem, render_attention
from honed.evidence.attention_shortcut import ScoredRows, shortcut_checks
from honed.evidence.attention_words import headline, region_rows, region_summary

HOSTILE = "<script>alert(1)</script>\"'&\u202egnp"
GRID = (8, 8)
N = 40
MAIN = "relevance"


def maps(seed: int, lift: float = 1.0) -> np.ndarray:
    heat = np.random.default_rng(seed).gamma(3.0, size=(N, *GRID))
    heat[:, :2, :2] *= lift
    return heat


def covered(rows: slice, columns: slice) -> np.ndarray:
    region = np.zeros((N, *GRID))
    region[:, rows, columns] = 1
    return region


def pixels(size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), 120, dtype=np.uint8)


def faith(method: str, survival: float):
    frac = np.linspace(0, 1, 6)
    noise = 0.02 * np.random.default_rng(0).random((4, N, 1))
    fall = (1 - frac) ** 3
    curves = Curves(frac, fall * 0.9 + noise[0], 0.9 - fall * 0.8 + noise[1], 0.9 - 0.8 * frac + noise[2],
                    0.1 + 0.8 * frac + noise[3])  # fmt: skip
    return faithfulness(method, ids(), curves, np.random.default_rng(1).normal(survival, 0.05, N))


def ids() -> np.ndarray:
    return np.array([f"g{i}" for i in range(N)])


def made(survival: float = 0.1) -> AttentionFacts:
    label = np.arange(N) % 2
    regions = {"corner": covered(slice(0, 2), slice(0, 2)), HOSTILE: covered(slice(5, 8), slice(5, 8)),
               "nowhere": np.zeros((N, *GRID))}  # fmt: skip
    table = region_table(maps(0), maps(1, 3), regions, ids(), classes=(label, ["a", HOSTILE]))
    rows = ScoredRows(label, ("a", HOSTILE), np.arange(N) % 3 > 0, np.arange(N) // 2 % 4, ids())
    checks = shortcut_checks({"image border": label + 0.1 * np.random.default_rng(0).random(N)}, rows)
    image = overlay(pixels(), maps(0)[0], maps(1, 3)[0])
    tokens = token_heat(["[CLS]", HOSTILE, "fever"], np.array([1.0, 0, 3]), np.array([0.0, 5, 1]))
    return AttentionFacts(
        title=HOSTILE, method=MAIN, n_rows=N, regions=table, faith=[faith(MAIN, survival), faith("rollout", 0.9)],
        shortcuts=checks,
        gallery=[
            GalleryItem(HOSTILE, MAIN, "a", HOSTILE, overlay=image),
            GalleryItem("withheld-one", "rollout", "a", "a", overlay=image),
            GalleryItem("text", MAIN, "a", "a", tokens=tokens),
        ],
        drawings={HOSTILE: png(pixels(8))}, settings={"base": HOSTILE}, not_run={"Captum": "it is not installed"},
        notes=["A note."],
    )  # fmt: skip


def opened(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def test_heat_colours_run_at_even_steps_and_get_lighter() -> None:
    lab = to_oklab(heat_colours())
    steps = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05
    assert (np.diff(lab[:, 0]) > 0).all() and lab[-1, 0] - lab[0, 0] > 0.5


def test_oklab_agrees_with_its_authors_examples() -> None:
    lab = to_oklab(np.array([[255.0, 255, 255], [255, 0, 0]]))
    assert lab[0] == pytest.approx([1, 0, 0], abs=1e-3)
    assert lab[1] == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


def test_overlay_is_warm_where_the_heat_is_and_grey_where_it_is_not() -> None:
    base, specialist = np.full(GRID, 0.1), np.full(GRID, 0.1)
    base[1, 1], specialist[6, 6] = 5, 5
    own = overlay(pixels(), base, specialist)
    assert own.base.shape == (224, 224, 3), "small images are enlarged"
    cell = 224 // 8
    at = {"up": (int(1.5 * cell),) * 2, "down": (int(6.5 * cell),) * 2, "far": (int(1.5 * cell), int(6.5 * cell))}

    def spread(picture: np.ndarray, where: str) -> int:
        return int(np.ptp(picture[at[where]].astype(int)))

    assert spread(own.base, "up") > 60 and spread(own.base, "down") < 12 and spread(own.specialist, "down") > 60
    less, more = (own.difference[at[where]].astype(int) for where in ("up", "down"))
    assert less[2] > less[0] + 60 and more[0] > more[2] + 60, "blue for less, orange for more"
    assert spread(own.difference, "far") < 12
    assert own.peaks[:2] == ("upper left", "lower right")


def test_both_maps_share_one_scale_and_no_preference_looks_like_none() -> None:
    heat = np.random.default_rng(0).gamma(1.0, size=GRID)
    own = overlay(pixels(), heat, 7 * heat)
    assert (own.base == own.specialist).all() and np.ptp(own.difference.astype(int), axis=2).max() == 0
    even = overlay(pixels(), np.ones(GRID), 1 + 0.01 * heat)
    assert even.top == 2 and even.top_change == 0.5
    for bad in (np.zeros(GRID), np.full(GRID, np.nan)):
        with pytest.raises(EvidenceError, match="specialist's map cannot be drawn"):
            overlay(pixels(), heat, bad)


def test_large_and_flat_images_are_drawn_too() -> None:
    own = overlay(np.zeros((300, 900, 3), np.uint8), np.ones((2, 6)), np.ones((2, 6)))
    assert own.base.shape == (149, 448, 3)


def test_sheets_hold_all_panels_without_metadata() -> None:
    own = overlay(pixels(), maps(0)[0], maps(1)[0])
    sheet = opened(overlay_png(own))
    assert sheet.shape == (224 + 24 + 42, 3 * 224 + 4 * 12, 3)
    for i, picture in enumerate((own.base, own.specialist, own.difference)):
        assert (sheet[24 : 24 + 224, 12 + i * 236 : 12 + i * 236 + 224] == picture).all()
    assert Image.open(io.BytesIO(overlay_png(own))).info == {} and overlay_png(own) == overlay_png(own)
    assert opened(png(own.base)).tolist() == own.base.tolist()
    assert opened(jpeg(own.base)).shape == own.base.shape and len(jpeg(own.base)) < len(png(own.base))
    assert scale_picture(is_change=False).shape == scale_picture(is_change=True).shape == (12, 240, 3)


def test_region_drawings_mark_the_region_and_nothing_else() -> None:
    region = np.zeros((64, 64), dtype=bool)
    region[10:30, 10:30] = True
    drawn = region_pictures(pixels(), {"r": region, "none": region & ~region})
    tinted = np.ptp(drawn["r"].astype(int), axis=2) > 5
    assert tinted.mean() == pytest.approx(400 / 64**2, rel=0.05) and tinted[70, 70] and not tinted[150, 150]
    assert np.ptp(drawn["none"].astype(int), axis=2).max() == 0
    assert opened(regions_png(pixels(), {f"r{i}\u202e": region for i in range(5)})).shape[1] == 4 * 236 + 12


def test_tokens_share_one_scale() -> None:
    base, specialist = token_heat(["a", "b", "c"], np.array([1.0, 1, 1]), np.array([0.0, 0, 9]))
    assert [token.step for token in base] == [3, 3, 3] and [token.step for token in specialist] == [0, 0, 8]
    none, _ = token_heat(["a"], np.zeros(1), np.ones(1))
    assert none[0].step == 0


def test_words_name_the_region_that_changed_most() -> None:
    table = made().regions
    assert table is not None
    assert headline(table).startswith("Attention on the region \u201ccorner\u201d rose from ")
    told = " ".join(region_summary(table))
    assert "attends more than its base to, times an even spread: corner (" in told and "p < 0.001" in told
    rows = region_rows(table.overall)
    assert (
        rows[2]["base"].startswith("not run, because 0 rows")
        and rows[2]["rows"] == "0 [40 without the region left out]"
    )
    assert rows[0]["change"].startswith("+") and rows[0]["area"] == "6.2\u202f%"
    same = region_table(maps(0), maps(1), {"corner": covered(slice(0, 2), slice(0, 2))}, ids())
    assert headline(same) == "No region's attention changed beyond chance"


def test_forest_and_curves_stand_where_the_figures_are() -> None:
    facts = made()
    assert facts.regions is not None
    forest = region_forest(facts.regions)
    assert forest is not None and [row.name for row in forest.rows] == ["corner", HOSTILE]
    base, specialist = forest.rows[0].bars
    assert abs(base.x - forest.even) < specialist.x - forest.even and specialist.low < specialist.x < specialist.high
    assert all(bar.low >= 8 and bar.high <= forest.width for row in forest.rows for bar in row.bars)
    deletion, insertion = curve_plots(facts.faith[0])
    ends = [[float(pair.split(",")[1]) for pair in plot.own.split()] for plot in (deletion, insertion)]
    assert ends[0][0] < ends[0][-1] and ends[1][0] > ends[1][-1], "deletion falls, insertion rises"
    assert region_forest(replace(facts.regions, overall=facts.regions.overall[2:])) is None


def test_page_is_self_contained_and_obeys_nothing() -> None:
    page = render_attention(made())
    assert "<script" not in page and "\u202e" not in page and "&lt;script&gt;" in page
    policy = re.search(r"Content-Security-Policy\" content=\"([^\"]+)", page).group(1)
    assert "script-src" not in policy and "default-src" in policy and "img-src data:" in policy
    assert not re.search(r"(src|href)=\"(?!#|data:image/(png|jpeg);base64,)", page)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL).group(1)
    assert f"style-src &#39;sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}" in page
    assert not re.search(r" (style|on\w+)=", page) and "://" not in page and "url(" not in page
    assert all(f'id="{anchor}"' in page for anchor in re.findall(r'href="#([\w-]+)"', page))
    assert page == render_attention(made())


def test_every_picture_and_drawing_has_words() -> None:
    page = render_attention(made())
    assert len(re.findall(r"<img ", page)) == len(re.findall(r"<img [^>]*alt=\"[^\"]{10,}\"", page)) == 2 + 1 + 3
    assert len(re.findall(r"<svg ", page)) == len(re.findall(r"<svg [^>]*role=\"img\" aria-label=\"[^\"]{20,}\"", page))
    assert "Attention of the specialist: strongest " in page
    assert "Strongest: &lt;script&gt;" in page, "tokens too, for those who cannot see the shades"


def test_page_tells_warnings_and_what_was_not_run() -> None:
    page = render_attention(made())
    assert "Possible shortcut." in page and "strongly predicts label &lt;script&gt;" in page
    assert "Captum: not run, because it is not installed" in page and "A note." in page
    assert "only rows of another hospital" in page


def test_a_map_that_survives_random_weights_is_not_shown_nor_what_was_made_of_it() -> None:
    page = render_attention(made())
    assert "withheld-one" not in page and "1 picture withheld" in page
    assert "The map (rollout) is withheld" in page
    withheld = render_attention(made(survival=0.9))
    assert "The map is withheld: it survives random weights" in withheld and 'id="regions"' not in withheld
    assert "Possible shortcut" not in withheld and "not run, because the map is withheld" in withheld
    assert "3 pictures withheld" in withheld and not re.search(
        r"data:image/\w+;base64[^>]*alt=\"Attention of", withheld
    )


def test_a_page_of_almost_nothing_renders() -> None:
    bare = replace(
        made(), regions=None, faith=[], shortcuts=[], gallery=[], drawings={}, not_run={"Regions": "no masks"}
    )
    page = render_attention(bare)
    assert (
        "Regions: not run, because no masks" in page
        and page.count("because no masks") == 1
        and "no map is proven" in page
        and 'href="#gallery"' not in page
    )
