"""The flags of a command, generated from the fields of `Config`: name, type, default and help stand there alone."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from honed.config import Config, flag, make_config, read_config
from honed.errors import ConfigError
from honed.recipes.library import read_recipe

PANELS: dict[str, tuple[str, ...]] = {
    "Data": (
        "text", "image", "label", "group", "id", "template", "messages", "prompt", "response", "system",
        "chosen", "rejected", "test_file",
    ),
    "Model": (
        "base", "revision", "task", "method", "method_options", "parameters", "head", "ordinal_head", "layers", "depth",
        "max_tokens", "train_on", "beta",
        "image_size", "image_fit", "views", "augment", "average_views",
    ),
    "Training": (
        "epochs", "patience", "batch_size", "learning_rate", "head_learning_rate", "weight_decay", "warmup_frac",
        "clip_norm", "balance", "trials", "n_trials", "seed",
    ),
    "Labels": ("clean", "decisions"),
    "Evidence": ("folds", "holdout_frac", "stop_frac", "ordinal", "metric", "require", "level", "gate", "keep_texts"),
    "Language model": (
        "safety", "probes", "detector", "n_asked", "margin_drop", "forgetting", "replay", "score", "n_written",
        "max_new_tokens",
    ),
    "Clinical reading": ("positive", "sensitivity", "prevalence", "reader"),
    "Machine": ("precision", "device", "gradient_checkpointing", "cache_frac", "out"),
}  # fmt: skip
"""Where each flag stands in `--help`. `data` is the argument."""

CHECK_FLAGS = (
    *PANELS["Data"], "task", "base", "revision", "max_tokens", "train_on", "folds", "holdout_frac", "stop_frac", "seed",
)  # fmt: skip
"""The flags of `honed check`: what decides how the data are read and split."""

_METAVARS = {str: "TEXT", int: "N", float: "X", Any: "VALUE"}


def all_flags() -> tuple[str, ...]:
    """Every field but `data`, panel by panel."""
    return tuple(name for names in PANELS.values() for name in names)


def with_config_flags(function: Callable[..., int], names: Sequence[str]) -> Callable[..., int]:
    """A command with the parameters of `function` and a flag for each of `names`.

    function : its first parameter takes the values of the flags that were given, by field.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    first, *own = inspect.signature(function).parameters.values()

    def command(**arguments: Any) -> int:
        given = {name: arguments.pop(name) for name in names}
        return function({name: value for name, value in given.items() if value not in (None, [])}, **arguments)

    parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in own]
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [parameter.replace(kind=keyword) for parameter in parameters]
    parameters += [inspect.Parameter(name, keyword, default=None, annotation=_annotation(name)) for name in names]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = function.__doc__
    command.__name__ = function.__name__
    assert first.name not in names, "the values themselves are no flag"
    return command


def resolve_config(given: Mapping[str, Any], file: Path | None = None, recipe: str | None = None) -> Config:
    """Defaults, then the recipe, then the YAML file, then the flags that were given.

    Raises ConfigError with all faults at once.
    """
    return make_config(settings(given, file, recipe))


def settings(given: Mapping[str, Any], file: Path | None = None, recipe: str | None = None) -> dict[str, Any]:
    """What `resolve_config` checks: only the settings that someone gave."""
    values = (read_recipe(recipe) if recipe else {}) | (read_config(file) if file else {})
    if file and values.get("out") and Path(str(values["out"])).resolve() == file.resolve().parent:
        del values["out"]  # the file of a finished run reruns it, in a folder of its own
    flags = dict(given)
    if flags.get("method", values.get("method")) != values.get("method"):
        values.pop("method_options", None)  # those of another method
    if "method_options" in flags:
        base = values.get("method_options")
        flags["method_options"] = {**(base if isinstance(base, dict) else {}), **_options(flags["method_options"])}
    return {**values, **flags}


def _options(pairs: Sequence[str]) -> dict[str, Any]:
    import yaml

    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name.strip() or not equals:
            raise ConfigError(
                f"--option {pair!r} cannot be read.", remedy="Write --option NAME=VALUE, for example --option rank=16."
            )
        try:
            options[name.strip().replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--option {pair!r} cannot be read.", cause=" ".join(str(error).split())) from error
    return options


def _annotation(name: str) -> Any:
    """The annotation from which typer makes the flag. Values stay text: `make_config` judges them, all at once."""
    field = Config.model_fields[name]
    panel = next(panel for panel, names in PANELS.items() if name in names)
    help_text = (field.description or "").replace("\n", " ")
    default = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(default, bool):
        shown = flag(name) if default else f"--no-{name.replace('_', '-')}"
        option = typer.Option(
            f"{flag(name)}/--no-{name.replace('_', '-')}",
            help=escape(f"{help_text} [default: {shown.removeprefix('--')}]"),
            rich_help_panel=panel,
            show_default=False,
        )
        return Annotated[bool | None, option]
    if isinstance(default, str | int | float) and default != "":
        help_text += f" [default: {default}]"
    declaration = "--option" if name == "method_options" else flag(name)
    is_many = isinstance(default, dict | tuple)
    metavar = "NAME=VALUE" if name == "method_options" else "CONDITION" if is_many else _metavar(field.annotation)
    option = typer.Option(
        declaration, help=escape(help_text), metavar=metavar, rich_help_panel=panel, show_default=False
    )
    return Annotated[list[str] | None, option] if is_many else Annotated[str | None, option]


def _metavar(annotation: Any) -> str:
    """`int | Literal["auto", "all"]` -> "N|auto|all"."""
    if typing.get_origin(annotation) is Annotated:
        return _metavar(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) is Literal:
        return "|".join(map(str, typing.get_args(annotation)))
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return "|".join(_metavar(part) for part in typing.get_args(annotation) if part is not type(None))
    return _METAVARS.get(annotation, "VALUE")
