"""From an entry to its specialist's facts and files; names may be replaced or removed while somebody asks."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from honed.artifact import Artifact, ArtifactInfo
from honed.errors import HonedError, RunFolderError, UsageError
from honed.serving.family import Key, family_key
from honed.serving.residents import Residents
from honed.serving.store import Entry, Registry, load_entry

_MOST_FACTS = 4096


class Busy(HonedError):  # noqa: N818 - an outcome, not a fault
    """The queue is full. retry_after_s : when there may be room again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("The server is busy.", remedy=f"Try again in {retry_after_s} s.")


class NoSuchSpecialist(UsageError):  # noqa: N818 - an outcome, not a fault
    """There is no specialist of that name (any more)."""


class NoAnswer(HonedError):  # noqa: N818 - an outcome, not a fault
    """A specialist gave numbers that are not finite, or the model failed on this input."""


@dataclass(frozen=True)
class Facts:
    """What is kept of an artifact, whether or not it is in memory."""

    info: ArtifactInfo
    family: Key


@dataclass(frozen=True)
class Found:
    """entry : what the name stands for now.    artifact : None if its specialist was in memory."""

    entry: Entry
    facts: Facts
    artifact: Artifact | None


class Lookup:
    """Finds specialists of a registry; used by one thread."""

    def __init__(self, registry: Registry, residents: Residents) -> None:
        self.registry, self.residents = registry, residents
        self._facts: OrderedDict[str, Facts] = OrderedDict()

    def find(self, entry: Entry, loaded: dict[str, Artifact]) -> Found:
        """The specialist of an entry. loaded : artifacts that were read a moment ago, by content.

        Raises NoSuchSpecialist if it was removed, RunFolderError if its files are damaged.
        """
        content = entry.content
        try:
            if content not in self._facts or content not in self.residents:
                if content not in loaded:
                    loaded[content] = load_entry(entry)
                info = loaded[content].info
                self._facts[content] = Facts(info, family_key(info, content))
                while len(self._facts) > _MOST_FACTS:
                    self._facts.popitem(last=False)
            return Found(entry, self._facts[content], loaded.get(content))
        except RunFolderError:
            fresh = self.registry.entries().get(entry.name)
            if fresh is None:
                raise NoSuchSpecialist(f"Specialist {entry.name!r} was removed.") from None
            if fresh.content == content:
                raise
            return self.find(fresh, loaded)  # replaced since it was asked for
