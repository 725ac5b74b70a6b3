"""README.md of an export: plain Python that turns a text or an image into a label, for a reader who never saw honed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from honed.evidence.card import python_literal

if TYPE_CHECKING:
    from honed.artifact import ArtifactInfo

_TITLES = {
    "peft": "A honed specialist as a PEFT adapter",
    "merged": "A honed specialist as one transformers model",
    "onnx": "A honed specialist as an ONNX graph",
}
_ENCODE = 'batch = tokenizer(["a text to classify"], return_tensors="pt", padding=True, truncation=True)'
_MASKED_MEAN = '(hidden * batch["attention_mask"].unsqueeze(-1)).sum(1) / batch["attention_mask"].sum(1, keepdim=True)'
_NATIVE = """\
with torch.no_grad():
    logits = model(**batch).logits"""


def write_readme(folder: Path, kind: str, info: ArtifactInfo) -> None:
    """Say how the export in `folder` is used without honed."""
    lines = "\n".join(usage(kind, info))
    sorted_are, n_classes = "images" if info.reading else "texts", len(info.label_names)
    text = f"""\
# {_TITLES[kind]}

It sorts {sorted_are} into {n_classes} classes, named in `config.json` (`id2label`). In this folder, without honed:

```python
{lines}
```

{_read_as(info)} `parity.json`
says how far this export agrees with the specialist that was measured, read back by the program named in it.
{_made_of(info)}{_operating_point(info)}"""
    (folder / "README.md").write_text(text, encoding="utf-8")


def usage(kind: str, info: ArtifactInfo) -> list[str]:
    """The Python lines of the README; they define `logits`, `probs` and `label`."""
    if kind == "onnx":
        return _onnx(info)
    kind_of_input = "Image" if info.reading else "Sequence"
    auto = f"AutoModelFor{kind_of_input}Classification" if info.head == "native" else "AutoModel"
    is_peft, has_file = kind == "peft", info.head != "native"
    in_adapter = "" if has_file else "  # the head is in the adapter"
    lines = ["import torch"]
    lines += ["from peft import PeftModel"] if is_peft else []
    lines += ["from safetensors.torch import load_file"] if has_file else []
    lines += ["from PIL import Image, ImageOps"] if info.reading else []
    reader = "AutoImageProcessor" if info.reading else "AutoTokenizer"
    lines += [f"from transformers import {'AutoConfig, ' if is_peft else ''}{auto}, {reader}", ""]
    lines += [f'{"processor" if info.reading else "tokenizer"} = {reader}.from_pretrained(".")']
    if is_peft:
        where = python_literal(info.base_hub_id or info.base)
        revision = python_literal(info.base_revision) if info.base_revision else "None"
        lines += [
            f"base, revision = {where}, {revision}",
            f'model = {auto}.from_pretrained(base, revision=revision, config=AutoConfig.from_pretrained("."))',
            'model = PeftModel.from_pretrained(model, ".").eval()' + in_adapter,
        ]
    else:
        lines += [f'model = {auto}.from_pretrained(".").eval()']
    lines += ['head = load_file("head.safetensors")  # weight (classes, width), bias (classes,)'] if has_file else []
    lines += _image_lines(info) if info.reading else [_ENCODE]
    lines += [_pooled(info) if has_file else _NATIVE]
    return [
        *lines,
        f"probs = torch.softmax(logits / {info.temperature!r}, dim=-1)  # the temperature that calibration found",
        "label = model.config.id2label[int(probs[0].argmax())]",
    ]


def _read_as(info: ArtifactInfo) -> str:
    if info.reading:
        size = info.reading["size"]
        return (
            f"Images are read as they were measured: {size} x {size} pixels, {info.reading['fit']}. Pillow must open"
            " them as 8-bit images; honed itself also reads 16-bit grey and DICOM."
        )
    return f"The tokenizer is set to what was measured: it cuts after {info.max_tokens} tokens and pads on the right."


def _made_of(info: ArtifactInfo) -> str:
    return f"\nIt is the lowest {info.n_layers} layers of {info.base_hub_id or info.base}, adapted.\n"


def _operating_point(info: ArtifactInfo) -> str:
    """From which probability on a row counts as ill; "" if no class does."""
    if info.threshold is None:
        return ""
    positive = [name in info.positive for name in info.label_names]
    return f"""
What counts as ill ({", ".join(info.positive)}) is decided by the operating point that was measured, not by `label`, the
likeliest class:

```python
is_ill = probs[0][{positive}].sum() >= {info.threshold!r}  # chosen on out-of-fold rows
```
"""


def _image_lines(info: ArtifactInfo) -> list[str]:
    lines = _fitted_lines(info)
    if info.reading["fit"] == "stretch":
        lines = lines[:1]  # the processor stretches
    return [*lines, 'batch = processor(images=image, return_tensors="pt")']


def _fitted_lines(info: ArtifactInfo) -> list[str]:
    """Lines that open an image and make it square."""
    size, how = info.reading["size"], f"Image.Resampling({info.reading['resample']})"
    color = tuple(round(255 * value) for value in info.reading["mean"])
    fitted = {
        "letterbox": f"image = ImageOps.pad(image, ({size}, {size}), {how}, color={color})",
        "crop": f"image = ImageOps.fit(image, ({size}, {size}), {how})",
        "stretch": f"image = image.resize(({size}, {size}), {how})",
    }
    return [
        'image = ImageOps.exif_transpose(Image.open("an_image.png")).convert("RGB")',
        fitted[info.reading["fit"]],
    ]


def _pooled(info: ArtifactInfo) -> str:
    """Lines from the batch to the logits, for a head in a file of its own."""
    n_special = info.reading.get("n_special_tokens", 0)
    mean = f"hidden[:, {n_special}:].mean(1)" if info.reading else _MASKED_MEAN
    both = f"torch.cat([hidden[:, 0], {mean}], dim=1)" if n_special else mean
    pooled = {"cls": "hidden[:, 0]", "both": both}.get(info.head, mean)
    return f"""\
with torch.no_grad():
    hidden = model(**batch).last_hidden_state
    pooled = {pooled}
    logits = pooled.to(head["weight"].dtype) @ head["weight"].T + head["bias"]"""


def _onnx(info: ArtifactInfo) -> list[str]:
    reader = "from PIL import Image, ImageOps" if info.reading else "from transformers import AutoTokenizer"
    lines = ["import json", "from pathlib import Path", "", "import numpy as np", "import onnxruntime", reader, ""]
    lines += ['session = onnxruntime.InferenceSession("model.onnx")']
    if info.reading:
        mean, std = info.reading["mean"], info.reading["std"]
        lines += [
            *_fitted_lines(info),
            "pixels = np.asarray(image, np.float32)[None] / 255",
            f"pixels = (pixels - np.array({mean}, np.float32)) / np.array({std}, np.float32)",
            'logits = session.run(["logits"], {"pixel_values": pixels.transpose(0, 3, 1, 2)})[0]',
        ]
    else:
        lines += [
            'tokenizer = AutoTokenizer.from_pretrained(".")',
            _ENCODE.replace('"pt"', '"np"'),
            'logits = session.run(["logits"], {name: ids.astype(np.int64) for name, ids in batch.items()})[0]',
        ]
    return [
        *lines,
        f"scaled = np.exp((logits - logits.max(axis=1, keepdims=True)) / {info.temperature!r})  # by temperature",
        "probs = scaled / scaled.sum(axis=1, keepdims=True)",
        'label = json.loads(Path("config.json").read_text(encoding="utf-8"))["id2label"][str(probs[0].argmax())]',
    ]
