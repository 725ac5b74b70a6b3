"""Which specialists are in memory: loaded when they are asked for, and the longest unused leave when room is needed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

from honed.artifact import Artifact, check_base, check_tokenizer, tokenizer_sha256
from honed.serving.family import Family, FrozenBase, Key, family_key


@dataclass(frozen=True)
class Place:
    """Where a specialist is."""

    family: Family
    slot: int


@dataclass
class _Slots:
    """The slots of a family: `n_made` in all, of which `free` hold nobody."""

    family: Family
    n_made: int = 0
    free: list[int] = field(default_factory=list)

    @property
    def n_used(self) -> int:
        return self.n_made - len(self.free)


class Residents:
    """Specialists in memory by the hash of their content; used by one thread.

    limit_bytes : of all of them together, without the base. One alone is always let in, however large.
    """

    def __init__(self, frozen: FrozenBase, limit_bytes: int) -> None:
        self.frozen, self.limit_bytes, self.n_loads, self.n_evictions = frozen, limit_bytes, 0, 0
        self._places: OrderedDict[str, Place] = OrderedDict()
        self._slots: dict[Key, _Slots] = {}
        self._tokenizer_hash: str | None = None

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def __len__(self) -> int:
        return len(self._places)

    @property
    def n_bytes(self) -> int:
        """Memory of all of them."""
        return sum(slots.family.slot_bytes * slots.n_used for slots in list(self._slots.values()))

    def find(self, content: str) -> Place | None:
        """Where a specialist is, None if it is not in memory; it counts as used now."""
        place = self._places.get(content)
        if place is not None:
            self._places.move_to_end(content)
        return place

    def bring_in(self, content: str, artifact: Artifact, pinned: Collection[str] = ()) -> Place | None:
        """Load a specialist. pinned : contents that must not leave for it; None if there is no room beside them.

        Raises BaseModelError for another base or tokenizer, UsageError if its tensors do not fit the base.
        """
        check_base(artifact.info, self.frozen.base)
        size = sum(tensor.numel() * tensor.element_size() for tensor in artifact.state.values())
        if not self._make_room(size, pinned):
            return None
        key = family_key(artifact.info, content)
        slots = self._slots.get(key) or _Slots(Family(self.frozen, artifact, key))
        if self._tokenizer_hash is None:
            self._tokenizer_hash = tokenizer_sha256(slots.family.task.tokenizer)
        check_tokenizer(artifact.info, self.frozen.base, self._tokenizer_hash)
        slot = slots.free[-1] if slots.free else slots.n_made
        slots.family.load(slot, artifact)
        if slots.free:
            slots.free.pop()
        else:
            slots.n_made += 1
        self._slots[key] = slots
        self._places[content] = place = Place(slots.family, slot)
        self.n_loads += 1
        return place

    def keep_only(self, contents: Collection[str]) -> None:
        """Let go of all others: their names were removed, or stand for something else now."""
        for content in [own for own in self._places if own not in contents]:
            self._drop(content)

    def _make_room(self, size: int, pinned: Collection[str]) -> bool:
        while self._places and self.n_bytes + size > self.limit_bytes:
            oldest = next((content for content in self._places if content not in pinned), None)
            if oldest is None:
                return False
            self._drop(oldest)
            self.n_evictions += 1
        return True

    def _drop(self, content: str) -> None:
        place = self._places.pop(content)
        slots = self._slots[place.family.key]
        slots.free.append(place.slot)
        if not slots.n_used:
            del self._slots[place.family.key]  # its blocks go with it
