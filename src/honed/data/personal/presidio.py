"""Microsoft Presidio beside our own patterns: a language model finds the names that no title or word announces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Hit, without_overlaps
from honed.data.personal.names import is_written_like_a_name
from honed.errors import UsageError

_BATCH = 256
_SCORE = 0.65
"""Of a name that only the language model sees: below a title or an announcement, above a repeated surname."""


@dataclass(frozen=True)
class PresidioFinder:
    """A `Finder`: our hits, and the persons that Presidio's language model finds elsewhere. Make it with `load`.

    Everything with a structure (numbers, addresses) is left to our patterns, which check checksums and context.
    """

    engine: Any
    language: str

    @staticmethod
    def load(model: str) -> PresidioFinder:
        """Presidio with an installed spaCy model.

        model : name of an installed package, such as `en_core_web_lg`, or the path of a model's folder. It is never
            downloaded.

        Raises UsageError if Presidio or the model is not installed, or if the model finds no persons.
        """
        try:
            import spacy
            from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, RecognizerRegistry
            from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
            from presidio_analyzer.predefined_recognizers import SpacyRecognizer
        except ImportError as error:
            raise UsageError(
                f"--presidio {model} needs Microsoft Presidio: {error}.", remedy="pip install 'honed[presidio]'"
            ) from error
        if not (spacy.util.is_package(model) or Path(model).is_dir()):
            installed = ", ".join(sorted(spacy.util.get_installed_models())) or "none"
            raise UsageError(
                f"--presidio {model}: there is no such spaCy model here.",
                cause=f"Installed models: {installed}.",
                remedy=f"python -m spacy download {model}",
            )
        nlp = spacy.load(model)
        labels = {label for labels in nlp.pipe_labels.values() for label in labels}
        if labels.isdisjoint(("PERSON", "PER")):
            raise UsageError(
                f"--presidio {model}: the model finds no persons (labels: {', '.join(sorted(labels)[:8]) or 'none'}).",
                remedy="Name a model with named-entity recognition, such as en_core_web_sm.",
            )
        language = str(nlp.lang)
        mapping = {"PERSON": "PERSON", "PER": "PERSON"}
        ignored = sorted(labels - set(mapping))
        settings = NerModelConfiguration(model_to_presidio_entity_mapping=mapping, labels_to_ignore=ignored)
        nlp_engine = SpacyNlpEngine(
            models=[{"lang_code": language, "model_name": model}], ner_model_configuration=settings
        )
        nlp_engine.nlp = {language: nlp}  # loaded already; Presidio would download a model that it does not find
        persons = SpacyRecognizer(supported_language=language, supported_entities=["PERSON"])
        registry = RecognizerRegistry(recognizers=[persons], supported_languages=[language])
        analyzer = AnalyzerEngine(registry=registry, nlp_engine=nlp_engine, supported_languages=[language])
        return PresidioFinder(BatchAnalyzerEngine(analyzer_engine=analyzer), language)

    def __call__(self, texts: Sequence[str]) -> list[tuple[int, Hit]]:
        """(position of the text, hit) of all texts, by position and then by start."""
        ours: list[list[Hit]] = [[] for _ in texts]
        for i, hit in find_personal_batch(texts):
            ours[i].append(hit)
        theirs = self.engine.analyze_iterator(
            list(texts), language=self.language, batch_size=_BATCH, entities=["PERSON"]
        )
        found = []
        for i, (text, hits, persons) in enumerate(zip(texts, ours, theirs, strict=True)):
            # In a language that is not its own, a model takes any two words for a person: they must look like one.
            named = [
                Hit("name", person.start, person.end, _SCORE, "by a language model")
                for person in persons
                if is_written_like_a_name(text[person.start : person.end])
            ]
            found += [(i, hit) for hit in without_overlaps([*hits, *named])]
        return found
