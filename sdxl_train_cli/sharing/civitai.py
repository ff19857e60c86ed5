"""What civitai's upload form asks for, to copy from: as text for a person, and as JSON by the names of its API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from sdxl_train_cli.sharing import image_programs, markdown
from sdxl_train_cli.sharing.bases import Commerce, Licence
from sdxl_train_cli.sharing.previews import Preview
from sdxl_train_cli.sharing.share_facts import ShareFacts

TEXT, DATA = "civitai.md", "civitai.json"
_TYPES = {"LoRA": "LORA", "LoCon": "LoCon", "LoHa": "LoCon", "LoKr": "LoCon", "checkpoint": "Checkpoint",
          "embedding": "TextualInversion"}  # fmt: skip
"""The site has no types for LoHa and LoKr: they are uploaded as LoCon, which its label calls LyCORIS."""
_FORM = {"LORA": "LoRA", "LoCon": "LoCon (LyCORIS)", "DoRA": "DoRA", "Checkpoint": "Checkpoint",
         "TextualInversion": "Embedding (Textual Inversion)"}  # fmt: skip
_STEP = 0.2
"""Up and down of a strength that is known, for the form's slider: as far as those that `best --draw` compares are apart
(drawing_choices.STRENGTHS). A strength that isn't known is a range already."""
_WEAKEST = 0.1
"""Where the slider begins at least: at 0 the file does nothing."""
_YOURS, _FORBIDDEN = "yours to decide", "not allowed by the licence"
_SELLING = {Commerce.FREE: _YOURS, Commerce.FORBIDDEN: _FORBIDDEN,
            Commerce.CONSENT: "not allowed by the licence without the consent of the base's author"}  # fmt: skip
_PRECISIONS = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}


def files(facts: ShareFacts) -> Mapping[str, str]:
    """Both files by their names."""
    found = _data(facts)
    return {TEXT: _text(facts, found), DATA: json.dumps(found, indent=1, ensure_ascii=False) + "\n"}


def _data(facts: ShareFacts) -> dict[str, object]:
    settings = dict(facts.training.settings)
    hashes = facts.copy.hashes
    is_network = facts.model.kind == "network"
    strength = facts.strength
    step = 0 if strength.is_range else _STEP
    weakest, strongest = max(_WEAKEST, round(strength.least - step, 2)), round(strength.most + step, 2)
    return {
        "name": facts.title,
        "type": _type(facts),
        "baseModel": facts.base.civitai,
        "description": facts.description or None,
        "trainedWords": [facts.model.stem] if facts.model.kind == "embedding" else _words(facts.trigger),
        "epochs": _whole(settings.get("epochs")),
        "steps": _whole(settings.get("steps")),
        "clipSkip": _whole(settings.get("clip skip")),
        "settings": {"minStrength": weakest, "maxStrength": strongest, "strength": strength.figure}
        if is_network
        else None,
        "allowDerivatives": True if _same_licence(facts) else None,
        "allowDifferentLicense": False if _same_licence(facts) else None,
        "allowCommercialUse": None if _commerce(facts) is Commerce.FREE else [],
        "files": [
            {"name": facts.model.file, "sizeBytes": facts.copy.size_bytes, "format": "SafeTensor",
             "fp": _precision(facts),
             "hashes": {"SHA256": hashes.sha256.upper(), "AutoV2": hashes.auto_v2.upper(),
                        "AutoV3": hashes.auto_v3.upper()}}
        ],
        "images": [_picture(preview, facts) for preview in facts.previews],
    }  # fmt: skip


def _type(facts: ShareFacts) -> str:
    is_dora = any(name.endswith("dora_scale") for name in facts.look.names)
    return "DoRA" if is_dora else _TYPES.get(facts.look.what, "LoCon")


def _words(trigger: str | None) -> list[str]:
    return [word.strip() for word in (trigger or "").split(",") if word.strip()]


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else None


def _precision(facts: ShareFacts) -> str | None:
    return _PRECISIONS.get(facts.look.dtypes[0]) if len(facts.look.dtypes) == 1 else None


def _picture(preview: Preview, facts: ShareFacts) -> dict[str, object]:
    told = None if preview.drawn is None else image_programs.a1111(preview.drawn, facts.model, preview.size)
    return {"file": preview.name, "width": preview.size[0], "height": preview.size[1], "parameters": told}


def _text(facts: ShareFacts, found: Mapping[str, object]) -> str:
    form = {
        "Name": facts.title, "Type": _FORM[str(found["type"])], "Base model": _base(facts),
        "Trigger words": ", ".join(map(str, _list(found["trainedWords"]))) or "unknown",
        "Epochs": _known(found["epochs"]), "Steps": _known(found["steps"]),
        "Clip skip": _known(found["clipSkip"]),
        "Usage tips": f"strength {facts.strength.words} to begin with" if facts.model.kind == "network" else "none",
    }  # fmt: skip
    parts = ["# For civitai's upload form", markdown.table(("field", "value"), _cells(form))]
    parts += ["## Permissions", *_permissions(facts)]
    hashes = facts.copy.hashes
    parts += ["## Hashes", markdown.table(("hash", "value"), _cells({
        "AutoV2": hashes.auto_v2.upper(), "AutoV3": hashes.auto_v3.upper(), "SHA256": hashes.sha256.upper(),
    }))]  # fmt: skip
    parts += ["## Pictures", "The site reads these texts in the PNG files themselves."] if facts.previews else []
    for preview in facts.previews:
        told = _picture(preview, facts)["parameters"]
        parts += [f"### {preview.name}", markdown.fenced(str(told)) if told else "How it was drawn isn't known."]
    return "\n\n".join(parts) + "\n"


def _base(facts: ShareFacts) -> str:
    if facts.base.civitai is None:
        return "unknown"
    return f"{facts.base.civitai}{' (by its name alone)' if facts.base.is_kin else ''}"


def _licences(facts: ShareFacts) -> list[Licence]:
    """Those that the file has to keep to: another one for the file takes nothing from that of the base."""
    return [each for each in (facts.base.licence, facts.licence) if each is not None]


def _same_licence(facts: ShareFacts) -> bool:
    return any(each.same_licence for each in _licences(facts))


def _commerce(facts: ShareFacts) -> Commerce:
    """The strictest of what the licences say."""
    return max((each.commerce for each in _licences(facts)), key=list(Commerce).index, default=Commerce.FREE)


def _permissions(facts: ShareFacts) -> list[str]:
    rows = {
        "Licence": "unknown" if facts.licence is None else facts.licence.name,
        "Credit to the creator": _YOURS,
        "Selling pictures, services or the model": _SELLING[_commerce(facts)],
        "Merges": "allowed by the licence" if _same_licence(facts) else _YOURS,
        "Other permissions for merges": _FORBIDDEN if _same_licence(facts) else _YOURS,
    }
    asked = facts.base.licence.asks if facts.base.licence is not None else ()
    told = ["The licence of the base asks that:", "\n".join(f"- {markdown.plain(each)}" for each in asked)]
    return [markdown.table(("question", "answer"), _cells(rows)), *(told if asked else [])]


def _cells(rows: Mapping[str, str]) -> list[tuple[str, str]]:
    """Values in code spans: they are copied as they stand."""
    return [(markdown.plain(name), markdown.code(value)) for name, value in rows.items()]


def _list(found: object) -> list[object]:
    return found if isinstance(found, list) else []


def _known(value: object) -> str:
    return "unknown" if value is None else str(value)
