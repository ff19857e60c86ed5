"""Stability-AI's ModelSpec: keys of a file's metadata by which it says what it is.

sd-scripts writes them (library/sai_model_spec.py); values are as it does for SDXL (v0.10.1 and v0.11.1).
"""

from __future__ import annotations

PREFIX = "modelspec."
SPEC_VERSION = f"{PREFIX}sai_model_spec"
ARCHITECTURE = f"{PREFIX}architecture"
IMPLEMENTATION = f"{PREFIX}implementation"
"""Whose names the tensors have."""
PREDICTION = f"{PREFIX}prediction_type"
RESOLUTION = f"{PREFIX}resolution"
TITLE = f"{PREFIX}title"
TRIGGER = f"{PREFIX}trigger_phrase"
AUTHOR = f"{PREFIX}author"
LICENCE = f"{PREFIX}license"
DESCRIPTION = f"{PREFIX}description"
TAGS = f"{PREFIX}tags"
USAGE_HINT = f"{PREFIX}usage_hint"
MERGED_FROM = f"{PREFIX}merged_from"
DATE = f"{PREFIX}date"
HASH = f"{PREFIX}hash_sha256"

VERSION = "1.0.1"
SDXL = "stable-diffusion-xl-v1-base"
LORA, EMBEDDING = "/lora", "/textual-inversion"
"""Behind the architecture, of what is no whole model."""
STABILITY_AI = "https://github.com/Stability-AI/generative-models"
COMFYUI = "https://github.com/comfyanonymous/ComfyUI"
DIFFUSERS = "diffusers"
V_PREDICTION = "v"
