"""The hunt for a sample that kills its process: a shard is halved until that one stands alone."""

from dataclasses import dataclass, field

from opendet.stage import Task

# Deaths of workers on one shard, without a guilty sample, before the machine is to blame.
MAX_UNEXPLAINED_DEATHS = 25
POISON = "the process died on this sample alone, twice"


@dataclass
class Job:
    """A shard that is not committed yet, and the hunt for the sample that kills its process."""

    task: Task
    poison: dict[str, str] = field(default_factory=dict)
    suspects: list[str] = field(default_factory=list)
    """Keys that hold the guilty one, if there is a guilty one; empty while nobody is suspected."""
    accused: str = ""
    """The one suspect that has already killed a process alone."""
    deaths: int = 0

    def probed(self) -> list[str]:
        """The keys to try next: the first half of the suspects."""
        return self.suspects[: (len(self.suspects) + 1) // 2]

    def survived(self) -> None:
        """The probed keys are innocent: the guilty one is among the others, or nowhere."""
        self.suspects = self.suspects[len(self.probed()) :]
        self.accused = ""

    def died(self, keys: list[str]) -> None:
        """A process died: on the whole shard, or on the probed keys."""
        self.deaths += 1
        if not self.suspects:
            self.suspects = [key for key in keys if key not in self.poison]
            return
        self.suspects = self.probed()
        if len(self.suspects) > 1:
            return
        if self.accused == self.suspects[0]:
            self.poison[self.accused] = POISON
            self.suspects, self.accused, self.deaths = [], "", 0
        else:
            self.accused = self.suspects[0]

    def blame_machine(self, stage: str) -> str:
        """What is said when nobody is guilty and workers die all the same."""
        return (
            f"{stage}: workers died {self.deaths} times on {self.task.shard.name} and no sample "
            "is to blame: look at the machine's memory, or lower batch_size"
        )
