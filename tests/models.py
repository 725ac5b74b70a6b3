"""Tiny models with random weights, toy tasks and training plans: what the tests of exactness are run on.

Three or four layers of width 32, one of each family that honed must treat alike: an encoder (BERT), a decoder (Llama),
a decoder with two kinds of attention layer (Gemma 3), an encoder with local attention and its own norms (ModernBERT)
and a vision transformer (DINOv2). `minilm` is the real one, where its package is installed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from honed.base_catalogue import BASES
from honed.bases import ResolvedBase, load_backbone, resolve
from honed.data.folds import FoldPlan
from honed.events import Emitter, Listener
from honed.methods.base import get_method
from honed.routing import Routing
from honed.tasks.image_classification import ImageClassification
from honed.tasks.image_reading import ImageReading
from honed.tasks.text_classification import TextClassification
from honed.training.checkpoint import CheckpointFolder
from honed.training.crossval import slot_plans
from honed.training.loop import Examples, Loop, SlotPlan, SlotRun, TrainingOptions
from honed.training.stack import Adaptation, Inputs, Stack
from honed.training.trunk import TrunkCache

TEXT_MODELS = ("bert", "llama", "gemma3", "modernbert")
TINY_MODELS = (*TEXT_MODELS, "dinov2")
N_CLASSES, HIDDEN_SIZE, VOCABULARY = 3, 32, 60
WORDS = ("good", "bad", "late", "the", "parcel", "came", "and", "is", "not", "very", "again", "here")

_SHAPE = {"vocab_size": VOCABULARY, "hidden_size": HIDDEN_SIZE, "num_attention_heads": 4}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

needs_minilm = pytest.mark.skipif(
    BASES["minilm"].mirror.folder() is None, reason="NOT RUN: needs pip install 'honed[minilm]'"
)
REAL = pytest.param("minilm", marks=needs_minilm)
QUICK = TrainingOptions(
    epochs=2, batch_rows=9, learning_rate=5e-3, head_learning_rate=2e-2, patience=1, micro_batch_tokens=200
)
"""A few steps with several micro-batches each; patience 1, so that some slots stop early."""


def tiny_config(name: str) -> Any:
    """Configuration of a tiny model."""
    import transformers as t

    if name == "bert":
        return t.BertConfig(**_SHAPE, num_hidden_layers=3, intermediate_size=64, max_position_embeddings=64)
    if name == "llama":
        return t.LlamaConfig(
            **_SHAPE, **_SPECIAL, num_hidden_layers=3, intermediate_size=64, num_key_value_heads=2,
            max_position_embeddings=64,
        )  # fmt: skip
    if name == "gemma3":
        return t.Gemma3TextConfig(
            **_SHAPE, **_SPECIAL, num_hidden_layers=4, intermediate_size=64, num_key_value_heads=2, head_dim=8,
            sliding_window=4, max_position_embeddings=64,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        )  # fmt: skip
    if name == "modernbert":
        return t.ModernBertConfig(
            **_SHAPE, **_SPECIAL, cls_token_id=1, sep_token_id=2, num_hidden_layers=4, intermediate_size=48,
            local_attention=4, max_position_embeddings=64,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        )  # fmt: skip
    assert name == "dinov2"
    return t.Dinov2Config(
        hidden_size=HIDDEN_SIZE, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=2, image_size=28, patch_size=14
    )


def tiny_model(name: str, dtype: str = "float64", *, n_classes: int = 0) -> Any:
    """A model, the same at every call: a classifier if `n_classes`, else the backbone alone."""
    import torch
    import transformers

    if name == "minilm":
        assert not n_classes
        return copy.deepcopy(_minilm_backbone(dtype))
    config = tiny_config(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        if n_classes:
            config.num_labels = n_classes
            kind = "Image" if name == "dinov2" else "Sequence"
            model = getattr(transformers, f"AutoModelFor{kind}Classification").from_config(config)
        else:
            model = transformers.AutoModel.from_config(config)
        for key, parameter in model.named_parameters():
            if key.endswith("bias"):  # transformers draws weights and leaves biases at zero: a lost one would not show
                torch.nn.init.normal_(parameter, std=0.01)
    return model.to(getattr(torch, dtype)).eval()


def tiny_task(name: str) -> Any:
    """The task of a tiny model: texts of at most 64 tokens, or images of 28 pixels in 2 x 2 patches."""
    if name != "dinov2":
        return TextClassification(SimpleNamespace(pad_token_id=0), 64)
    grey = (0.5, 0.5, 0.5)
    return ImageClassification(ImageReading(28, "letterbox", grey, grey, 3), length=1 + 4, n_special=1)


@cache
def minilm() -> ResolvedBase:
    """The real MiniLM."""
    return resolve("minilm")


@cache
def _minilm_backbone(dtype: str) -> Any:
    return load_backbone(minilm(), dtype=dtype)


def make_stack(
    name: str, seeds: Sequence[int], *, head: str = "mean", depth: int | str = 2, dtype: str = "float64",
    method: str = "lora", recompute: bool = False, ordinal_head: bool = False, **options: Any,
) -> Stack:  # fmt: skip
    """A stack of one slot a seed over a tiny model, or over MiniLM."""
    import torch

    from honed.tasks.heads import GradedHead, LinearHead, NativeHead

    chosen = get_method(method)
    routing = Routing()
    model = tiny_model(name, dtype, n_classes=N_CLASSES if head == "native" else 0)
    task = tiny_task(name)
    pool, n_pooled = task.pooling(head)
    built: Any
    if head == "native":
        built = NativeHead(model, routing, len(seeds), pool)
    else:
        width = n_pooled * model.config.hidden_size
        kind = GradedHead if ordinal_head else LinearHead
        built = kind(routing, len(seeds), N_CLASSES, width, getattr(torch, dtype), pool)
    return Stack(
        model, built, task, Adaptation(chosen, [chosen.options(**options)] * len(seeds), depth, seeds, recompute)
    )


def make_examples(name: str, n_rows: int = 18, *, seed: int = 0, n_folds: int = 5) -> Examples:
    """Rows of 3 to 9 tokens (or small images) whose class can be read off the input."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_rows) % N_CLASSES
    encoded: list[Any]
    if name == "dinov2":
        bright = rng.normal(128, 60, (n_rows, 28, 28, 3)) + 40 * (label[:, None, None, None] - 1)
        encoded = list(np.clip(bright, 0, 255).astype(np.uint8))
    else:
        first = 2000 if name == "minilm" else 3
        encoded = []
        for j in label:
            ids = rng.integers(first + 10, first + VOCABULARY - 5, size=rng.integers(3, 10))
            ids[rng.integers(len(ids))] = first + j
            encoded.append(ids.astype(np.int32))
    fold = (np.arange(n_rows) // N_CLASSES) % n_folds
    return Examples(Inputs(encoded, tiny_task(name).n_tokens(encoded)), label, np.ones(n_rows), fold, np.arange(n_rows))


def make_plan(examples: Examples, *, has_stop: bool = True) -> FoldPlan:
    """Folds as in `examples.stratum`; the first three rows of the next fold are a fold's stop part."""
    n_folds = int(examples.stratum.max()) + 1
    stop = np.full(len(examples.label), -1)
    for fold in range(n_folds if has_stop else 0):
        stop[np.flatnonzero(examples.stratum == (fold + 1) % n_folds)[:3]] = fold
    ids = np.array([f"row {i}" for i in range(len(stop))])
    return FoldPlan(ids, ids, examples.stratum, stop, n_folds, 0, "fingerprint")


def make_plans(examples: Examples, *, has_stop: bool = True) -> list[SlotPlan]:
    """One slot a fold, and the final model."""
    return slot_plans(make_plan(examples, has_stop=has_stop))


def make_trunk(stack: Stack, examples: Examples, spill: Path | None = None) -> TrunkCache:
    """The filled trunk cache of a stack."""
    first = next(stack.layers[0].parameters())
    length = np.repeat(examples.inputs.n_tokens, examples.inputs.n_views)
    trunk = TrunkCache(length, stack.model.config.hidden_size, first.dtype, spill)
    stack.build_trunk(examples.inputs, trunk, Emitter())
    return trunk


@dataclass(frozen=True)
class Trained:
    """What a training left behind: the runs, and each slot's state by name."""

    runs: dict[str, SlotRun]
    state: dict[str, dict[str, Any]]


def train(
    stack: Stack, trunk: TrunkCache | None, examples: Examples, plans: Sequence[SlotPlan],
    options: TrainingOptions = QUICK, *, listeners: tuple[Listener, ...] = (), checkpoint: Any = None,
) -> Trained:  # fmt: skip
    """Train the plans on the stack; resume from `checkpoint` if it is a `CheckpointFolder` that holds something."""
    loop = Loop(stack, trunk, examples, options, Emitter(listeners))
    runs = loop.start(plans)
    position = checkpoint.restore(runs) if isinstance(checkpoint, CheckpointFolder) else None
    loop.train(runs, position, checkpoint)
    return Trained({run.plan.name: run for run in runs}, {p.name: stack.slot_state(p.slot) for p in plans})


def alone(plan: SlotPlan) -> SlotPlan:
    """The same plan as the only slot of a stack."""
    return replace(plan, slot=0)


def save_tiny_base(folder: Path, name: str, *, without_pooler: bool = False) -> ResolvedBase:
    """A tiny model of random weights with a word tokenizer, as a folder that plain transformers can load."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    words = [names["pad_token"], "[CLS]", "[SEP]", names["unk_token"], *WORDS]
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=names["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model = tiny_model(name, "float32")
    if without_pooler:
        import transformers

        model = transformers.BertModel(model.config, add_pooling_layer=False)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    return resolve(str(folder))


def toy_texts(n_rows: int, seed: int = 0) -> tuple[list[str], np.ndarray[Any, np.dtype[np.int64]]]:
    """Different texts of 3 to 9 words whose class is the word good, bad or late; and the class of each."""
    rng = np.random.default_rng(seed)
    label = np.arange(n_rows) % N_CLASSES
    texts = []
    for j in label:
        words = list(rng.choice(WORDS[N_CLASSES:], size=rng.integers(3, 9)))
        words.insert(int(rng.integers(len(words))), WORDS[j])
        texts.append(" ".join(words))
    return texts, label
