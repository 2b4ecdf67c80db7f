"""Every page of ours says what it may load, and that is nothing from elsewhere."""

import re
from pathlib import Path

import pytest

from opendet.evaluation import report
from opendet.pages.render import POLICY

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "opendet").rglob("*.html.j2"))
META = '<meta http-equiv="Content-Security-Policy" content="{{ policy }}">'


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_page_begins_with_its_policy(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if "<html" not in text:  # a part of another page, or one that stands in another's frame
        assert "<head" not in text
        assert "Content-Security-Policy" not in text
        return
    before, _, _ = text.partition(META)
    assert before != text, "no policy"
    assert not re.search(r"<(script|style|link|img|iframe|body)\b", before)


def test_there_are_pages_with_a_head_of_their_own() -> None:
    heads = [path.name for path in TEMPLATES if "<html" in path.read_text(encoding="utf-8")]
    assert heads == ["pool.html.j2", "report.html.j2", "base.html.j2", "waiting.html.j2"]


@pytest.mark.parametrize("policy", [POLICY, report._policy("a {}")], ids=["pages", "report"])
def test_a_policy_lets_nothing_in_from_elsewhere(policy: str) -> None:
    rules = {one.split()[0]: one.split()[1:] for one in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    assert rules["base-uri"] == rules["form-action"] == ["'none'"]
    for sources in rules.values():
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & set(sources)
        assert not [one for one in sources if ":" in one and one != "data:"]
