"""Personal data: precision and recall per kind on generated rows with traps, and rows a second on one core.

    python benchmarks/personal.py --json FILE [--presidio MODEL]

The rows are those of tests/personal_rows.py: 1,000 of the templates that the finder was developed on, 1,000 of others
that were held out. With `--presidio`, a spaCy model (name or folder; needs honed[presidio]), two more columns: our
patterns with the persons of that model, and the peer, Presidio alone with all its recognizers. `ratio` is the time of
our patterns over the time of the peer on the held-out rows; null where there is no peer.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from personal_rows import PersonalRow, judge, personal_rows

# Presidio's names for our kinds; what it has no name for (dates of birth, addresses) it cannot find
KINDS = {
    "PERSON": "name", "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban",
    "IP_ADDRESS": "ip", "US_SSN": "national_id", "US_ITIN": "national_id", "UK_NHS": "national_id",
    "UK_NINO": "national_id", "US_PASSPORT": "national_id", "UK_PASSPORT": "national_id", "ES_NIF": "national_id",
    "ES_NIE": "national_id", "IT_FISCAL_CODE": "national_id", "PL_PESEL": "national_id", "IN_AADHAAR": "national_id",
    "DE_TAX_ID": "national_id", "MEDICAL_LICENSE": "record",
}  # fmt: skip
SENTENCE = "the card was late and fees on my account were charged twice without any notice from your bank in town"


def presidio_alone(model: str) -> Finder:
    """Presidio's own recognizers for English and the model's persons, at its default threshold."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    from honed.data.personal.hit import Hit

    # its list of top-level domains as installed: it would be fetched from the network
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
    engine = SpacyNlpEngine(models=[{"lang_code": "en", "model_name": model}])
    analyzer = BatchAnalyzerEngine(AnalyzerEngine(nlp_engine=engine, supported_languages=["en"]))

    def find(texts: Sequence[str]) -> list[tuple[int, Hit]]:
        found = analyzer.analyze_iterator(list(texts), language="en", batch_size=256)
        return [
            (i, Hit(KINDS[hit.entity_type], hit.start, hit.end, hit.score))
            for i, hits in enumerate(found)
            for hit in hits
            if hit.entity_type in KINDS
        ]

    return find


def scores(finder: Finder, rows: list[PersonalRow]) -> dict[str, Any]:
    start = time.process_time()
    hits = finder([row.text for row in rows])
    seconds = time.process_time() - start
    judged = judge(rows, [(i, hit.kind, hit.start, hit.end) for i, hit in hits])
    kinds = {
        kind: {"n": score.n_true, "precision": score.precision if score.n_reported else None, "recall": score.recall}
        for kind, score in judged.items()
        if score.n_true
    }
    return {"seconds": seconds, "kinds": kinds}


def rows_per_s(finder: Finder, n: int = 20_000) -> float:
    """On rows of 30 plain words, of which one in fifty has an e-mail address and a number."""
    draw, words = random.Random(0), SENTENCE.split()
    texts = [
        " ".join(draw.choices(words, k=30)) + (f" mail a{i}@example.org or 0{i:09d}" if i % 50 == 0 else "")
        for i in range(n)
    ]
    start = time.process_time()
    finder(texts)
    return n / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", required=True)
    parser.add_argument("--presidio")
    arguments = parser.parse_args()
    finders: dict[str, Callable[[], Finder]] = {"patterns": lambda: find_personal_batch}
    if arguments.presidio:
        from honed.data.personal.presidio import PresidioFinder

        finders["patterns + Presidio's persons"] = lambda: PresidioFinder.load(arguments.presidio)
        finders["Presidio alone"] = lambda: presidio_alone(arguments.presidio)
    development, held_out = personal_rows()
    result: dict[str, Any] = {"held_out": {}, "development": {}}
    for name, load in finders.items():
        finder = load()
        finder([row.text for row in development[:50]])  # what is loaded or compiled on first use is not timed
        result["development"][name] = scores(finder, development)
        result["held_out"][name] = scores(finder, held_out)
    result["rows_per_s"] = rows_per_s(find_personal_batch)
    ours, peer = result["held_out"]["patterns"], result["held_out"].get("Presidio alone")
    result |= {
        "ratio": ours["seconds"] / peer["seconds"] if peer else None,
        "ours_s": ours["seconds"],
        "peer_s": peer["seconds"] if peer else None,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    Path(arguments.json).parent.mkdir(parents=True, exist_ok=True)
    Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    print(f"{'held-out rows':14}" + "".join(f"{name:>32}" for name in finders))
    for kind in ours["kinds"]:
        figures = [result["held_out"][name]["kinds"].get(kind) for name in finders]
        cells = [f"{f['precision']:.3f} {f['recall']:.3f}" if f and f["recall"] else "none" for f in figures]
        print(f"{kind:14}" + "".join(f"{cell:>32}" for cell in cells) + f"   of {ours['kinds'][kind]['n']}")
    print("(precision, recall)", f"{result['rows_per_s']:.0f} rows of 30 words a second with patterns")


if __name__ == "__main__":
    main()
