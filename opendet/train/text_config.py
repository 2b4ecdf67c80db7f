"""Which frozen text tower teaches and judges names. Light to import: no torch here."""

from pydantic import Field

from opendet.section import Section


class TextConfig(Section):
    """The teacher of names: its vectors are what prompts are distilled towards."""

    tower: str = "build"
    """`build` for the CLIP of the stage `clip`; `transformers:<folder or hub name>`; `hash` for one
    that is composed of the words and has learned nothing; else an open_clip folder or name."""
    pretrained: str = ""
    """Tag or file of weights for an open_clip name."""
    template: str = Field(default="", pattern=r"^$|\{name\}")
    """The text that stands for a name, such as `a {name}`. Empty for the build's own, which is
    `clip.template`."""
    hash_width: int = 64
    """Width of `hash`'s vectors."""
