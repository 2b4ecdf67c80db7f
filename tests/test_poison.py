"""The hunt for a sample that kills its process, step by step."""

from opendet.manifest import ShardName
from opendet.poison import (
    DEATHS_ALONE_AMONG_OTHERS,
    MAX_DEATHS_AMONG_OTHERS,
    MAX_UNEXPLAINED_DEATHS,
    POISON,
    Job,
)
from opendet.stage import Task

KEYS = [f"k{number}" for number in range(4)]


def job() -> Job:
    return Job(Task(ShardName("a-000000", "a", "train")))


def test_the_guilty_one_is_found_by_halving_and_condemned_at_its_second_death_alone() -> None:
    one = job()
    one.died(KEYS)
    assert one.probed() == ["k0", "k1"]
    assert not one.survived()
    assert one.probed() == ["k2"]
    one.died(KEYS)
    assert not one.poison
    one.died(KEYS)
    assert one.poison == {"k2": POISON}
    assert (one.suspects, one.deaths) == ([], 0)


def test_kills_from_outside_condemn_nobody() -> None:
    one = job()
    for _ in range(3):  # the whole shard, its first half, and the first sample alone
        one.died(KEYS)
    for _ in range(DEATHS_ALONE_AMONG_OTHERS - 2):
        one.died(KEYS, among_others=True)
    assert not one.poison
    assert one.survived()  # the next probe ends well: nobody is guilty
    assert (one.suspects, one.alone) == ([], 0)


def test_the_machine_is_to_blame_later_where_others_died_too() -> None:
    one = job()
    one.deaths = MAX_UNEXPLAINED_DEATHS
    assert not one.is_hopeless(0)
    one.deaths += 1
    assert one.is_hopeless(0)
    assert not one.is_hopeless(1)
    one.deaths = MAX_DEATHS_AMONG_OTHERS + 1
    assert one.is_hopeless(10 * MAX_DEATHS_AMONG_OTHERS)


def test_among_kills_from_outside_the_guilty_one_is_condemned_in_the_end() -> None:
    one = job()
    while not one.poison:
        if "k3" in one.probed() or not one.suspects:
            one.died(KEYS, among_others=True)
        else:
            one.survived()
    assert one.poison == {"k3": POISON}
