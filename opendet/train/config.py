"""The trainer's knobs. Light to import: the command line loads it."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from opendet.section import Section


class WarmupConfig(Section):
    """The namer's first lesson: a name from the text vector of that name, noised."""

    steps: int = Field(default=300, ge=0)
    """Steps before the detector trains; 0 leaves it out."""
    batch_size: int = Field(default=48, ge=1)
    """Names in a step."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """At the start; it falls to zero along a cosine."""
    noise: float = Field(default=1.0, ge=0)
    """Deviation of the noise, in units of the text vectors' own deviation. 1 is what text denoising
    adds in the detector's objective: a noised vector then has cosine 0.7 with the clean one."""


class LoraConfig(Section):
    """Corrections of low rank (LoRA): y = x W + alpha / rank * x A B, with W as it was."""

    rank: int = Field(default=16, ge=1)
    """Width between A and B."""
    alpha: float = Field(default=32.0, gt=0)
    """Strength of a correction, in units of its rank."""
    modules: tuple[Literal["backbone", "encoder", "decoder", "namer"], ...] = Field(
        default=("encoder", "decoder", "namer"), min_length=1
    )
    """The parts whose linear layers get one."""


class TrainConfig(Section):
    """The schedule, the optimizer, and what is kept."""

    steps: int = Field(default=600, ge=1)
    """Optimizer steps, after the namer's warm-up."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of AdamW, at its peak; the scales below multiply it."""
    backbone_lr_scale: float = Field(default=0.1, ge=0)
    """For the backbone; 1 for one that starts from nothing."""
    namer_lr_scale: float = Field(default=1.0, ge=0)
    """For the namer."""
    sampling_lr_scale: float = Field(default=0.1, ge=0)
    """For the sampling offsets of deformable attention."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Not for norms, biases and embeddings."""
    clip_norm: float = Field(default=0.1, gt=0)
    """Largest norm of the whole model's gradient."""
    warmup_steps: int = Field(default=200, ge=0)
    """Steps over which the learning rate rises from zero to its peak, in a straight line."""
    decay: Literal["step", "cosine", "none"] = "step"
    """How it falls afterwards."""
    decay_at: float = Field(default=0.89, gt=0, le=1)
    """Where `step` falls, as a share of all steps."""
    decay_to: float = Field(default=0.1, ge=0, le=1)
    """What is left of the peak at the end, with `step` and `cosine`."""
    ema_decay: float = Field(default=0.9997, ge=0, lt=1)
    """Of the average of the weights that is exported; 0 exports the last weights."""
    amp: Literal["off", "bf16"] = "off"
    """Mixed precision of backbone, linear layers and namer. Boxes and losses stay in float32."""
    device: str = "auto"
    """`auto` takes the first GPU where there is one, else the CPU."""
    threads: int = Field(default=2, ge=1)
    """CPU threads of torch. Another number may round differently."""
    seed: int = Field(default=0, ge=0)
    """Of the weights, the noise and dropout; the loader has its own."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps from one checkpoint to the next."""
    keep: int = Field(default=2, ge=2)
    """Checkpoints that stay; the one before the last too, should the last be damaged."""
    log_every: int = Field(default=10, ge=1)
    """Steps that one row of the series averages."""
    signals: bool = False
    """Also write `signals.parquet`: how each object's name fared in training, for the filter of
    another round (`opendet data loop`)."""
    tensorboard: bool = False
    """Also write TensorBoard events (needs the extra `logging`)."""
    dvclive: bool = False
    """Also write DVCLive's plots (needs the extra `logging`)."""
    accumulate: int = Field(default=1, ge=1)
    """Batches of each rank that make one step. Their losses are averaged: with equally many objects
    in each that is the large batch; else an object of a batch with few counts for more."""
    start_from: str = ""
    """Weights to begin with: a model folder of ours, or a folder of transformers' MM-Grounding-DINO
    or LLMDet. Empty begins as the sections `detector` and `namer` say."""
    finetune: Literal["full", "lora"] = "full"
    """`lora`: the weights stay as they are and corrections of low rank are learned, which are added
    to them at the export. A prototype head is trained whole: it may be new, and is small."""
    lora: LoraConfig = LoraConfig()
    """The corrections of `finetune: lora`."""
    workers: int = Field(default=1, ge=1)
    """Processes that Ray Train starts, each with its own batches; 1 trains in this process, or in
    those that torchrun started, of which there must be as many where another number is set."""
    gpus_per_worker: float = Field(default=0.0, ge=0)
    """What each of several workers books on Ray; 0 trains on CPUs."""
    restarts: int = Field(default=3, ge=0)
    """So often may Ray Train begin again from the last checkpoint after a process died."""
    warmup: WarmupConfig = WarmupConfig()
    """The namer's first lesson. It is left out where `start_from` is a model folder of ours with a
    T5."""

    @field_validator("start_from")
    @classmethod
    def _from_home(cls, start_from: str) -> str:
        return str(Path(start_from).expanduser()) if start_from.startswith("~") else start_from

    @model_validator(mode="after")
    def _booked_by_workers(self) -> Self:
        if self.gpus_per_worker and self.workers == 1:
            raise ValueError(
                f"gpus_per_worker {self.gpus_per_worker:g}: one worker books nothing on Ray: raise "
                "workers, or leave it out and name a GPU by device"
            )
        return self
