"""Which column is the text, the label, the group, the id: named by the user, or the obvious one."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from honed.data.cells import column_text
from honed.data.images import SUFFIXES
from honed.data.template import Template, parse_template
from honed.errors import DataError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

OBVIOUS_TEXT = (
    "text",
    "sentence",
    "content",
    "body",
    "review",
    "message",
    "question",
    "description",
    "document_text",
    "abstract",
    "comment",
    "query",
    "utterance",
    "tweet",
    "post",
    "prompt",
    "instruction",
    "input",
    "snippet",
)
OBVIOUS_IMAGE = ("image", "file_name", "filename", "image_path", "image_file", "file_path", "filepath", "file", "path")
OBVIOUS_LABEL = ("label", "labels", "class", "category", "target", "intent", "y", "label_text", "label_name", "tag")
OBVIOUS_GROUP = ("group", "groups", "group_id")
PROBABLE_GROUP = (
    "patient",
    "patient_id",
    "document",
    "document_id",
    "doc",
    "doc_id",
    "subject",
    "subject_id",
    "customer",
    "customer_id",
    "user_id",
    "author_id",
    "case_id",
    "thread_id",
    "conversation_id",
)
OBVIOUS_ID = ("id", "example_id", "uid", "guid")
_LONG_TEXT_CHARS = 20
_IMAGE_NAMES_FRAC = 0.5
_GUESS_ROWS = 1000


@dataclass(frozen=True)
class Roles:
    """The columns that play a part.

    None asks for the obvious column; "" (for `group` and `id`) says that there is none. `text`, `template` and `image`
    (file names) exclude each other. `reader`, a second reader's labels, is never guessed. In a resolved `Roles`, None
    means that no column plays the part.
    """

    text: str | None = None
    label: str | None = None
    group: str | None = None
    id: str | None = None
    template: str | None = None
    image: str | None = None
    reader: str | None = None


@dataclass(frozen=True)
class ResolvedRoles:
    """`roles` with every part found, the parsed template, and what the user should be told about the guesses."""

    roles: Roles
    template: Template | None
    notices: tuple[str, ...]


def resolve_roles(table: pa.Table, roles: Roles, *, require_label: bool) -> ResolvedRoles:
    """Find the column of every part.

    With `require_label=False` (prediction) a label or group column that is named but absent is no fault.

    Without a named text, template or image, a column of image files is taken where no column is called like a text.

    Raises UsageError if a named column is absent ("did you mean"), if there is no obvious text or label column, or
    if one column would play two parts.
    """
    names: list[str] = table.column_names
    notices: list[str] = []
    inputs = {"--text": roles.text, "--template": roles.template, "--image": roles.image}
    given = [f"{name} {value!r}" for name, value in inputs.items() if value]
    if len(given) > 1:
        raise UsageError(
            f"{' and '.join(given)} were both given.",
            cause="Each of them says what the model reads.",
            remedy="Choose one.",
        )
    template = parse_template(roles.template, names) if roles.template else None
    optional = not require_label
    named = {roles.text, roles.image, roles.group, roles.id}
    label = named_column(names, roles.label, "--label", optional=optional)
    if not roles.label:  # a reader's column may be called like a label; if it is the only one, that is told below
        free = obvious_column(names, OBVIOUS_LABEL, named | {roles.reader})
        label = free or obvious_column(names, OBVIOUS_LABEL, named)
    identifier = named_column(names, roles.id, "--id") or (
        obvious_column(names, OBVIOUS_ID, {roles.text, roles.image, label, roles.group, roles.reader})
        if roles.id is None
        else None
    )
    group = named_column(names, roles.group, "--group", optional=optional)
    reader = named_column(names, roles.reader, "--reader", optional=optional)
    text, image = None, named_column(names, roles.image, "--image")
    if template is None and image is None:
        taken = {label, identifier, group, reader}
        text = named_column(names, roles.text, "--text")
        image = None if text else _find_image(table, taken, notices)
        if image is None:
            text = text or _find_text(table, taken, notices)
    if roles.group is None:
        taken = {text, image, label, identifier, reader, *(template.columns if template else ())}
        group = find_group(names, taken, notices)
    if require_label and label is None:
        raise UsageError(
            "There is no obvious label column.",
            cause=f"The columns are {', '.join(names)}. If these are data, the file lacks its header line.",
            remedy="Say which column holds the class with --label NAME.",
        )
    if label is not None and label in (text, image):
        what = "text" if label == text else "image"
        raise UsageError(
            f"Column {label!r} would be the {what} and the label at once.",
            remedy=f"Name both: --{what} NAME --label NAME.",
        )
    if template is not None and label in template.columns:
        raise UsageError(
            f"--template {roles.template!r} holds the label column {label!r}, so the model would read the answer.",
            remedy="Leave it out of the template, or name another column with --label.",
        )
    resolved = Roles(text, label, group, identifier, roles.template, image, reader)
    _check_reader(resolved, template)
    return ResolvedRoles(resolved, template, tuple(notices))


def _check_reader(roles: Roles, template: Template | None) -> None:
    """Raises UsageError if the second reader's column plays another part too."""
    if roles.reader is None:
        return
    parts = {"label": roles.label, "group": roles.group, "id": roles.id, "text": roles.text, "image": roles.image}
    other = next((part for part, name in parts.items() if name == roles.reader), None)
    if template is not None and roles.reader in template.columns:
        other = "template"
    if other is not None:
        is_read = other in ("text", "image", "template")
        raise UsageError(
            f"--reader {roles.reader} is the column of --{other} too.",
            cause="The model would read what the other reader said, and then be compared with it."
            if is_read
            else "A second reader's labels must be a column of their own.",
            remedy=f"Name another column with --{other} or with --reader.",
        )


