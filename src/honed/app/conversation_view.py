"""How conversations look on a terminal: the format found, the template, and which tokens carry loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from honed.app.console import printable
from honed.data.conversation_tokens import END_SYMBOL, TARGET_MARKS

if TYPE_CHECKING:
    from rich.console import Console

_TEMPLATES = {
    "model": "the chat template that came with the base",
    "plain": "a plain one (the base has none of its own): docs/conversations.md",
}


def show_format(facts: Mapping[str, Any], console: Console) -> None:
    """The format of the rows, the turns, the template, and what is said of it."""
    told, checks = facts["conversations"], facts["checks"]
    turns = ", ".join(f"{count} with {n}" for n, count in checks["n_turns"].items())
    console.print(f"Format   {told['format']}; rows by number of replies: {turns}", markup=False)
    if told["template"]:
        ends = " or ".join(told["ends_with"])
        console.print(f"Template {_TEMPLATES[told['template']]}; a turn ends with {printable(ends)}", markup=False)
    for text in checks["template_remarks"]:
        console.print(f"         {printable(text)}", markup=False)


def show_masks(facts: Mapping[str, Any], console: Console) -> None:
    """Token lengths, and some rows as they are read: in colour what carries loss, the end of a turn as a symbol.

    Where the terminal has no colours, what carries loss stands in brackets.
    """
    from rich.text import Text

    checks, told = facts["checks"], facts["conversations"]
    length = checks["token_length"]
    if length is None:
        return
    console.print(
        f"Tokens   median {length['median']}, 95 % have at most {length['p95']}, longest {length['max']};"
        f" {checks['truncation_frac']:.1%} are cut at --max-tokens {told['max_tokens']},"
        f" {checks['reply_truncation_frac']:.1%} within the reply",
        markup=False,
    )
    has_colours = console.color_system is not None and not console.no_color
    learned = "every token" if told["train_on"] == "all" else "the replies"
    how = "green" if has_colours else f"in {' '.join(TARGET_MARKS)}"
    console.print(f"The model will read this, and learn what is {how} ({learned}; {END_SYMBOL} ends a turn):")
    for entry in checks["preview"]:
        if has_colours:
            text = Text()
            for piece in entry["pieces"]:
                shown = END_SYMBOL if piece["is_end"] and piece["is_target"] else printable(piece["text"])
                text.append(shown, style="bold green" if piece["is_target"] else "dim")
        else:
            text = Text(printable(entry["decoded"]))
        console.rule(Text(f"row {printable(entry['example_id'])}"), align="left", style="dim")
        console.print(text)
    console.rule(style="dim")
