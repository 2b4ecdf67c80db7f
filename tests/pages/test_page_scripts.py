"""The pages' scripts by themselves: masks as the official code reads them, states as addresses."""

from pathlib import Path

import numpy as np
import pytest
from faster_coco_eval.core.mask import encode

from tests.pages.conftest import Visit

PAINT = """([code, width, height, wide, high]) => {
    const data = new Uint8ClampedArray(4 * wide * high);
    OpenDet.masks.paint(data, [wide, high], code, [width, height], [1, 2, 3, 255]);
    return Array.from({ length: wide * high }, (_, at) => Number(data[4 * at + 3] > 0));
}"""


def code_of(inside: np.ndarray) -> str:
    counts = encode(np.asfortranarray(inside))["counts"]
    return counts.decode() if isinstance(counts, bytes) else str(counts)


@pytest.fixture
def scripts(visit: Visit, site: Path) -> Visit:
    visit.open((site / "gallery.html").as_uri())
    return visit


@pytest.mark.parametrize("seed", range(6))
def test_a_mask_is_painted_as_the_official_code_has_it(scripts: Visit, seed: int) -> None:
    random = np.random.default_rng(seed)
    height, width = random.integers(1, 60, 2)
    inside = (random.random((height, width)) < random.random()).astype(np.uint8)
    sizes = [code_of(inside), int(width), int(height), int(width), int(height)]
    painted = np.array(scripts.page.evaluate(PAINT, sizes)).reshape(height, width)
    assert (painted == inside).all()


def test_a_large_mask_is_sampled(scripts: Visit) -> None:
    inside = np.zeros((3000, 4000), np.uint8)
    inside[600:1500, 1000:3000] = 1
    small = scripts.page.evaluate(PAINT, [code_of(inside), 4000, 3000, 400, 300])
    painted = np.array(small).reshape(300, 400)
    assert painted[60:150, 100:300].all()
    assert painted.sum() == 90 * 200


@pytest.mark.parametrize("code", ["", "\x00", "~~~~", "zz!", "0" * 50, "4" * 9])
def test_what_is_no_mask_paints_nothing_terrible(scripts: Visit, code: str) -> None:
    assert len(scripts.page.evaluate(PAINT, [code, 10, 10, 10, 10])) == 100


def test_a_state_is_an_address_and_back(scripts: Visit) -> None:
    states = [
        "",
        "name=a+%26+b&name=c&q=x%23y&why=refused%3A+too+small&page=3",
        "sort=key&sample=a-0001&boxes=off&refused=off",
    ]
    for one in states:
        assert scripts.ask(f"OpenDet.filters.write(OpenDet.filters.read('#{one}')).length") == len(
            one
        )


def test_an_odd_address_is_a_state_all_the_same(scripts: Visit) -> None:
    for one in (
        "#page=-3",
        "#page=x",
        "#%ff%fe",
        "#sort=__proto__",
        "#by=nothing&from=abc",
        "#&=&",
    ):
        scripts.page.evaluate("(hash) => { location.hash = hash }", one)
        scripts.page.wait_for_timeout(50)
    assert scripts.texts("#count")[0].endswith("samples")


def test_the_data_loader_takes_nothing_else(scripts: Visit) -> None:
    for path in ("https://example.org/x.js", "assets/store.js", "data/../x.js", "data/a/x.js"):
        said = scripts.page.evaluate(
            "(path) => { try { OpenDet.load(path) } catch (error) { return error.message } }", path
        )
        assert "is no data of these pages" in said
