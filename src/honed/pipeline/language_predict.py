"""`honed predict` and `honed chat` with a language model: it replies to every prompt of a file, or to a person."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from honed.artifact import load_artifact
from honed.data.conversations import ConversationRoles, load_conversations
from honed.data.readers import read_table
from honed.errors import RunFolderError
from honed.events import Emitter
from honed.pipeline.output_file import csv_bytes, write_output
from honed.pipeline.predict import adapter_folder
from honed.serving.engine import Specialist, load_specialist
from honed.serving.generation import Writing, write_replies

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Replies:
    """What was replied to n prompts, in the order of the input; "" to a row that is no prompt.

    base : the frozen base's replies, None if it was not asked.
    """

    example_id: tuple[str, ...]
    reply: tuple[str, ...]
    base: tuple[str, ...] | None

    def table(self) -> pa.Table:
        """Columns example_id, reply, and base_reply where the base was asked too."""
        import pyarrow as pa

        columns = {"example_id": self.example_id, "reply": self.reply}
        if self.base is not None:
            columns["base_reply"] = self.base
        return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})

    def csv(self) -> bytes:
        """The table as UTF-8 CSV."""
        return csv_bytes(self.table())

    def write(self, path: Path) -> None:
        """Write CSV or Parquet, by the suffix, whole or not at all. Raises OutputError if it cannot be written."""
        write_output(path, self.csv() if path.suffix.lower() == ".csv" else self.table())


def is_language_run(run: Path) -> bool:
    """Whether the specialist of this run writes. Raises RunFolderError if there is none."""
    return load_artifact(adapter_folder(run)).info.task == "instruction"


def load_writer(run: Path, *, device: str, emitter: Emitter) -> Specialist:
    """The specialist of a run, which must be one that writes.

    Raises RunFolderError if it is not, or if the run is damaged.
    """
    if not is_language_run(run):
        raise RunFolderError(
            f"The specialist of {run} classifies; it does not write.", remedy=f"honed predict {run} INPUT"
        )
    with emitter.stage("load", "Loading the specialist"):
        return load_specialist(adapter_folder(run), device=device)


def reply_file(
    specialist: Specialist, source: str, roles: ConversationRoles, how: Writing, emitter: Emitter, *, with_base: bool
) -> Replies:
    """Reply to every row of a file of prompts or conversations; a conversation's last reply is not read.

    Raises UsageError for a missing column or a prompt too long for the base, DataError for an unreadable file.
    """
    with emitter.stage("check", f"Reading {source}"):
        loaded = load_conversations(read_table(source), roles, require_reply=False)
    prompts = [conversation.prompt() for conversation in loaded.dataset.inputs]
    asked = [i for i, prompt in enumerate(prompts) if prompt]
    for i in sorted(set(range(len(prompts))) - set(asked)):
        emitter.emit("warning", f"Row {i + 1} has no reply: there is no prompt.", row=i)
    found = []
    for slot in (0, None) if with_base else (0,):
        title = "The base replies" if slot is None else f"Replying to {len(asked)} prompts"
        with emitter.stage("reply" if slot == 0 else "reply_base", title):
            own = write_replies(specialist.stack, [prompts[i] for i in asked], [slot] * len(asked), how, emitter)
        replies = [""] * len(prompts)
        for i, reply in zip(asked, own, strict=True):
            replies[i] = reply
        found.append(tuple(replies))
    return Replies(tuple(loaded.dataset.example_id.tolist()), found[0], found[1] if with_base else None)
