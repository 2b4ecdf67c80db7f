"""In the place of a T5, for a detector whose names come from prototypes or a list alone."""

from pathlib import Path

from torch import nn

from opendet.model.config import NamerConfig

CONFIG_FILE = "namer.json"


class NoNamer(nn.Module):
    """Knows how wide prompts are, and nothing else: no weights, no tokens, no text encoder."""

    def __init__(self, config: NamerConfig, prompt_width: int) -> None:
        super().__init__()
        self.config = config.model_copy(update={"t5": "none", "prompt_width": prompt_width})
        self.prompt_width = prompt_width

    def merge_head(self) -> None:
        """There is none."""

    def save(self, folder: Path) -> None:
        """Write the config, which says how wide prompts are."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(self.config.model_dump_json(indent=2), "utf-8")
