"""Tokens: one that is written down is found, in whatever spelling."""

import base64
from pathlib import Path

import pytest

from opendet.faults import secret_tokens
from opendet.faults.rows import Effort
from opendet.faults.secret_tokens import _files, _forms


@pytest.mark.parametrize("before", ["", ":", "x:", "Bearer ", "user:"])
def test_a_token_is_found_in_every_spelling(before: str) -> None:
    token = "hf_0123456789abcdefghij"
    coded = base64.b64encode(f"{before}{token}tail".encode())
    assert any(form in coded for form in _forms(token))
    assert any(form in f"key={token};".encode() for form in _forms(token))
    assert not any(
        form in base64.b64encode(b"something else of that length") for form in _forms(token)
    )


@pytest.mark.parametrize("leak", [False, True])
def test_a_hit_names_the_file(leak: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def used(root: Path, tokens: dict[str, str]) -> tuple[Path, dict[str, bytes]]:
        (root / "logs").mkdir(parents=True)
        (root / "logs" / "a.log").write_text(tokens["HF_TOKEN"] if leak else "nothing")
        return root, {"`doctor`": b"fine"}

    monkeypatch.setattr(secret_tokens, "_used", used)
    shown = secret_tokens.tokens_stay(Effort(tmp_path))
    assert shown.holds == (not leak)
    assert shown.problems == (("HF_TOKEN is in logs/a.log",) if leak else ())
    assert ("1 hits" if leak else "0 hits") in shown.figure


def test_links_and_folders_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("x")
    (tmp_path / "c").symlink_to(tmp_path / "a" / "b")
    assert _files(tmp_path) == {"a/b": b"x"}
