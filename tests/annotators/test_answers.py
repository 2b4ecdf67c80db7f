"""Cleaning of a model's answers: what is cut, what stays, and that any text at all is read."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from opendet.annotators.answers import Cleaned, clean_answer
from opendet.annotators.language import is_english
from opendet.annotators.markdown import flattened
from opendet.annotators.object_list import object_list

REASONS = {
    *("chat", "cut", "empty", "language", "overlong", "refusal", "repetition", "speculation")
}


@pytest.mark.parametrize(
    "text",
    [
        "A red mug stands on a table.",
        "red mug",
        "Here is a dog.",
        "A man looks at a sign that reads 'STOP'. Two dogs, a cat and a bird sit beside him.",
        'A sign says "Maybe tomorrow, possibly never".',
        "Two people could be seen in May, unlikely as it is.",
        "I see a dog.",
        "The cafe's menu is in French: un, deux, trois.",
        "A 2-storey house, no. 5, with a half-open door (green) and a clock at 10:30.",
        "A dog runs. Another dog runs. The third dog runs too.",
    ],
)
def test_a_good_caption_stays_as_it_is(text: str) -> None:
    assert clean_answer(text) == Cleaned(text)


def test_captions_by_people_stay_as_they_are(shared_data: Path) -> None:
    images = json.loads((shared_data / "coco_entities/coco_entities_samples.json").read_text())
    captions = [caption for image in images.values() for caption in image["captions"]]
    assert len(captions) > 10
    for caption in captions:
        assert clean_answer(caption) == Cleaned(" ".join(caption.split()))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Sure! Here is a detailed description of the image:\n\nA dog runs.", "A dog runs."),
        ("Certainly, here's the caption: a dog runs", "A dog runs"),
        ("Of course! I'd be happy to describe the image. A dog runs.", "A dog runs."),
        ("**Description:** A dog runs.", "A dog runs."),
        ("A dog runs. Let me know if you need more details!", "A dog runs."),
        ("A dog runs. I hope this helps! Feel free to ask.", "A dog runs."),
        ("A dog runs.<|im_end|>\n<|im_start|>user\nAnd what else?", "A dog runs."),
        ("<|im_start|>assistant\nA dog runs.</s></s>", "A dog runs."),
        ("<think>The user wants a caption.</think>\n\nA dog runs.", "A dog runs."),
        ("It must be a dog.</think> A dog runs.", "A dog runs."),
        ("ASSISTANT: A dog runs.", "A dog runs."),
        ("[INST] A dog runs. [/INST]", "A dog runs."),
    ],
)
def test_chat_goes(text: str, cleaned: str) -> None:
    assert clean_answer(text) == Cleaned(cleaned, ("chat",))


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't identify the people in this image.",
        "I’m really sorry, I cannot help with that.",
        "Sorry, I can't assist with that request.",
        "As an AI language model, I do not have eyes.",
        "I cannot see the image you are talking about.",
        "I am unable to view images.",
        "Unfortunately, I cannot describe this picture.",
        "Sure! I'm sorry, but I can't help with that.",
    ],
)
def test_refusals_leave_nothing(text: str) -> None:
    cleaned = clean_answer(text)
    assert cleaned.text == ""
    assert "refusal" in cleaned.reasons
    assert object_list(text) == ()


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A man stands near a car, possibly waiting for someone.", "A man stands near a car."),
        ("A dog, possibly a terrier, sits on the rug.", "A dog sits on the rug."),
        ("A woman, who may be a nurse, holds a child.", "A woman holds a child."),
        ("The cups, perhaps three, are on the table.", "The cups are on the table."),
        ("The scene appears to be a park. A dog runs.", "A dog runs."),
        ("A dog runs. The man is likely waiting.", "A dog runs."),
        ("A man stands in what appears to be a kitchen.", "A man stands."),
        ("A car that seems to be red.", "A car."),
        ("A dog (probably a mutt) and possibly a cat", "A dog."),
        ("It is sunny, suggesting a warm, dry day. A dog runs.", "It is sunny. A dog runs."),
        ("A dog runs on grass, and the man appears to smile.", "A dog runs on grass."),
        ("A street is wet, indicating recent rain.", "A street is wet."),
        ("A table with a cup, and there might be a plate.", "A table with a cup."),
        ("The street is blurred, but it seems to be a market.", "The street is blurred."),
        # nothing that stands is left
        ("A red, shiny car appears to be parked.", ""),
        ("On the left, the man appears to be walking.", ""),
        ("On a table, there might be a cup.", ""),
        ("Perhaps, a dog.", ""),
        ("It seems that a dog runs.", ""),
        ("A man holding what looks like a phone.", ""),
        ("It is unclear what the man does.", ""),
        ("The lighting suggests that it is evening.", ""),
    ],
)
def test_guesses_are_cut_and_never_claimed(text: str, cleaned: str) -> None:
    assert clean_answer(text) == Cleaned(cleaned, ("speculation",))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("This appears to be a red mug on a table.", "A red mug on a table."),
        ("appears to be a mug", "A mug"),
        ("It could be a cup, possibly of tin.", "A cup."),
        ("The object in this region is likely a fire hydrant, red.", "A fire hydrant, red."),
        ("The image shows what appears to be a mug.", "A mug."),
        ("It looks like two birds.", "Two birds."),
        ("Perhaps, a dog.", "A dog."),
        ("This is probably a mug. It could be blue.", "A mug."),
        ("The red mug appears to be made of clay.", "The red mug."),
        ("A man holding what looks like a phone.", "A man."),
        # whose name is no name, or not said
        ("This might be red.", ""),
        ("The scene appears to be blurry.", ""),
        ("He seems to be walking.", ""),
        ("It is unclear what the object is.", ""),
        ("On a table, there might be a cup.", ""),
        ("Possibly walking", ""),
    ],
)
def test_of_one_thing_a_guessed_name_stays(text: str, cleaned: str) -> None:
    assert clean_answer(text, keep_name=True) == Cleaned(cleaned, ("speculation",))
    plain = "A red mug, chipped at the rim."
    assert clean_answer(plain, keep_name=True) == Cleaned(plain)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("A dog runs. A dog runs. A dog runs. A dog", "A dog runs."),
        ("A cat. A dog runs. A cat! A dog runs. The", "A cat. A dog runs. The"),
        ("a cat and a cat and a cat and a cat and", "a cat."),
        ("A man with a red hat, a red hat, a red hat, a red hat", "A man with a red hat."),
        ("A red red red red red red dog", "A red."),
        ("A very very big dog.", None),
        ("A dog with a long tail aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "A dog with a long tail"),
        ("A dog!!!!!!!!!!!!", "A dog!"),
    ],
)
def test_circles_are_cut(text: str, cleaned: str | None) -> None:
    reasons = () if cleaned is None else ("repetition",)
    assert clean_answer(text) == Cleaned(text if cleaned is None else cleaned, reasons)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("- a red ball\n- a tree", "a red ball. a tree."),
        ("1. A dog.\n2) A cat", "A dog. A cat."),
        ("# The scene\n\nA **red** dog\nruns in `grass`.", "A red dog runs in grass."),
        ("A dog runs\n\nA cat sits", "A dog runs. A cat sits."),
        ("```\nA dog.\n```", "A dog."),
        ("A [dog](http://a.example/x) and a snake_case_name.", "A dog and a snake_case_name."),
        ("# A dog on grass", "A dog on grass"),
        ('"A dog on grass."', "A dog on grass."),
        ("“Stop” says the sign, and “go”", "“Stop” says the sign, and “go”"),
        ("A\tdog \x00\u202eruns.", "A dog runs."),
    ],
)
def test_markdown_becomes_a_line(text: str, cleaned: str) -> None:
    assert clean_answer(text) == Cleaned(cleaned)


FOREIGN = {
    "German": "Ein Hund sitzt auf dem Teppich und schaut in die Kamera.",
    "French": "Un chien est assis sur le tapis et regarde la caméra dans le salon.",
    "Spanish": "Un perro está sentado en la alfombra y mira a la cámara con los ojos abiertos.",
    "Italian": "Un cane è seduto sul tappeto e guarda la fotocamera con gli occhi aperti.",
    "Portuguese": "Um cachorro está sentado no tapete e olha para a câmera com os olhos abertos.",
    "Dutch": "Een hond zit op het tapijt en kijkt met open ogen naar de camera.",
    "Chinese": "一只狗坐在地毯上,看着镜头。",
    "Japanese": "犬がカーペットの上に座っています。",
    "Russian": "Собака сидит на ковре.",
    "Arabic": "كلب يجلس على السجادة.",
    "half Chinese": "A dog 一只狗坐在地毯上看着镜头",
}


@pytest.mark.parametrize("language", FOREIGN)
def test_other_languages_are_refused_where_english_is_wanted(language: str) -> None:
    assert clean_answer(FOREIGN[language]) == Cleaned("", ("language",))
    assert clean_answer(FOREIGN[language], language="any").text


def test_what_the_language_test_cannot_tell() -> None:
    assert is_english("roter Becher")  # too short to tell
    assert is_english("")
    assert is_english("3 × 4 — 12 %")
    assert is_english("A café in Köln serves jalapeños, crème brûlée and smørrebrød to the guests.")
    assert is_english("dog cat table chair window curtain lamp bottle spoon")  # a list of things


def test_lengths() -> None:
    text = "A dog runs. A cat sits. A bird sings."
    assert clean_answer(text, max_characters=25) == Cleaned(
        "A dog runs. A cat sits.", ("overlong",)
    )
    assert clean_answer(text, max_characters=len(text)) == Cleaned(text)
    assert clean_answer("A dog runs", max_characters=7) == Cleaned("A dog", ("overlong",))


def test_unfinished_answers_lose_their_last_sentence() -> None:
    cut = "A dog runs. A cat sits on a"
    assert clean_answer(cut, unfinished=True) == Cleaned("A dog runs.", ("cut",))
    assert clean_answer(cut) == Cleaned(cut)
    assert clean_answer("A dog runs.", unfinished=True) == Cleaned("A dog runs.")
    assert clean_answer("A dog on", unfinished=True) == Cleaned("A dog on")


def test_nothing_is_empty() -> None:
    for text in ("", " \n", "\u200b", "***", "---\n---", "\x00"):
        assert clean_answer(text) == Cleaned("", ("empty",))


pieces = st.sampled_from(
    [
        *("A dog runs.", "a cat", ", possibly", " and maybe a cat", "appears to be", "Sure! "),
        *(
            "Here is a description:",
            "\n",
            "- ",
            "1. ",
            "**",
            "# ",
            "```",
            "I'm sorry, but I can't ",
        ),
        *("<think>", "</think>", "<|im_end|>", "(", ")", '"', "“", "”", ".", ",", " ", "und der "),
        *("describe", "suggesting that", "which might be", "狗", "Let me know if", "caption:", "_"),
        *(
            "indicating",
            "[a](b)",
            "assistant\n",
            "</s>",
            "unclear",
            ";",
            " - ",
            "'",
            "what seems to",
        ),
    ]
)
answers = (
    st.text()
    | st.lists(pieces, max_size=14).map("".join)
    | st.lists(pieces | st.text(max_size=5), max_size=14).map(" ".join)
)


@given(
    answers, st.integers(1, 60), st.sampled_from(["english", "any"]), st.booleans(), st.booleans()
)
@example("Sure! " * 30 + "A dog.", 60, "english", False, False)
@example("ok: " * 40, 60, "any", True, False)
@example("It may be a cup or it may be a mug", 60, "any", False, True)
def test_any_answer_is_cleaned(
    text: str, most: int, language: Any, unfinished: bool, keep_name: bool
) -> None:
    same = {"max_characters": most, "language": language, "keep_name": keep_name}
    cleaned = clean_answer(text, unfinished=unfinished, **same)
    assert len(cleaned.text) <= most
    assert "\n" not in cleaned.text
    assert cleaned.text == cleaned.text.strip()
    assert set(cleaned.reasons) <= REASONS
    assert cleaned.reasons or cleaned.text
    again = clean_answer(cleaned.text, **same)
    assert again.text == cleaned.text
    assert again.reasons == (() if again.text else ("empty",))


@given(answers, st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_any_answer_is_read_as_a_list(
    text: str, most: int, max_words: int, unfinished: bool
) -> None:
    names = object_list(text, most=most, max_words=max_words, unfinished=unfinished)
    assert len(names) <= most
    assert len(set(names)) == len(names)
    assert all(name and len(name.split()) <= max_words for name in names)
    assert all(name == name.lower() for name in names)


LONG = ["- ", "* ", "(a ", "<think>", "[a", "a, ", ", possibly ", "“", '"a ', "a b ", "1. ", "_"]


@pytest.mark.parametrize(
    "piece", [*LONG, "appears to ", "[", "{", '{"a":', "here is a description "]
)
def test_long_nonsense_costs_no_time(piece: str) -> None:
    text = piece * (60_000 // len(piece)) + "x"
    started = time.process_time()
    clean_answer(text)
    object_list(text)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1. dog\n2. Cat\n3) two birds", ["dog", "cat", "birds"]),
        ("- a dog: brown and small\n* **The Cat** - asleep\n• dog", ["dog", "cat"]),
        ("dog, a cat and two birds", ["dog", "cat", "birds"]),
        ("The image contains a dog, a cat, and a bird.", ["dog", "cat", "bird"]),
        ("The objects in this image: black and white cat, dog", ["black and white cat", "dog"]),
        ("old and dirty shoes and a dog", ["old and dirty shoes", "dog"]),
        ('["dog", "red car"]', ["dog", "red car"]),
        ('```json\n{"objects": [{"name": "dog"}, {"label": "cat"}]}\n```', ["dog", "cat"]),
        ('Sure! Here it is: ["dog"] and no more', ["dog"]),
        ("Sure! Here is a list of objects:\n1. fire_hydrant\n2. dog", ["fire hydrant", "dog"]),
        ("dog", ["dog"]),
        ("dog\ncat", ["dog", "cat"]),
        ("None", []),
        ("[]", []),
        ("", []),
        ('["dog", 3, null, ["cat"]]', ["dog", "cat"]),
    ],
)
def test_lists_of_objects(text: str, names: list[str]) -> None:
    assert object_list(text) == tuple(names)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1. dog\n2. cat\n3. fire hyd", ["dog", "cat"]),
        ("dog, cat, fire hyd", ["dog", "cat"]),
        ('["dog", "cat", "fire hyd', ["dog", "cat"]),
        ('{"objects": [{"name": "dog"}, {"name": "fire hyd', ["dog"]),
        ("dog, dog, dog, dog, dog, do", ["dog"]),
        ("fire hyd", []),
        ("", []),
    ],
)
def test_the_last_of_an_unfinished_list_goes(text: str, names: list[str]) -> None:
    assert object_list(text, unfinished=True) == tuple(names)


def test_lists_have_an_end() -> None:
    assert object_list(", ".join(f"thing{number}" for number in range(99)), most=3) == (
        "thing0",
        "thing1",
        "thing2",
    )
    assert object_list("a very long name of a thing", max_words=2) == ("very long",)


@pytest.mark.parametrize(
    "text",
    [
        "The bus shows the number 12. A man waits beside it.",
        "A man – tall and thin – stands near a car.",
        "Several toy animals - a bull, giraffe, deer and parakeet.",
        "The year 2012. Old car.",
        "Number (3) on a shirt.",
        "A large mirror, reflecting a bed, hangs above a dresser.",
        "Red double-decker bus, large windows, black tires, white roof, yellow lights.",
    ],
)
def test_what_is_no_markup_and_no_guess_stays(text: str) -> None:
    assert clean_answer(text) == Cleaned(text)


@given(st.lists(st.text("abcdefgh –-(3)12. ", min_size=1), min_size=1).map(" ".join))
def test_plain_text_of_one_line_keeps_its_letters_behind_a_bullet(text: str) -> None:
    line = flattened(text)
    kept = [one for one in line if one.isalpha()]
    assert kept == [one for one in text if one.isalpha()]
