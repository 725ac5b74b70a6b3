"""`attention.parquet`: what each map of each row says, so that every figure of the page can be computed again.

Images: a row for each example, model, map and region. Texts: a row for each example, model, map and token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from honed.evidence.attention_regions import entropy, pointing, region_shares
from honed.probes.measure import Maps

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
HEAD = "head"


@dataclass(frozen=True)
class TableRows:
    """What the table says of n rows besides their maps. label : "" where there is none."""

    example_id: Sequence[str]
    label: Sequence[str]
    label_names: Sequence[str]


def gridded(heat: npt.NDArray[Any]) -> Floats:
    """Maps of images, (..., T) with NaN for tokens that are no patch, as squares: (..., side, side)."""
    flat = heat.reshape(-1, heat.shape[-1])
    patches = heat[..., ~np.isnan(flat[0])]
    side = round(patches.shape[-1] ** 0.5)
    return patches.reshape(*patches.shape[:-1], side, side).astype(np.float64)


def image_table(rows: TableRows, maps: Mapping[str, Maps], regions: Mapping[str, Floats]) -> pa.Table:
    """Columns example_id, label, model, map, layer, head, explained, probability, region, share (of the map), area (of
    the image), pointing, entropy, special (share of the map on tokens that are no patches; null for single heads).

    regions : region -> (n, side, side), share of each patch. A region that an image has not is no row.
    """
    import pyarrow as pa

    parts = []
    for model, own in maps.items():
        for name, heat in own.heat.items():
            parts.append(_block(rows, own, (model, name, 0, 0), gridded(heat), regions))
        grid = gridded(own.heads)
        for layer in range(grid.shape[1]):
            for head in range(grid.shape[2]):
                parts.append(_block(rows, own, (model, HEAD, layer + 1, head + 1), grid[:, layer, head], regions))
    return pa.concat_tables(parts)


def _block(
    rows: TableRows, maps: Maps, which: tuple[str, str, int, int], heat: Floats, regions: Mapping[str, Floats]
) -> pa.Table:
    """One map of one model: all its rows and regions."""
    shares, spread = region_shares(heat, regions), entropy(heat)
    special = maps.special.get(which[1], np.full(len(heat), np.nan))
    columns: dict[str, list[Any]] = {"i": [], "region": [], "share": [], "area": [], "pointing": []}
    for region, cover in regions.items():
        area = cover.mean(axis=(1, 2))
        there = np.flatnonzero(area > 0)
        columns["i"] += there.tolist()
        columns["region"] += [region] * len(there)
        columns["share"] += shares[region][there].tolist()
        columns["area"] += area[there].tolist()
        columns["pointing"] += pointing(heat, cover)[there].tolist()
    i = np.array(columns.pop("i"), dtype=np.int64)
    return _table(rows, maps, which, i, columns | {"entropy": spread[i], "special": special[i]})


def token_table(rows: TableRows, maps: Mapping[str, Maps], tokens: Sequence[Sequence[str]]) -> pa.Table:
    """Columns example_id, label, model, map, explained, probability, position, token, share, entropy, special.

    tokens : of each row, all that the model reads; those that are no part of the text have share null.
    """
    import pyarrow as pa

    parts = []
    for model, own in maps.items():
        for name, heat in own.heat.items():
            length = [len(words) for words in tokens]
            i = np.repeat(np.arange(len(tokens)), length)
            position = np.concatenate([np.arange(n) for n in length])
            spread = np.array([text_entropy(row) for row in heat])
            columns = {
                "position": position,
                "token": [word for words in tokens for word in words],
                "share": heat[i, position],
                "entropy": spread[i],
                "special": own.special[name][i],
            }
            parts.append(_table(rows, own, (model, name, 0, 0), i, columns))
    return pa.concat_tables(parts).drop_columns(["layer", "head"])


def text_entropy(heat: Floats) -> float:
    """The entropy of a text's map (T,), of its own tokens alone, in [0, 1]."""
    return float(entropy(heat[~np.isnan(heat)][None, None])[0])


def _table(
    rows: TableRows, maps: Maps, which: tuple[str, str, int, int], i: npt.NDArray[np.int64], columns: Mapping[str, Any]
) -> pa.Table:
    import pyarrow as pa

    model, name, layer, head = which
    n = len(i)
    names = np.array([*rows.label_names], dtype=object)
    values: dict[str, Any] = {
        "example_id": pa.array([rows.example_id[k] for k in i], pa.string()),
        "label": pa.array([rows.label[k] or None for k in i], pa.string()),
        "model": pa.array([model] * n, pa.string()),
        "map": pa.array([name] * n, pa.string()),
        "layer": pa.array([layer or None] * n, pa.int16()),
        "head": pa.array([head or None] * n, pa.int16()),
        "explained": pa.array(names[maps.target[i]], pa.string()),
        "probability": maps.probs[i, maps.target[i]],
    }
    for column, own in columns.items():
        if column in ("region", "token"):
            values[column] = pa.array(own, pa.string())
        elif column == "position":
            values[column] = pa.array(own, pa.int64())
        else:
            values[column] = pa.array(own, pa.float64(), from_pandas=True)  # NaN is null
    return pa.table(values)
