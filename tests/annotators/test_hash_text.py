"""The compositional hash encoder."""

import subprocess
import sys

import numpy as np
import pytest

from opendet.annotators.hash_text import HashTextEncoder


def test_rows_are_unit_and_the_same_in_every_process():
    texts = ["red circle", "", "42"]
    rows = HashTextEncoder(32).encode_texts(texts)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    code = (
        "from opendet.annotators.hash_text import HashTextEncoder as H\n"
        f"print(H(32).encode_texts({texts!r}).tobytes().hex())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == rows.tobytes().hex()


def test_names_that_share_a_word_are_nearer_than_those_that_share_none():
    red_circle, red_star, blue_star, again = HashTextEncoder(256).encode_texts(
        ["red circle", "red star", "blue star", "a Red  circle."]
    )
    assert red_circle @ red_star == pytest.approx(1 / 2.25, abs=0.1)  # unit(E + E + .5 R)
    assert abs(red_circle @ blue_star) < 0.2
    assert red_circle @ again == pytest.approx(1, abs=1e-6)


def test_an_unseen_composition_is_reachable_from_its_words():
    encode = HashTextEncoder(256).encode_texts
    red_circle, blue_star, blue_circle, red_star = encode(
        ["red circle", "blue star", "blue circle", "red star"]
    )
    guess = blue_star + red_circle - red_star  # a line through the words, without the own part
    assert guess @ blue_circle / np.linalg.norm(guess) > 0.6


def test_another_seed_is_another_tower():
    one, two = HashTextEncoder(64), HashTextEncoder(64, seed=1)
    assert one.revision != two.revision
    assert abs((one.encode_texts(["red"]) @ two.encode_texts(["red"]).T).item()) < 0.5


def test_no_texts_are_no_rows():
    assert HashTextEncoder(16).encode_texts([]).shape == (0, 16)
