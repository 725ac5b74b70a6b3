"""What the run's report says of `honed attention`, where that was run: may the map be believed, and where is it."""

from __future__ import annotations

import json
from pathlib import Path

from honed.errors import RunFolderError

PAGE = "attention/attention.html"


def attention_view(run: Path) -> dict[str, object] | None:
    """The section's facts, None if there are none.

    Raises RunFolderError if attention.json is damaged.
    """
    path = run / "attention" / "attention.json"
    if not path.exists():
        return None
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
        return {
            "page": PAGE,
            "n_rows": int(figures["n_rows"]),
            "sentences": [str(figures["faithfulness"][0]["sentence"])],
            "warning": str(figures["warning"]),
        }
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise RunFolderError(
            f"{path} cannot be used: {type(error).__name__}: {error}.",
            remedy=f"Remove {path.parent}, or make it again with `honed attention {run}`.",
        ) from error
