"""sdxl-train: from a folder of pictures to a trained SDXL LoRA, LoCon or checkpoint, with sd-scripts."""

__version__ = "0.1.0"
