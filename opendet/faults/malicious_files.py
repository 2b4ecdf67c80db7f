"""Pickles by other names, tags in YAML, entities in XML, programs in Parquet and in images."""

from collections.abc import Callable
from contextlib import chdir
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from opendet.config import load_config
from opendet.evaluation.class_vectors import read_class_vectors
from opendet.faults.malicious_attack import Attack, Fires, pickled
from opendet.faults.refusals import refused
from opendet.inspect.collection import open_collection
from opendet.pools.vectors import read_vector_file
from opendet.schema import read_records
from opendet.sources.card import read_card
from opendet.sources.grit import list_grit
from opendet.sources.images import inspect_image
from opendet.sources.plain_pickle import read_plain_pickle
from opendet.sources.voc import read_voc
from opendet.sources.yolo import read_class_names
from opendet.yaml_file import read_yaml

_TAGS = (
    'a: !!python/object/apply:builtins.open ["CANARY", "w"]',
    "a: !!python/object/new:os.system [touch CANARY]",
    "a: !!python/name:os.system",
    "a: !!python/module:os",
    '!!python/object/apply:subprocess.check_output [[touch, "CANARY"]]',
)
_YAML: dict[str, Callable[[Path], object]] = {
    "configuration": load_config,
    "source card": read_card,
    "params": read_yaml,
    "YOLO's class names": read_class_names,
}


def _yaml(read: Callable[[Path], object], tag: str, folder: Path, canary: Path) -> str:
    path = folder / "a.yaml"
    path.write_text(tag.replace("CANARY", str(canary)) + "\n")
    with chdir(folder):
        return refused(partial(read, path), path)


def _laughs(folder: Path, _: Path) -> str:
    """Aliases of aliases: a billion of them, were they written out."""
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = folder / "a.yaml"
    path.write_text("\n".join([*lines, "run: *a11", "source: {max_pixels: *a11}"]))
    return refused(partial(load_config, path), path)


def _xml(text: str, folder: Path, _: Path) -> str:
    path = folder / "0.xml"
    path.write_text(text)
    return refused(partial(read_voc, path), path.name)


_ENTITY = (
    '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
    "<annotation><object><name>&x;</name></object></annotation>"
)
_GROWING = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
_LAUGHS = f'<!DOCTYPE a [<!ENTITY e0 "ha">{_GROWING}]><annotation>&e11;</annotation>'


def _pickle(read: Callable[[Path], object], name: str, folder: Path, canary: Path) -> str:
    path = folder / name
    path.write_bytes(pickled(canary))
    return refused(partial(read, path), path)


def _objects(read: Callable[[Path], object], folder: Path, canary: Path) -> str:
    """A NumPy file of objects, which is a pickle inside."""
    path = folder / "a.npy"
    np.save(path, np.array([Fires(canary)], dtype=object), allow_pickle=True)
    return refused(partial(read, path), path)


def _parquet(read: Callable[[Path], object], folder: Path, canary: Path) -> str:
    """A column of Arrow's Python extension type, whose metadata is a pickle."""
    kind = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickled(canary),
    }
    field = pa.field("key", pa.string(), metadata=kind)
    metadata = {b"opendet.record_version": b"2", b"pandas": pickled(canary)}
    path = folder / "a.parquet"
    pq.write_table(pa.table([["a"]], schema=pa.schema([field], metadata=metadata)), path)
    return refused(partial(read, path), path)


def _looked(path: Path) -> None:
    """Raises ValueError where the inspector tells of something that is not whole."""
    collection = open_collection(path)
    found = [one for piece in collection.pieces for one in collection.records(piece)]
    raise ValueError(f"{path}: {len(found)} things found")


def _grit(path: Path) -> object:
    return list_grit(path.parent, batch="b", images="", annotations=path.name)


def _image(content: bytes, _: Path, canary: Path) -> str:
    """What Pillow would hand to another program. The reader gets bytes, and knows no file."""
    return refused(partial(inspect_image, content.replace(b"CANARY", bytes(canary))))


_POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n(CANARY) (w) file closefile\n"
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>touch("CANARY")</script></svg>'

FILES = (
    *(
        Attack(f"YAML's {tag.partition('python/')[2][:20]} in a {kind}", partial(_yaml, read, tag))
        for kind, read in _YAML.items()
        for tag in _TAGS
        if kind != "params"
    ),
    Attack("YAML's tags where anything is read", partial(_yaml, read_yaml, _TAGS[0])),
    Attack("a billion laughs in YAML", _laughs),
    Attack("an XML entity that names a file", partial(_xml, _ENTITY)),
    Attack("a billion laughs in XML", partial(_xml, _LAUGHS)),
    Attack("a pickle for RefCOCO's expressions", partial(_pickle, read_plain_pickle, "refs.p")),
    Attack("a pickle for vectors", partial(_pickle, read_vector_file, "a.npy")),
    Attack("a pickle for packed vectors", partial(_pickle, read_vector_file, "a.npz")),
    Attack("objects for vectors", partial(_objects, read_vector_file)),
    Attack("objects for class vectors", partial(_objects, partial(read_class_vectors, names=1))),
    Attack("a pickle for records", partial(_pickle, read_records, "a.parquet")),
    Attack("a program in Parquet for records", partial(_parquet, read_records)),
    Attack("a program in Parquet for the inspector", partial(_parquet, _looked)),
    Attack("a program in Parquet for GRIT", partial(_parquet, _grit)),
    Attack("PostScript for an image", partial(_image, _POSTSCRIPT)),
    Attack("SVG for an image", partial(_image, _SVG)),
)
