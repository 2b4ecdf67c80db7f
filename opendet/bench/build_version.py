"""By what the kept results of a bench of the whole build are known.

Apart from `stub_build`, whose process must not import what the harness does: its memory is what is
measured.
"""

import hashlib

from opendet.bench.harness import code_of
from opendet.fingerprint import ENGINE, code_version, module_file


def code_of_build(bench: str) -> str:
    """A version of a bench, of the stages, and of the engine, which no fingerprint holds."""
    digest = hashlib.sha256(code_of(bench).encode())
    for stage in ("source", "shards"):
        digest.update(code_version(stage).encode())
    for name in sorted(ENGINE):
        if path := module_file(name):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
