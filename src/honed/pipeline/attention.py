"""`honed attention`: where a run's specialist looks, and where its base looked, on the same rows.

Rows come from the development part; the locked holdout is not looked at. What a share of attention has to do with being
right is asked of the out-of-fold table, never of the final model on rows that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from honed.config import Config, make_config, read_config
from honed.data.dataset import Dataset
from honed.data.folds import FoldPlan
from honed.data.image_files import ImageFile
from honed.data.readers import folder_of
from honed.errors import UsageError
from honed.events import Emitter, Listener
from honed.evidence.attention_regions import RegionTable, region_shares, region_table
from honed.evidence.attention_shortcut import SUSPECTS, ScoredRows, ShortcutCheck, shortcut_checks
from honed.evidence.report import write_report
from honed.oof import Predictions
from honed.pipeline.attention_checks import Asked, Checked, check_maps
from honed.pipeline.attention_files import AttentionFolder, Judged, Looked, new_folder, own_folder, write_all
from honed.pipeline.attention_inputs import read_inputs
from honed.pipeline.attention_models import (
    BASE,
    PROBE_FILE,
    PROBE_ROWS,
    SPECIALIST,
    Pair,
    encode_first_view,
    fit_probe,
    make_pair,
    read_probe,
    save_probe,
)
from honed.pipeline.attention_options import AttentionOptions
from honed.pipeline.attention_rows import RowRegions, mask_column, read_regions, stratified
from honed.pipeline.attention_table import gridded
from honed.pipeline.gate import reopen_data
from honed.pipeline.prepare import development, read_source
from honed.pipeline.reopen import finished
from honed.pipeline.run_folder import RunFolder
from honed.probes.measure import MAPS, Encoded, measure_maps
from honed.probes.subject import Probe
from honed.serving.engine import Specialist, load_specialist


def attention(
    path: str | Path, options: AttentionOptions, out: str | None = None, listeners: Sequence[Listener] = ()
) -> AttentionFolder:
    """Look at development rows of a finished run; writes RUN/attention, or the new folder `out`.

    Raises RunFolderError if it is no finished run or its data changed, UsageError for options that do not fit it,
    DataError if none of the masks can be used.
    """
    options.check()
    run, emitter = finished(path), Emitter(tuple(listeners))
    config = make_config(read_config(run.config))
    with own_folder(run, out) as place:
        with emitter.stage("check", f"Reading {config.data} again"):
            part, plan = development(*reopen_data(run, config))
            chosen = stratified(part.label, part.example_id, max(options.rows, PROBE_ROWS), config.seed)
            part, plan = part.take(chosen), _in_order(plan, chosen)
            rows = part.take(np.arange(min(options.rows, len(part))))
            regions = _regions_of(rows, options, config)
        for fault in regions.faults.values() if regions else ():
            emitter.emit("warning", f"{fault} The row has no regions but its border.")
        with emitter.stage("load", "Loading the specialist"):
            specialist = load_specialist(run.adapter, device=options.device)
        with emitter.stage("base", f"A linear head for the base, on {len(part)} development rows"):
            everything = encode_first_view(specialist.stack, part.inputs)
            probe = fit_probe(specialist, part, everything, config.seed, emitter)
            save_probe(place / PROBE_FILE, probe)
        pair = make_pair(specialist, probe)
        looked = _look(pair, rows, everything.take(range(len(rows))), regions, options.map, emitter)
        asked = Asked(rows.group, options.map, config.seed, config.level)
        checked = check_maps(pair, looked.encoded, looked.maps, asked, emitter)
        with emitter.stage("judge", "Base against specialist, paired by example"):
            withheld = checked.verdicts[0].is_withheld
            tables = _tables(looked, config.level)
            shortcuts = [] if withheld else _shortcuts(run, looked, plan, config.level)
            if regions is None:
                checked.not_run["Regions"] = "not run, because texts have none: attention.parquet tells of every token"
        with emitter.stage("write", "Writing the table, the page and the overlays"):
            settings = _settings(config, options, looked, probe.n_rows)
            judged = Judged(tables, checked, shortcuts, settings, withheld)
            figures = write_all(place, looked, judged, run.path.resolve().name)
    if out is None:
        write_report(run.path)  # which now points to what was found
    return AttentionFolder(run.attention if out is None else Path(out), figures)


def attention_of_inputs(
    path: str | Path, source: str, options: AttentionOptions, out: str | None = None, listeners: Sequence[Listener] = ()
) -> AttentionFolder:
    """Look at new inputs: an image, a folder of images, or a table; writes `out`, or the first free attention/NAME-N.

    Raises UsageError and DataError for inputs that cannot be read, RunFolderError for a damaged run.
    """
    options.check()
    for name, value in (("--mask", options.mask), ("--regions", options.regions.replace("values", ""))):
        if value:
            raise UsageError(
                f"{name} {value} was given together with new inputs ({source}).",
                cause="Regions are of masks in the run's own data.",
                remedy="Leave one of them out.",
            )
    run, emitter = finished(path), Emitter(tuple(listeners))
    config = make_config(read_config(run.config))
    with emitter.stage("check", f"Reading {source}"):
        everything = read_inputs(run, source, emitter)
        rows = everything.take(np.arange(min(len(everything), options.rows)))
    with new_folder(out, Path(source).stem or "inputs") as place:
        with emitter.stage("load", "Loading the specialist and its base"):
            specialist = load_specialist(run.adapter, device=options.device)
            probe = probe_of(run, config, specialist, emitter)
        encoded = encode_first_view(specialist.stack, rows.inputs)
        regions = read_regions(rows, "", "values", Path()) if isinstance(rows.inputs[0], ImageFile) else None
        looked = _look(make_pair(specialist, probe), rows, encoded, regions, options.map, emitter)
        withheld, notes = as_in_run(run, options.map)
        if len(rows) < len(everything):
            notes.append(f"{len(rows)} of {len(everything)} inputs were looked at; --rows looks at more.")
        not_run = {"Regions": "not run, because these are new inputs: the run's own page compares regions"}
        settings = {"run": run.path.resolve().name, "inputs": source, "map": options.map}
        judged = Judged({}, Checked([], notes, not_run), [], settings, withheld, n_overlays=len(rows))
        with emitter.stage("write", f"Writing {len(rows)} inputs"):
            figures = write_all(place, looked, judged, Path(source).name)
    return AttentionFolder(place, figures)


def _in_order(plan: FoldPlan, rows: Sequence[int]) -> FoldPlan:
    index = np.asarray(rows)
    return replace(
        plan, example_id=plan.example_id[index], group=plan.group[index], fold=plan.fold[index], stop=plan.stop[index]
    )


def _regions_of(rows: Dataset, options: AttentionOptions, config: Config) -> RowRegions | None:
    """The regions of the run's images; None for texts."""
    column = mask_column(rows, options.mask)
    if options.regions == "chest" and not column:
        raise UsageError(
            "--regions chest needs masks of lungs and heart, and the rows of this run have none.",
            cause="No column 'mask' is in its data." if options.mask is None else "--mask '' leaves them out.",
            remedy="Name the column of mask files with --mask COLUMN, or leave --regions out.",
        )
    if not isinstance(rows.inputs[0], ImageFile):
        return None
    folder = folder_of(read_source(config.data)) if column else Path()
    return read_regions(rows, column, options.regions, folder)