def find_group(names: list[str], taken: set[str | None], notices: list[str]) -> str | None:
    """The column whose equal values belong together, where the user names none; a guess is told in `notices`."""
    group = obvious_column(names, OBVIOUS_GROUP, taken)
    if group is None and (group := obvious_column(names, PROBABLE_GROUP, taken)):
        notices.append(
            f"Rows with the same {group!r} are kept together in one fold, the safe side: name another column with"
            " --group, or switch it off with --group ''."
        )
    return group


def named_column(names: list[str], name: str | None, flag: str, *, optional: bool = False) -> str | None:
    """The column that the user named, None if none was named.

    Raises UsageError if it is absent, unless it is `optional`.
    """
    if not name or name in names:
        return name or None
    if optional:
        return None
    lower = {n.lower(): n for n in names}
    similar = difflib.get_close_matches(name.lower(), list(lower), n=1)
    raise UsageError(
        f"{flag} {name}: there is no such column.",
        cause=f"The columns are {', '.join(names)}.",
        remedy=f"Did you mean {flag} {lower[similar[0]]}?" if similar else f"Name one of them with {flag}.",
    )


def obvious_column(names: list[str], wanted: tuple[str, ...], taken: set[str | None]) -> str | None:
    """The first wanted name that a column has, whatever its case."""
    lower: dict[str, str] = {}
    for name in names:
        if name not in taken:
            lower.setdefault(name.strip().lower(), name)
    return next((lower[name] for name in wanted if name in lower), None)


def _find_image(table: pa.Table, taken: set[str | None], notices: list[str]) -> str | None:
    """The obvious column of image files, if most of its first cells end like one and there is no obvious text."""
    found = obvious_column(table.column_names, OBVIOUS_IMAGE, taken)
    if found is None:
        return None
    try:
        cells = [cell for cell in column_text(table.slice(0, _GUESS_ROWS), found, "--image") if cell]
    except DataError:  # bytes or objects: not file names
        return None
    n_images = sum(cell.lower().strip().endswith(tuple(SUFFIXES)) for cell in cells)
    if not n_images or n_images < _IMAGE_NAMES_FRAC * len(cells):
        return None
    text = obvious_column(table.column_names, OBVIOUS_TEXT, taken)
    if text is not None:
        notices.append(f"Column {text!r} was taken as the text; to classify the images in {found!r}: --image {found}.")
        return None
    return found


def _find_text(table: pa.Table, taken: set[str | None], notices: list[str]) -> str:
    """The obvious text column, else the only column of long strings (or the only free column at all)."""
    import pyarrow as pa

    names: list[str] = table.column_names
    found = obvious_column(names, OBVIOUS_TEXT, taken)
    if found:
        return found
    types = {name: table.schema.field(name).type for name in names if name not in taken}
    free = [name for name, dtype in types.items() if pa.types.is_string(dtype) or pa.types.is_large_string(dtype)]
    start = table.slice(0, _GUESS_ROWS)
    mean_chars = {}
    for name in free:
        lengths = [len(cell) for cell in column_text(start.select([name]), name, "--text") if cell]
        mean_chars[name] = sum(lengths) / max(len(lengths), 1)
    long = [name for name in free if mean_chars[name] >= _LONG_TEXT_CHARS]
    if len(long) == 1 or len(free) == 1:
        chosen = (long or free)[0]
        notices.append(f"Column {chosen!r} was taken as the text; name another with --text.")
        return chosen
    raise UsageError(
        "There is no obvious text column.",
        cause=f"The columns are {', '.join(names)}"
        + (f"; {', '.join(long)} all hold long texts." if long else ".")
        + " If these are data, the file lacks its header line.",
        remedy="Name one with --text NAME, or join several with --template '{title}\\n{body}'.",
    )
