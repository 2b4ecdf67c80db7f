"""Mutants that no test can tell from the code, or that differ in nothing that is promised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Equivalent:
    """Some mutants of one function."""

    module: str
    function: str
    holds: str
    """What the changed lines have in them."""
    why: str


_SAME_CODEC = "Python knows the codec by either spelling"
_ALL_ASCII = "what is written is ASCII, which all encodings of locales write alike"
_ONLY_NONE = "the results, which it keeps now and lets go later, are all None"
_ANY_NEGATIVE = "numpy takes any negative number for the length that it is to find"
_SAME_HASH = "hashlib knows it by either spelling"
_AS_FALSE = "None is as false as False"
_PARTS_LIE_THERE = "what is published lies in this folder, so it is there"
_NONE_BEFORE = "it comes to this only where nothing was found before"

EQUIVALENT = (
    Equivalent("opendet/curate/shards.py", "write_part", "encoding='ASCII'", _SAME_CODEC),
    Equivalent("opendet/curate/shards.py", "write_part", "encoding=None", _ALL_ASCII),
    Equivalent(
        "opendet/curate/shards.py", "write_part", "write_text(index_text(members))", _ALL_ASCII
    ),
    Equivalent("opendet/shard_reader.py", "read_index", "decode('ASCII'", _SAME_CODEC),
    Equivalent(
        "opendet/shard_reader.py", "read_index", "'XXXX'", "neither is an index's first line"
    ),
    Equivalent("opendet/shard_reader.py", "_member", "'ASCII'", _SAME_CODEC),
    Equivalent("opendet/shard_reader.py", "_indexed", "start + 5", "the first four are taken"),
    Equivalent("opendet/shard_reader.py", "_indexed", "[''] * 5", "the first four are taken"),
    Equivalent("opendet/files.py", "canonical_json", "ensure_ascii=None", _AS_FALSE),
    Equivalent("opendet/files.py", "canonical_json", "allow_nan=None", _AS_FALSE),
    Equivalent("opendet/files.py", "sha256_of", "'SHA256'", _SAME_HASH),
    Equivalent("opendet/shard_check.py", "_wids_problems", "encoding='UTF-8'", _SAME_CODEC),
    Equivalent("opendet/shard_check.py", "_wids_problems", "same = None", _AS_FALSE),
    Equivalent("opendet/shard_check.py", "verify_shards", "found = _wids_problems(", _NONE_BEFORE),
    Equivalent("opendet/shard_notes.py", "NoteStore.read", "reshape(-2, 2)", _ANY_NEGATIVE),
    Equivalent("opendet/shard_notes.py", "hash_and_note", "reshape(-2, 2)", _ANY_NEGATIVE),
    Equivalent("opendet/shard_notes.py", "_feed", "start <= end", "reading no bytes ends it too"),
    Equivalent("opendet/shard_set.py", "_verified", "reshape(-2, 4)", _ANY_NEGATIVE),
    Equivalent("opendet/shard_set.py", "verify_share", ":shares]), 1)", _ONLY_NONE),
    Equivalent("opendet/shard_set.py", "verify_share", ":shares]), None)", _ONLY_NONE),
    Equivalent("opendet/shard_set.py", "verify_share", ":shares]))", _ONLY_NONE),
    Equivalent("opendet/shards.py", "_header", "encode('ASCII')", _SAME_CODEC),
    Equivalent("opendet/shards.py", "_md5_of", "'MD5'", _SAME_HASH),
    Equivalent("opendet/work.py", "WorkFolder.publish", "staging.mkdir(parents=", _PARTS_LIE_THERE),
)


def why_equivalent(module: str, function: str, after: str) -> str:
    """Why a mutant is equivalent; empty where it is not known to be."""
    for one in EQUIVALENT:
        if (one.module, one.function) == (module, function) and one.holds in after:
            return one.why
    return ""