def probe_of(run: RunFolder, config: Config, specialist: Specialist, emitter: Emitter) -> Probe:
    """The base's head that `honed attention RUN` kept, or one fitted on the data of the run.

    Raises RunFolderError, UsageError or DataError if it was not kept, and these data are gone or changed.
    """
    if kept := read_probe(run.attention / PROBE_FILE):
        return kept
    part, _ = development(*reopen_data(run, config))
    part = part.take(stratified(part.label, part.example_id, PROBE_ROWS, config.seed))
    return fit_probe(specialist, part, encode_first_view(specialist.stack, part.inputs), config.seed, emitter)


def _look(
    pair: Pair, rows: Dataset, encoded: Encoded, regions: RowRegions | None, drawn: str, emitter: Emitter
) -> Looked:
    """Both models' maps of the rows."""
    maps = {}
    for name, subject in pair.subjects.items():
        with emitter.stage("maps", f"Where the {name} looks, in {len(rows)} rows"):
            maps[name] = measure_maps(subject, encoded, emitter, f"attention of the {name}")
    task, cover, tokens = pair.stack.task, None, None
    if regions is None:
        tokens = [task.tokenizer.convert_ids_to_tokens(row.tolist()) for row in encoded.rows]
    else:
        side = gridded(maps[SPECIALIST].heat[drawn]).shape[-1]
        cover = regions.on_patches(side, task.reading.size, task.reading.fit)
    return Looked(rows, encoded, maps, drawn, regions, cover, tokens)


