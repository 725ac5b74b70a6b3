"""The rows of any task, read and checked: labelled texts or images, or conversations."""

from __future__ import annotations

from honed.bases import ResolvedBase
from honed.config import Config
from honed.data.conversations import Conversation
from honed.data.loading import LoadedData
from honed.data.readers import open_table
from honed.data.stored_rows import GUESS_ROWS
from honed.errors import UsageError
from honed.pipeline.assembly import conversation_reader
from honed.pipeline.conversations import are_conversations, load_talk, prepare_conversations
from honed.pipeline.prepare import EMBEDDED, Prepared, load, prepare, read_source


def load_rows(config: Config) -> LoadedData:
    """Read what the configuration names."""
    if config.data not in EMBEDDED and are_conversations(config, table := read_source(config.data)):
        return load_talk(config, table)
    return load(config)


def prepare_rows(config: Config, base: ResolvedBase, loaded: LoadedData | None = None) -> Prepared:
    """Check the rows, read here if they are not yet. config : settled."""
    loaded = loaded or load_rows(config)
    if isinstance(loaded.dataset.inputs[0], Conversation):
        reader = conversation_reader(base, config.max_tokens, config.train_on)
        return prepare_conversations(config, reader, loaded)
    return prepare(config, base, loaded)


def load_classes(config: Config, command: str) -> LoadedData:
    """The rows, for a command that knows only classes.

    Raises UsageError, with the way out, if they are conversations.
    """
    refuse_conversations(config, command)
    return load(config)


def refuse_conversations(config: Config, command: str) -> None:
    """Raises UsageError if the rows are conversations, which `honed command` does not know."""
    if config.data not in EMBEDDED and are_conversations(config, open_table(config.data).head(GUESS_ROWS)):
        raise UsageError(
            f"`honed {command}` is for texts and images with classes; {config.data} holds conversations.",
            remedy="Tune a language model on them with `honed fit`; or name a --label.",
        )
