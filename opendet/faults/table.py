"""All faults, in the order in which they are shown."""

from opendet.faults.bombs import bombs
from opendet.faults.commit_kills import commit_kills
from opendet.faults.damaged import damaged_shards
from opendet.faults.evaluated import random_sets
from opendet.faults.failed_calls import failed_calls
from opendet.faults.fuzzed import fuzzed
from opendet.faults.killed import random_kills, worker_kills
from opendet.faults.malicious import malicious_files
from opendet.faults.poisoned import deadly_samples, raising_samples
from opendet.faults.poisoned_source import poisoned_sources
from opendet.faults.raced import equal_bytes, races
from opendet.faults.repro import killed_repros
from opendet.faults.rows import Fault
from opendet.faults.secret_tokens import tokens_stay
from opendet.faults.sockets import off_loopback
from opendet.faults.trained import killed_saves, killed_trainings

FAULTS = (
    Fault(
        "R1",
        "the driver and its workers are killed at random, again and again",
        "the bytes of an undisturbed run; nothing lost, nothing doubled",
        random_kills,
    ),
    Fault("R2", "a random worker is killed every half second", "the run ends well", worker_kills),
    Fault(
        "R3",
        "a kill at every call of the commit that changes a file",
        "a reader sees the old or the new, never a mix",
        commit_kills,
    ),
    Fault(
        "R4",
        "each write, fsync, rename and close fails once",
        "one line, no committed damage, the next run ends well",
        failed_calls,
    ),
    Fault(
        "R6",
        "a bit flipped, a file cut, a shard swapped or missing",
        "found by verify and by the trainer's reader",
        damaged_shards,
    ),
    Fault("R7", "an exception at one sample", "it is quarantined alone", raising_samples),
    Fault(
        "R7b",
        "a sample that kills the process",
        "found by halving, quarantined alone",
        deadly_samples,
    ),
    Fault("R8", "two builds of one folder", "one runs, one names the other's process", races),
    Fault("R9", "other workers, batches, hash seeds, zones, locales", "equal bytes", equal_bytes),
    Fault(
        "R10",
        "the trainer is killed at random, again and again",
        "the weights and the log of an undisturbed training, to the bit",
        killed_trainings,
    ),
    Fault(
        "R11",
        "a kill while a checkpoint is saved",
        "the last one that was saved loads, or the new one",
        killed_saves,
    ),
    Fault(
        "R12",
        "`dvc repro` is killed with all that it began",
        "the same dvc.lock and bytes; what was finished is not redone",
        killed_repros,
    ),
    Fault(
        "R13",
        "poison samples: images, boxes, captions, names",
        "no crash; each counted under the right reason, none unaccounted for",
        poisoned_sources,
    ),
    Fault(
        "R14",
        "damaged shards, annotations, records and configurations",
        "one line, within 5 s, in bounded memory",
        fuzzed,
    ),
    Fault(
        "R15",
        "malicious shards, weights, models, texts and configurations",
        "nothing fires",
        malicious_files,
    ),
    Fault("R16", "decompression bombs", "refused before pixels are allocated", bombs),
    Fault("R18", "a local run's sockets, and whom it asks", "none off loopback", off_loopback),
    Fault("R19", "tokens in the environment", "in no file and no output", tokens_stay),
    Fault("R22", "the evaluator beside pycocotools", "equal to 12 decimals", random_sets),
)
