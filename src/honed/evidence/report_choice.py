"""What the run's report says of `--layers`, `--image-size` and `--head measured`: every candidate, and the choice."""

from __future__ import annotations

import json
from pathlib import Path

from honed.errors import RunFolderError
from honed.evidence.report_format import decimal

_NAMES = {"layers": "Layers", "image_size": "Pixels", "head": "Head"}


def choice_view(run: Path) -> dict[str, object] | None:
    """The section's facts, None if nothing was measured.

    Raises RunFolderError if measured.json is damaged.
    """
    path = run / "measured.json"
    if not path.exists():
        return None
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        fields = [str(name) for name in table["fields"]]
        ranked = sorted(table["candidates"], key=lambda row: float(row["log_loss"]))
        return {
            "rule": str(table["rule"]),
            "n_rows": int(table["n_rows"]),
            "names": [_NAMES.get(name, name) for name in fields],
            "rows": [
                {
                    "values": [row[name] for name in fields],
                    "cost": f"{float(row['cost']):.0f}",
                    "log_loss": f"{float(row['log_loss']):.3f}",
                    "behind": decimal(float(row["behind"])),
                    "error": decimal(float(row["standard_error"])) if row["behind"] else "",
                    "is_tied": bool(row["is_tied"]),
                    "is_chosen": bool(row["is_chosen"]),
                }
                for row in ranked
            ],
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path} cannot be used: {type(error).__name__}: {error}.",
            remedy=f"Remove it, and write the report again with `honed report {run}`.",
        ) from error
