"""From the user's file to checked conversations: the same for `honed check` and a run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from honed.config import Config
from honed.data.chat_template import ConversationReader
from honed.data.conversation_checks import ConversationSettings, conversation_checks
from honed.data.conversations import (
    CONVERSATION_TASKS,
    ConversationRoles,
    load_conversations,
    looks_like_instructions,
)
from honed.data.issue_table import IssueTable
from honed.data.loading import LoadedData
from honed.data.personal.find import find_personal_batch
from honed.data.personal.hit import Finder
from honed.data.personal_columns import PersonalColumns
from honed.data.preference_checks import preference_checks
from honed.data.preferences import load_preferences, looks_like_preferences
from honed.data.readers import read_table
from honed.errors import UsageError
from honed.pipeline.prepare import Prepared

if TYPE_CHECKING:
    import pyarrow as pa


PARTS = ("messages", "prompt", "response", "system", "chosen", "rejected")


def are_conversations(config: Config, table: pa.Table) -> bool:
    """Whether the task is `instruction` or `preference`: named, or with `auto` by the flags and columns.

    table : some rows.

    Raises UsageError for columns of another task beside these.
    """
    others = {"--text": config.text, "--template": config.template, "--image": config.image, "--label": config.label}
    named = [f"{name} {value}" for name, value in others.items() if value]
    if config.task in CONVERSATION_TASKS:
        if named:
            raise UsageError(
                f"{named[0]} does not fit --task {config.task}.",
                cause="Conversations have no such column.",
                remedy="Name their columns with --prompt, --chosen and --rejected."
                if config.task == "preference"
                else "Name their columns with --messages, or --prompt and --response.",
            )
        return True
    asked = bool(config.messages or config.prompt or config.response)
    is_found = asked or _are_preferences(config, table) or looks_like_instructions(table)
    return config.task == "auto" and not named and is_found


def _are_preferences(config: Config, table: pa.Table) -> bool:
    if config.task != "auto":
        return config.task == "preference"
    is_other = bool(config.messages or config.response)
    return bool(config.chosen or config.rejected) or (not is_other and looks_like_preferences(table))


def load_talk(config: Config, table: pa.Table) -> LoadedData:
    """The conversations with replies, or the preferences, of a table that holds them.

    Raises UsageError for settings of one that do not fit the other, and as `load_conversations` does.
    """
    if not _are_preferences(config, table):
        return load_conversations(table, roles_of_conversations(config), require_reply=True)
    unfit = {
        "--messages": config.messages, "--response": config.response,
        "--train-on all": config.train_on == "all", "--replay": config.replay,
        "--balance": config.balance, "--trials max_tokens": "max_tokens" in (config.trials or ""),
    }  # fmt: skip
    for flag, value in unfit.items():
        if value:
            raise UsageError(
                f"{flag} does not fit preferences.",
                cause="A row is a prompt with two replies, and only these are compared.",
                remedy="Leave it out, or use --task instruction.",
            )
    return load_preferences(table, roles_of_conversations(config))


def roles_of_conversations(config: Config) -> ConversationRoles:
    """The columns that the configuration names."""
    return ConversationRoles(
        config.messages, config.prompt, config.response, config.system, config.group, config.id, config.chosen,
        config.rejected,
    )  # fmt: skip


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
        is_pair = form.name == "preference"
        roles = roles_of_conversations(config)
        found = load_preferences(table, roles) if is_pair else load_conversations(table, roles, require_reply=False)
        test = found.dataset.inputs
    checked = conversation_checks(loaded.dataset, ConversationSettings(config.folds, reader, test, finder))
    dataset = checked.dataset
    personal = PersonalColumns(finder)
    personal.add({name: cells.tolist() for name, cells in dataset.traits.items()}, {})
    further = IssueTable.from_issues(personal.issues())
    if form.name == "preference":
        further = IssueTable.concat(further, preference_checks(dataset, reader))
    checks = {**checked.summary, "personal_columns": personal.summary()}
    checks["counts"] = dict(sorted((Counter(checks["counts"]) + Counter(further.counts())).items()))
    named = {name: getattr(form.columns, name) for name in PARTS}
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
    return Prepared(dataset, IssueTable.concat(loaded.issues, further, checked.issues), facts)


def _notes(issues: IssueTable) -> list[str]:
    """What is no issue and yet to be said: prompts with several replies, refusals."""
    n_same = int((issues.check == "same_prompt").sum())
    notes = []
    if n_same:
        notes.append(f"{n_same} rows share their prompt with a row that has another reply; they stay in one fold.")
    told = [issue.evidence for issue in issues.where("refusals").issues() if not issue.is_issue]
    return notes + told
