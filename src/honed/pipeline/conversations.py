"""From the user's file to checked conversations: the same for `honed check` and a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from honed.config import Config
from honed.data.chat_template import ConversationReader
from honed.data.conversation_checks import ConversationSettings, conversation_checks
from honed.data.conversations import ConversationRoles, load_conversations, looks_like_instructions
from honed.data.issue_table import IssueTable
from honed.data.loading import LoadedData
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.personal_columns import PersonalColumns
from honed.data.readers import read_table
from honed.errors import UsageError
from honed.pipeline.prepare import Prepared

if TYPE_CHECKING:
    import pyarrow as pa


def are_conversations(config: Config, table: pa.Table) -> bool:
    """Whether the task is `instruction`: named, or with `auto` by the flags and columns.

    table : some rows.

    Raises UsageError for columns of another task beside `--task instruction`.
    """
    others = {"--text": config.text, "--template": config.template, "--image": config.image, "--label": config.label}
    named = [f"{name} {value}" for name, value in others.items() if value]
    if config.task == "instruction":
        if named:
            raise UsageError(
                f"{named[0]} does not fit --task instruction.",
                cause="Conversations have no such column.",
                remedy="Name their columns with --messages, or --prompt and --response.",
            )
        return True
    asked = bool(config.messages or config.prompt or config.response)
    return config.task == "auto" and not named and (asked or looks_like_instructions(table))


def roles_of_conversations(config: Config) -> ConversationRoles:
    """The columns that the configuration names."""
    return ConversationRoles(config.messages, config.prompt, config.response, config.system, config.group, config.id)


def prepare_conversations(
    config: Config,
    reader: ConversationReader | None,
    loaded: LoadedData,
    finder: Finder = find_personal_batch,
) -> Prepared:
    """Check conversations. Without a reader the checks of tokens are left out.

    finder : finds personal data.
    """
    form = loaded.format
    assert form is not None, "loaded by load_conversations"
    test = None
    if config.test_file:
        table = read_table(config.test_file)
        test = load_conversations(table, roles_of_conversations(config), require_reply=False).dataset.inputs
    checked = conversation_checks(loaded.dataset, ConversationSettings(config.folds, reader, test, finder))
    dataset = checked.dataset
    personal = PersonalColumns(finder)
    personal.add({name: cells.tolist() for name, cells in dataset.traits.items()}, {})
    in_columns = IssueTable.from_issues(personal.issues())
    checks = {**checked.summary, "personal_columns": personal.summary()}
    checks["counts"] = dict(sorted({**checks["counts"], **in_columns.counts()}.items()))
    named = {name: getattr(form.columns, name) for name in ("messages", "prompt", "response", "system")}
    facts = {
        "source": config.data,
        "n_rows": loaded.n_rows,
        "n_used": len(dataset),
        "fingerprint": dataset.fingerprint,
        "roles": {**vars(loaded.roles), **named, "input": form.input},
        "label_names": list(dataset.label_names),
        "class_counts": {dataset.label_names[0]: len(dataset)},
        "n_groups": len(set(dataset.group.tolist())),
        "conversations": {
            "format": form.name,
            "template": reader.template.name if reader else None,
            "train_on": config.train_on,
            "max_tokens": config.max_tokens,
            "ends_with": reader.tokenizer.convert_ids_to_tokens(list(reader.end_ids)) if reader else None,
        },
        "checks": checks,
        "notes": [*loaded.notices, *_notes(checked.issues)],
    }
    return Prepared(dataset, IssueTable.concat(loaded.issues, in_columns, checked.issues), facts)


def _notes(issues: IssueTable) -> list[str]:
    """What is no issue and yet to be said: prompts with several replies, refusals."""
    n_same = int((issues.check == "same_prompt").sum())
    notes = []
    if n_same:
        notes.append(f"{n_same} rows share their prompt with a row that has another reply; they stay in one fold.")
    told = [issue.evidence for issue in issues.where("refusals").issues() if not issue.is_issue]
    return notes + told
