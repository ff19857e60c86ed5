"""Recipe: every option that shapes a run, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
)

from sdxl_train_cli.errors import Problem, WayOut
from sdxl_train_cli.origin import Origin

Scalar = bool | int | float | str
Value = Scalar | tuple[Scalar, ...]


class Kind(str, Enum):
    """What is trained. The value is also the name of the command and of the preset folder."""

    LORA = "lora"
    LOCON = "locon"
    LOHA = "loha"
    LOKR = "lokr"
    DREAMBOOTH = "dreambooth"
    EMBEDDING = "embedding"

    @property
    def script(self) -> str:
        """The sd-scripts file that trains this kind."""
        return _SCRIPTS.get(self, "sdxl_train_network.py")

    @property
    def is_network(self) -> bool:
        """Whether a small network is trained beside the model, such as a LoRA."""
        return self not in _SCRIPTS

    @property
    def label(self) -> str:
        """The name as people write it."""
        return _LABELS[self]

    @classmethod
    def listed(cls) -> str:
        """All kinds as an enumeration for use in a sentence."""
        names = [kind.value for kind in cls]
        return f"{', '.join(names[:-1])} or {names[-1]}"


_LABELS = {
    Kind.LORA: "LoRA",
    Kind.LOCON: "LoCon",
    Kind.LOHA: "LoHa",
    Kind.LOKR: "LoKr",
    Kind.DREAMBOOTH: "Dreambooth",
    Kind.EMBEDDING: "embedding",
}
_SCRIPTS = {Kind.DREAMBOOTH: "sdxl_train.py", Kind.EMBEDDING: "sdxl_train_textual_inversion.py"}
"""Of the kinds that are no networks."""


class Setting(BaseModel):
    """One option's value and its origin: `dim32-gc.yaml:7`, `--set`, `--batch-size`."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    value: Value
    origin: Origin = Origin()
    note: str = Field(default="", exclude=True)
    """What was made of it, where that is not what was written."""
    sizes: tuple[int, ...] = Field(default=(), max_length=16)
    """Of `resolution`: the sides of several squares to train at. The value is the largest of them."""

    @property
    def shown(self) -> Value:
        """The value as people are told it: each of several sizes."""
        return " and ".join(f"{side},{side}" for side in self.sizes) or self.value

    @field_validator("origin", mode="before")
    @classmethod
    def _parse_origin(cls, origin: object) -> object:
        return Origin.parse(origin) if isinstance(origin, str) else origin

    @field_serializer("origin")
    def _write_origin(self, origin: Origin) -> str:
        return str(origin)

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without `sizes` where there are none: nearly every setting has one value alone."""
        found: dict[str, object] = write(self)
        return found if self.sizes else {key: value for key, value in found.items() if key != "sizes"}


class Recipe(BaseModel):
    """A resolved preset, in sd-scripts' own option names."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    kind: Kind
    name: str
    description: str
    settings: Mapping[str, Setting]
    sample_pixels: int | None = None
    """Pixels of the largest sample picture, which its prompts tell. None if they were not read."""
    processes: int = 1
    """How many train together, one on each GPU. A step trains a batch of each."""
    decodes_whole: bool = False
    """Whether samples are decoded at once, as sd-scripts alone does. That takes several times as much memory."""

    @field_validator("settings")
    @classmethod
    def _freeze(cls, settings: Mapping[str, Setting]) -> Mapping[str, Setting]:
        return MappingProxyType(dict(settings))

    @field_serializer("settings")
    def _thaw(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        return dict(settings)  # pydantic can't serialise MappingProxyType

    def get(self, option: str) -> Value | None:
        """The option's value, or None if the recipe leaves it to sd-scripts."""
        setting = self.settings.get(option)
        return None if setting is None else setting.value

    def is_on(self, option: str) -> bool:
        """Whether a switch such as `gradient_checkpointing` is set."""
        return self.get(option) is True

    def number(self, option: str) -> float | None:
        """A numeric option's value, or None if it is absent or not a number."""
        value = self.get(option)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sides of several squares to train at; empty where one `resolution` is for all."""
        setting = self.settings.get("resolution")
        return () if setting is None else setting.sizes

    def arguments(self, option: str) -> dict[str, str]:
        """A `key=value` list option (`network_args`, `optimizer_args`) as a mapping."""
        value = self.get(option)
        parts = value if isinstance(value, tuple) else () if value is None else (value,)
        return dict(str(part).partition("=")[::2] for part in parts)

    def origin(self, option: str) -> Origin | None:
        """Where the option was set."""
        setting = self.settings.get(option)
        return None if setting is None else setting.origin

    def problem(self, option: str, message: str, hint: str | None = None) -> Problem:
        """A problem of an option, located where the option was set."""
        return Problem(message, hint, self.origin(option), (option,))

    def problem_of_setting(self, option: str, message: str, hint: str | None = None) -> Problem:
        """A problem of an option that is solved by taking it away."""
        return Problem(message, hint, self.origin(option), (option,), (WayOut((f"{option}=null",)),))

    def replaced(self, changes: Mapping[str, Setting | None]) -> Recipe:
        """A copy with the changes applied. None removes an option."""
        merged = {**self.settings, **changes}
        kept = {name: setting for name, setting in merged.items() if setting is not None}
        return self.model_copy(update={"settings": MappingProxyType(kept)})
