"""From a configuration to what training is made of: the stack, its options, and the description of what ships."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Literal

from honed.artifact import ArtifactInfo, tokenizer_sha256
from honed.base_files import read_config
from honed.bases import ResolvedBase, load_tokenizer, shortened
from honed.config import Config
from honed.data.chat_template import ConversationReader, template_of
from honed.data.conversations import CONVERSATION_TASKS
from honed.errors import UsageError
from honed.methods.base import MethodOptions, get_method
from honed.tasks.base import Reading, check_head, get_task
from honed.tasks.image_classification import check_image_size, patch_size
from honed.tasks.image_reading import base_reading
from honed.tasks.image_views import augmentations
from honed.training.build import StackSpec, build_stack, check_max_tokens, pick_device
from honed.training.layers import resolve_depth
from honed.training.loop import TrainingOptions
from honed.training.stack import Stack


def check_fits(config: Config, base: ResolvedBase) -> None:
    """Judge what depends on the base and the machine, before anything is written.

    Raises UsageError for a depth, a head, a length or a device that is not there; BaseModelError for a base that does
    not read such inputs.
    """
    n_layers = shortened(base, config.layers).n_layers
    if isinstance(config.depth, int) and n_layers < config.depth <= base.n_layers:
        raise UsageError(
            f"--depth {config.depth} adapts more layers than --layers {n_layers} leaves of base {base.name!r}.",
            cause=f"It has {base.n_layers}; where --layers is not named, half of them are used for images.",
            remedy=f"Use --layers {config.depth} or more (all: {base.n_layers}), or --depth {n_layers} or less.",
        )
    resolve_depth(config.depth, n_layers)
    check_head(get_task(config.task), config.head)
    if config.ordinal_head and config.head == "native":
        raise UsageError(
            "--ordinal-head and --head native were given together.",
            cause="The model class's own head has a direction for each class.",
            remedy="Use --head mean, cls or both, or leave --ordinal-head out.",
        )
    if reading_of(config, base) is None or config.task in CONVERSATION_TASKS:
        check_max_tokens(base, config.max_tokens)
    pick_device(config.device)


def reading_of(config: Config, base: ResolvedBase) -> Reading | None:
    """How images or conversations are read under a settled configuration; None for texts.

    Raises UsageError for a size that is no multiple of the base's patches, BaseModelError if the base does not say how
    it reads images.
    """
    if config.task != "image_classification":
        if config.views > 1:
            raise UsageError(f"--views {config.views} is for images; {config.data} holds texts.")
        if config.task in CONVERSATION_TASKS:
            own = conversation_reader(base, config.max_tokens, config.train_on)
            read = {"template": own.template.to_json(), "max_tokens": own.max_tokens, "train_on": own.train_on}
            return read if config.task == "instruction" else {**read, "beta": config.beta}
        return None
    assert isinstance(config.image_size, int), "settle the configuration first"
    check_image_size(config.image_size, patch_size(base, read_config(base.path)))
    reading = base_reading(base.path, config.image_size, config.image_fit)
    n_averaged = config.views if config.average_views else 1
    kinds = augmentations(config.augment) if config.views > 1 else ()
    return replace(reading, n_views=config.views, augment=kinds, n_averaged=n_averaged).to_json()


@lru_cache(maxsize=4)
def conversation_reader(
    base: ResolvedBase, max_tokens: int, train_on: Literal["responses", "all"]
) -> ConversationReader:
    """How a base reads conversations, by its own chat template if it has one.

    Raises BaseModelError if its tokenizer cannot be loaded, is no fast one, or has no end-of-text token.
    """
    tokenizer = load_tokenizer(base)  # a large vocabulary takes seconds
    return ConversationReader(tokenizer, template_of(tokenizer), max_tokens, train_on)


def options_of(config: Config) -> MethodOptions:
    """The method's options, with its defaults."""
    return get_method(config.method).options(**config.method_options)


def stack_spec(config: Config, base: ResolvedBase, label_names: tuple[str, ...]) -> StackSpec:
    """What a stack over `base` under a settled `config` is made of."""
    assert config.head != "auto", "settle the configuration first"
    assert config.head != "measured", "measure first"
    return StackSpec(
        config.method, options_of(config), config.head, config.depth, label_names, config.max_tokens, config.precision,
        config.device, config.seed, config.gradient_checkpointing, config.task, reading_of(config, base),
        config.layers, config.ordinal_head,
    )  # fmt: skip


def slot_seed(config: Config, fold: int) -> int:
    """The seed of a fold's slot; fold K is the final model."""
    return config.seed * 1000 + fold


def make_stack(base: ResolvedBase, config: Config, label_names: tuple[str, ...], n_slots: int) -> Stack:
    """A stack of `n_slots` fresh slots over `base`."""
    return build_stack(
        base, stack_spec(config, base, label_names), seeds=[slot_seed(config, k) for k in range(n_slots)]
    )


def training_options(config: Config, batch_rows: int) -> TrainingOptions:
    """How the slots train. batch_rows : rows of the batch that they share."""
    rate = config.learning_rate
    return TrainingOptions(
        epochs=config.epochs,
        batch_rows=batch_rows,
        learning_rate=rate if isinstance(rate, float) else get_method(config.method).learning_rate,
        head_learning_rate=config.head_learning_rate,
        weight_decay=config.weight_decay,
        warmup_frac=config.warmup_frac,
        clip_norm=config.clip_norm,
        balance=config.balance,
        patience=config.patience,
        seed=config.seed,
        micro_batch_tokens=get_task(config.task).micro_batch_tokens,
    )


def artifact_info(
    config: Config, base: ResolvedBase, stack: Stack, label_names: tuple[str, ...], *,
    temperature: float, dataset_fingerprint: str,
) -> ArtifactInfo:  # fmt: skip
    """What `honed.json` says of a specialist trained under `config`."""
    return ArtifactInfo(
        base=config.base,
        base_hub_id=base.hub_id,
        base_revision=base.revision,
        base_sha256=base.sha256,
        tokenizer_sha256=tokenizer_sha256(stack.task.tokenizer),
        task=config.task,
        method=config.method,
        method_options=options_of(config).model_dump(),
        head=config.head,
        label_names=label_names,
        max_tokens=config.max_tokens,
        temperature=temperature,
        n_layers=len(stack.layers),
        depth=stack.depth,
        dtype=config.precision,
        dataset_fingerprint=dataset_fingerprint,
        head_modules=tuple(stack.head.module_names),
        reading=stack.task.to_json(),
        ordinal=config.ordinal,
    )