def _tables(looked: Looked, level: float) -> dict[str, RegionTable]:
    """The region table of each map; none for texts."""
    if looked.cover is None:
        return {}
    classes = (looked.rows.label, looked.rows.label_names)
    maps, group = looked.maps, looked.rows.group
    return {
        name: region_table(
            gridded(maps[BASE].heat[name]), gridded(maps[SPECIALIST].heat[name]), looked.cover, group,
            classes=classes, level=level,
        )
        for name in MAPS
    }  # fmt: skip


def _shortcuts(run: RunFolder, looked: Looked, plan: FoldPlan, level: float) -> list[ShortcutCheck]:
    """Whether attention where no finding can be tells what the out-of-fold models got right, or the label."""
    if looked.cover is None:
        return []
    cover = {name: own for name, own in looked.cover.items() if name in SUSPECTS}
    shares = region_shares(gridded(looked.maps[SPECIALIST].heat[looked.drawn]), cover)
    oof = Predictions.read(run.oof)
    assert oof.logits is not None, "a classifier has logits"
    right = dict(zip(oof.example_id.tolist(), (oof.logits.argmax(axis=1) == oof.label).tolist(), strict=True))
    rows, n = looked.rows, len(looked.rows)
    is_correct = np.array([right[example] for example in rows.example_id.tolist()])
    scored = ScoredRows(rows.label, rows.label_names, is_correct, plan.fold[:n], rows.group)
    return shortcut_checks(shares, scored, level=level)


def as_in_run(run: RunFolder, drawn: str) -> tuple[bool, list[str]]:
    """Whether the run found that this map survives random weights; and what is to be said of that."""
    path = run.attention / "attention.json"
    verdicts = run.read_json(path)["faithfulness"] if path.exists() else []
    for verdict in verdicts:
        if verdict["method"] == drawn:
            return bool(verdict["is_withheld"]), [f"In this run's own rows: {verdict['sentence']}"]
    return False, [f"Whether {drawn} may be believed here was not measured: `honed attention {run.path}` does it."]


def _settings(config: Config, options: AttentionOptions, looked: Looked, n_probe: int) -> dict[str, Any]:
    """What was run, for the page."""
    column = looked.regions.column if looked.regions else ""
    return {
        "data": Path(config.data).name,
        "rows": f"{len(looked.rows)} development rows, stratified by class (seed {config.seed}); never the holdout",
        "specialist": f"{config.method}, head {config.head}: the artifact in adapter/, trained on all development rows",
        "base": f"{config.base}, under the linear probe, fitted on {n_probe} development rows",
        "explained": "the class that each model itself predicts",
        "map": options.map,
        "masks": f"column {column}, read as {options.regions}" if column else "none",
    }
