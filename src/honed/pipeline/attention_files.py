"""The folder of `honed attention`.

attention.parquet   what each map of each row says          attention.json   the figures, and what was not run
attention.html      the same, to look at                    overlays/        base | specialist | difference, a PNG a row
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from honed.artifact import write_json
from honed.data.dataset import Dataset
from honed.data.tables import write_parquet
from honed.errors import OutputError
from honed.evidence.attention_plots import overlay, overlay_png, regions_png, token_heat
from honed.evidence.attention_regions import RegionTable
from honed.evidence.attention_report import AttentionFacts, GalleryItem, render_attention
from honed.evidence.attention_shortcut import ShortcutCheck, shortcut_warning
from honed.evidence.run_facts import write_text
from honed.pipeline.attention_checks import Checked
from honed.pipeline.attention_models import BASE, SPECIALIST
from honed.pipeline.attention_rows import RowRegions, shown
from honed.pipeline.attention_table import TableRows, gridded, image_table, token_table
from honed.pipeline.run_folder import RunFolder, claim
from honed.probes.measure import Encoded, Maps

N_GALLERY = 12
N_OVERLAYS = 24
N_DRAWINGS = 1


@dataclass(frozen=True)
class Looked:
    """What was looked at: n rows, and both models' maps of them.

    drawn : the map that is shown and compared.    regions, cover : of images, and on their patches, (n, side, side).
    tokens : of texts.
    """

    rows: Dataset
    encoded: Encoded
    maps: dict[str, Maps]
    drawn: str
    regions: RowRegions | None
    cover: dict[str, npt.NDArray[np.float64]] | None
    tokens: list[list[str]] | None

    def given(self, i: int) -> str:
        """The label of row i, "" without one."""
        label = int(self.rows.label[i])
        return self.rows.label_names[label] if label >= 0 else ""

    def predicted(self, i: int) -> str:
        """What the specialist says of row i."""
        return self.rows.label_names[int(self.maps[SPECIALIST].target[i])]


@dataclass(frozen=True)
class Judged:
    """What follows from it. tables : map -> region table, none for texts and new inputs.

    withheld : whether the map that is drawn survives random weights, so that it may not be shown.
    """

    tables: Mapping[str, RegionTable]
    checked: Checked
    shortcuts: list[ShortcutCheck]
    settings: Mapping[str, Any]
    withheld: bool
    n_overlays: int = N_OVERLAYS


@dataclass(frozen=True)
class AttentionFolder:
    """Where it lies, and the figures (attention.json)."""

    path: Path
    figures: dict[str, Any]

    @property
    def page(self) -> Path:
        """One self-contained page."""
        return self.path / "attention.html"

    @property
    def table(self) -> Path:
        """What each map of each row says."""
        return self.path / "attention.parquet"


@contextmanager
def own_folder(run: RunFolder, out: str | None) -> Iterator[Path]:
    """Where to write: the new folder `out`, or a folder that takes the place of RUN/attention once it is whole.

    Raises OutputError if `out` holds something.
    """
    if out is not None:
        with new_folder(out, "") as path:
            yield path
        return
    partial = run.attention.with_name(run.attention.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
    except OSError as error:
        raise OutputError(
            f"{partial} cannot be made: {error.strerror}.", remedy="Choose a folder of yours with --out."
        ) from error
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(run.attention, ignore_errors=True)
    partial.rename(run.attention)


@contextmanager
def new_folder(out: str | None, stem: str) -> Iterator[Path]:
    """A new folder `out`, or the first free attention/STEM-N; if the block fails, it is as it was.

    Raises OutputError if `out` holds something.
    """
    was_there = out is not None and Path(out).exists()
    path = claim(out, stem, "attention").path
    try:
        yield path
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)  # it was empty: all that is in it is of this attempt
        if was_there:
            path.mkdir(exist_ok=True)
        raise


def write_all(path: Path, looked: Looked, judged: Judged, title: str) -> dict[str, Any]:
    """Write everything; returns the figures. title : of the page.

    Raises OutputError if the folder cannot be written.
    """
    label = [looked.given(i) for i in range(len(looked.rows))]
    rows = TableRows(looked.rows.example_id.tolist(), label, looked.rows.label_names)
    gallery, overlays, drawings = [], [], {}
    if not judged.withheld:
        gallery = [_item(looked, i) for i in range(min(N_GALLERY, len(looked.rows)))]
    try:
        if looked.cover is not None:
            write_parquet(image_table(rows, looked.maps, looked.cover), path / "attention.parquet")
            drawings = _drawings(looked)
            if not judged.withheld:
                overlays = _write_overlays(path / "overlays", looked, judged.n_overlays)
        else:
            assert looked.tokens is not None, "rows are images or texts"
            write_parquet(token_table(rows, looked.maps, looked.tokens), path / "attention.parquet")
    except OSError as error:
        raise OutputError(
            f"{path} could not be written: {error.strerror or error}.", remedy="Free space or choose another --out."
        ) from error
    facts = AttentionFacts(
        title=title,
        method=looked.drawn,
        n_rows=len(looked.rows),
        regions=judged.tables.get(looked.drawn),
        faith=judged.checked.verdicts,
        shortcuts=judged.shortcuts,
        gallery=gallery,
        drawings=drawings,
        settings=judged.settings,
        not_run=judged.checked.not_run,
        notes=judged.checked.notes,
    )
    write_text(path / "attention.html", render_attention(facts))
    figures = _figures(looked, judged, overlays)
    write_json(path / "attention.json", figures)
    return figures


def _item(looked: Looked, i: int) -> GalleryItem:
    base, own = (looked.maps[model].heat[looked.drawn][i] for model in (BASE, SPECIALIST))
    named = (str(looked.rows.example_id[i]), looked.drawn, looked.given(i), looked.predicted(i))
    if looked.tokens is None:
        pixels = np.asarray(looked.encoded.rows[i], dtype=np.uint8)
        return GalleryItem(*named, overlay=overlay(pixels, gridded(base), gridded(own)))
    words = looked.tokens[i]
    heat = [np.nan_to_num(values[: len(words)]) for values in (base, own)]
    return GalleryItem(*named, tokens=token_heat(words, *heat))


def _write_overlays(folder: Path, looked: Looked, n: int) -> list[dict[str, Any]]:
    """A PNG for each of the first n rows, named by the row's number in the user's file, from 1."""
    folder.mkdir()
    written = []
    for i in range(min(n, len(looked.rows))):
        item = _item(looked, i)
        assert item.overlay is not None, "rows are images"
        name = f"row-{int(looked.rows.row[i]) + 1}.png"
        (folder / name).write_bytes(overlay_png(item.overlay))
        written.append(
            {
                "example_id": item.example_id,
                "file": f"overlays/{name}",
                "label": item.given,
                "predicted": item.predicted,
            }
        )
    return written


def _drawings(looked: Looked) -> dict[str, bytes]:
    """The regions of the first rows that have a mask, over the image."""
    if looked.regions is None or not looked.regions.column:
        return {}
    some = [i for i in range(len(looked.rows)) if i not in looked.regions.faults][:N_DRAWINGS]
    return {
        f"The regions of row {int(looked.rows.row[i]) + 1}": regions_png(
            np.asarray(shown(looked.rows.inputs[i])), looked.regions.regions[i]
        )
        for i in some
    }


def _figures(looked: Looked, judged: Judged, overlays: list[dict[str, Any]]) -> dict[str, Any]:
    special = {
        model: {name: float(np.mean(share)) for name, share in own.special.items()}
        for model, own in looked.maps.items()
    }
    return {
        "map": looked.drawn,
        "n_rows": len(looked.rows),
        "label_names": list(looked.rows.label_names),
        "is_withheld": judged.withheld,
        "tables": {name: table.to_json() for name, table in judged.tables.items()},
        "faithfulness": [verdict.to_json() for verdict in judged.checked.verdicts],
        "shortcuts": [check.to_json() for check in judged.shortcuts],
        "warning": shortcut_warning(judged.shortcuts) if judged.shortcuts else "",
        "special_tokens": special,
        "prefix_share": [round(float(share), 6) for share in looked.maps[SPECIALIST].prefix.mean(axis=0)],
        "mask_faults": list(looked.regions.faults.values()) if looked.regions else [],
        "notes": judged.checked.notes,
        "not_run": judged.checked.not_run,
        "settings": dict(judged.settings),
        "overlays": overlays,
    }
