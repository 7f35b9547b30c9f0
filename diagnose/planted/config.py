"""What the planted benchmark draws, and how often."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from probes.planted.plant import CUES, find_cue

Share = Annotated[float, Field(ge=0, le=1)]


SETS = {
    **{role: tuple(name for name, cue in CUES.items() if cue.role == role) for role in ("dev", "checked", "held-out")},
    "all": tuple(CUES),
}
"""Short names for sets of cues, by their role, and all of them."""


class PlantedConfig(BaseModel):
    """What to plant, how often, and how students are trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str = Field("pocket", description="pocket, a folder that holds CIFAKE, or any real images")
    test: str | None = Field(None, description="held-out images; by default every third of `data`")
    teacher: str | None = Field(None, description="a teacher; by default the pocket's, else one taught on the clean images")
    families: tuple[str, ...] = Field(SETS["all"], min_length=1, description="cues, families, or dev, checked, held-out, all")
    strengths: tuple[Share, ...] = Field((0.6, 0.8, 0.9, 0.95), description="how firmly a cue is tied to the class")
    draws: int = Field(2, ge=1, description="seeds of each cue and strength")
    first_seed: int = Field(0, ge=0, description="seed of the first draw")
    nulls: int = Field(6, ge=0, description="seeds of each kind of null")
    amplitude: float = Field(1.0, gt=0)
    share: Share = 1.0
    dose_cue: str = Field("cast", description="cue of the dose response")
    dose_strengths: tuple[Share, ...] = (0.0, 0.6, 0.8, 0.9, 0.95)
    dose_draws: int = Field(2, ge=0, description="seeds of the dose response; 0 leaves it out")
    limit: int = Field(250, ge=2, description="images of each domain for the interventions")
    image_size: int | None = None
    teacher_epochs: int = Field(6, ge=1)
    train_images: int = Field(1500, ge=10)
    test_images: int = Field(250, ge=6)
    classes: int = Field(5, ge=2)
    epochs: int = Field(10, ge=1)

    @field_validator("families")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        cues: list[str] = []
        for name in value:
            of_family = [cue for cue, kind in CUES.items() if kind.family == name]
            cues += SETS.get(name) or of_family or [name]
        for name in cues:
            find_cue(name)
        return tuple(dict.fromkeys(cues))

    @field_validator("dose_cue")
    @classmethod
    def _cue(cls, value: str) -> str:
        find_cue(value)
        return value
