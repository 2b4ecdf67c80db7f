"""Which server is asked, and how: nothing here imports more than a configuration needs."""

from typing import Literal

from pydantic import Field

from opendet.section import Section


class ServedConfig(Section):
    """A vision-language model behind an OpenAI-compatible server, such as vLLM or SGLang.

    What the answers hang on is `model`, `max_new_tokens`, `temperature`, `seed` and what is sent of
    an image; the rest decides how they are fetched, changes none of them, and is left out of
    fingerprints (`exclude`).
    """

    address: str = Field(default="http://127.0.0.1:8000/v1", exclude=True)
    """Where the server listens, with the `/v1` that most of them have."""
    model: str = ""
    """The name that the server serves it under; empty where it serves one alone. Then the stage
    asks for the name whenever it begins, so the server must be up even where nothing is left to
    do."""
    revision: str = ""
    """What provenance calls its revision; empty takes what the server tells of it."""
    api_key_variable: str = Field(default="", exclude=True)
    """Name of the environment variable that holds the key; empty where the server wants none. The
    key itself belongs into no configuration."""
    concurrency: int = Field(exclude=True, default=16, ge=1, le=1024)
    """Questions that are open at once, in each worker."""
    connect_timeout_s: float = Field(exclude=True, default=10.0, gt=0)
    """Longest wait for a connection."""
    answer_timeout_s: float = Field(exclude=True, default=300.0, gt=0)
    """Longest wait for one whole reply, from the first byte sent to the last one read."""
    retries: int = Field(exclude=True, default=5, ge=0, le=30)
    """Further tries of a question, where the server is busy, fails, or is lost."""
    backoff_s: float = Field(exclude=True, default=1.0, ge=0)
    """Wait before the second try; doubled before each further one."""
    longest_wait_s: float = Field(exclude=True, default=60.0, ge=0)
    """Cap of each wait between two tries, also where the server asks for a longer one."""
    longest_silence_s: float = Field(exclude=True, default=600.0, gt=0)
    """Longest time without any reply while questions are open, seen whenever a try of one ends;
    then the stage ends."""
    give_up_after: int = Field(exclude=True, default=32, ge=1)
    """Questions in a row that end unanswered by the server's fault before the stage ends; before
    its first answer also those that it refuses."""
    max_new_tokens: int = Field(default=256, ge=1)
    """Longest answer, in tokens."""
    max_reply_bytes: int = Field(default=1_000_000, ge=1)
    """A longer reply is not read to its end."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """0 takes the likeliest word each time. Even then a server's answers may differ a little from
    one load of it to the next."""
    seed: int = Field(default=0, ge=0)
    """Goes to the server with each question, and decides how waits are spread."""
    image_format: Literal["jpeg", "png"] = "jpeg"
    """What an image is sent as; png loses nothing and is several times larger."""
    jpeg_quality: int = Field(default=92, ge=1, le=100)
    """Quality of what is sent as jpeg."""
    longest_side: int = Field(default=1344, ge=16, le=65500)
    """Larger images are sent smaller, with a longer side of this many pixels."""
