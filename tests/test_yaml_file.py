"""A YAML file is read whole, and nothing in it is silently lost."""

from pathlib import Path

import pytest

from opendet.yaml_file import read_yaml


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key a comes twice, in lines 1 and 3"),
        ("list:\n  - {a: 1, a: 2}\n", "the key a comes twice, in lines 2 and 2"),
        ("a: ][", "is not YAML"),
        (f"a: {'9' * 5000}", "has a value that cannot be read: Exceeds the limit"),
        ("a: 2001-13-01", "has a value that cannot be read: month must be"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"some\.yaml.* ?{says}") as error:
        read_yaml(path)
    assert "\n" not in str(error.value)


def test_a_key_may_come_in_many_places_and_replace_a_merged_one(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("t: {i: &b {<<: &a {x: 1}, x: 2}}\nc: {<<: *b, x: 3}\n")
    assert read_yaml(path) == {"t": {"i": {"x": 2}}, "c": {"x": 3}}
