"""The hunt for a sample that kills its process: a shard is halved until that one stands alone.

Processes also die of what no sample did: a node that is short of memory, an operator's kill. Where
such deaths were seen in a run, more of them on one sample alone condemn it.
"""

from dataclasses import dataclass, field

from opendet.stage import Task

# Deaths of workers on one shard, without a guilty sample, before the machine is to blame: in a calm
# run, and at most.
MAX_UNEXPLAINED_DEATHS, MAX_DEATHS_AMONG_OTHERS = 25, 100
# Deaths on a sample alone that condemn it: in a calm run, and in one where others died of nothing
# that a sample did.
DEATHS_ALONE, DEATHS_ALONE_AMONG_OTHERS = 2, 6
POISON = "the process died on this sample alone, each time that it was tried"


@dataclass
class Job:
    """A shard that is not committed yet, and the hunt for the sample that kills its process."""

    task: Task
    poison: dict[str, str] = field(default_factory=dict)
    suspects: list[str] = field(default_factory=list)
    """Keys that hold the guilty one, if there is a guilty one; empty while nobody is suspected."""
    alone: int = 0
    """How often a process died on the one suspect that is left."""
    deaths: int = 0

    def probed(self) -> list[str]:
        """The keys to try next: the first half of the suspects."""
        return self.suspects[: (len(self.suspects) + 1) // 2]

    def survived(self) -> bool:
        """The probed keys are innocent: the guilty one is among the others, or nowhere; whether it
        is nowhere, so that what died before died of something else."""
        self.suspects = self.suspects[len(self.probed()) :]
        self.alone = 0
        return not self.suspects

    def died(self, keys: list[str], *, among_others: bool = False) -> None:
        """A process died: on the whole shard, or on the probed keys. `among_others`: processes of
        this run have died before of what no sample did."""
        self.deaths += 1
        if not self.suspects:
            self.suspects = [key for key in keys if key not in self.poison]
            return
        self.suspects = self.probed()
        if len(self.suspects) > 1:
            return
        self.alone += 1
        if self.alone >= (DEATHS_ALONE_AMONG_OTHERS if among_others else DEATHS_ALONE):
            self.poison[self.suspects[0]] = POISON
            self.suspects, self.alone, self.deaths = [], 0, 0

    def is_hopeless(self, strays: int) -> bool:
        """Whether the machine is to blame. One more death is borne for each of the `strays`, the
        processes of this run that died of what no sample did: who kills those kills these too."""
        return self.deaths > min(MAX_UNEXPLAINED_DEATHS + strays, MAX_DEATHS_AMONG_OTHERS)

    def blame_machine(self, stage: str) -> str:
        """What is said when nobody is guilty and workers die all the same."""
        return (
            f"{stage}: workers died {self.deaths} times on {self.task.shard.name} and no sample "
            "is to blame: look at the machine's memory, or lower batch_size"
        )
