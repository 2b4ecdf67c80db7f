"""As much English as captions need: kinds of words, singulars, and which word covers which.

The lists are closed classes and the commonest open ones; a word that is in none of them is taken
for a noun. Membership only: nothing may iterate over these sets, whose order is not fixed.
"""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DETERMINERS = _words(
    "a an the this these those some any no each every another both all many several most half "
    "my your his her its our their whose what which"
)
NUMBERS = _words("one two three four five six seven eight nine ten eleven twelve dozen hundred")
PREPOSITIONS = _words(
    "about above across after against along alongside amid among amongst around as at atop "
    "before behind below beneath beside besides between beyond by despite down during for from "
    "in inside into like near next of off on onto opposite out outside over past through "
    "throughout to toward towards under underneath until up upon via with within without"
)
ADVERBS = _words(
    "very quite rather so too almost nearly partly slightly mostly just only also not n't never "
    "always often here there then now away apart together close-up side-by-side half-way again "
    "still even maybe perhaps far forward forwards backward backwards downward upward indoors "
    "outdoors overhead nearby else ahead"
)
CONJUNCTIONS = frozenset(("and", "or"))
FUNCTION_WORDS = _words(
    "that but nor yet if while when where why how whether because since than though although i me "
    "you he him she it we us they them who whom himself herself itself themselves someone "
    "something somebody anything anyone everyone everything nothing none 's 're 've 'll 'd 'm "
    "’s ’re ’ve ’ll ’d ’m"
)
AUXILIARIES = _words(
    "is are was were be been being am has have had having do does did can could will would may "
    "might shall should must"
)
VERBS = _words(
    "sit sits sat stand stands stood lie lies lay lays rest rests hang hangs hung show shows "
    "shown showing appear appears seem seems look looks hold holds held wear wears worn cover "
    "covers overlap overlaps touch touches ride rides rode ridden eat eats ate eaten walk walks "
    "go goes went gone come comes came run runs ran jump jumps flies flew flown lean leans "
    "sleep sleeps slept stare stares contain contains include includes surround surrounds carry "
    "carries pull pulls push pushes use uses make makes made take takes took taken get gets got "
    "put puts set sets seen see sees cut kept keep keeps left-facing drives drove driven play "
    "plays enjoy enjoys prepare prepares pose poses try tries throw throws threw thrown catch "
    "catches caught read reads talk talks watch watches wait waits move moves float floats swim "
    "swims grow grows grown built broken woven lit feature features depict depicts consist "
    "consists form forms face faces smiles laughs opens closes needs helps serves fills reaches "
    "bites licks waves kicks swings crosses examines blow blows cleans enters leaves turns "
    "points follows shares gathers gather decorates separates"
)
PARTICIPLES = _words(
    "shown held worn ridden eaten gone flown slept taken seen cut kept driven thrown caught "
    "grown built broken woven lit made hung done"
)

COLOURS = _words(
    "red orange yellow green blue purple violet pink brown black white grey gray cyan teal "
    "turquoise magenta maroon navy olive beige tan gold golden silver crimson indigo lime cream "
    "blonde"
)
PATTERNS = _words(
    "plain solid striped stripy dotted spotted checked checkered chequered plaid tartan patterned"
)
ADJECTIVES_OR_NOUNS = _words("orange gold silver left right")
ADJECTIVES = (
    COLOURS
    | PATTERNS
    | _words(
        "big large huge giant small little tiny long short tall wide narrow thick thin high low "
        "deep flat round rectangular triangular circular curved straight old young new fresh "
        "clean dirty empty full open closed wet dry hot cold warm cool bright dark pale dull "
        "shiny wooden metallic other few same different similar various multiple single double "
        "main rear upper lower front-facing nice pretty cute busy cloudy sunny snowy grassy "
        "sandy rocky leafy muddy dusty furry fuzzy fluffy ready commercial dim interesting "
        "professional soft hard heavy rough smooth sharp blurry ripe raw urban rural outdoor "
        "indoor modern vintage beautiful verdant asleep awake alone close visible available "
        "bare bald blond happy sad early late lone colorful colourful multicolored "
        "multicoloured"
    )
)
NOT_WHAT_THEY_END_IN = _words(
    "ally assembly moped biped belly bully butterfly dragonfly family firefly fly jelly lily "
    "ply reply supply building ceiling clothing evening frosting king lettering lightning "
    "morning painting pudding ring railing sibling sing spring string swing thing topping "
    "training wedding wing bed bread breed deed feed hundred reed seed shed shred sled speed "
    "steed weed awning icing dressing stuffing filling earring drawing bling sling sting"
)

_SINGULARS = {
    "people": "person",
    "persons": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "feet": "foot",
    "teeth": "tooth",
    "mice": "mouse",
    "geese": "goose",
    "oxen": "ox",
    "dice": "die",
    "knives": "knife",
    "wives": "wife",
    "leaves": "leaf",
    "loaves": "loaf",
    "shelves": "shelf",
    "scarves": "scarf",
    "wolves": "wolf",
    "calves": "calf",
    "halves": "half",
    "hooves": "hoof",
    "potatoes": "potato",
    "tomatoes": "tomato",
    "mangoes": "mango",
    "cookies": "cookie",
    "movies": "movie",
    "brownies": "brownie",
    "selfies": "selfie",
    "veggies": "veggie",
    "hoodies": "hoodie",
    "smoothies": "smoothie",
    "birdies": "birdie",
    "lenses": "lens",
    "gases": "gas",
    "quizzes": "quiz",
}
_UNCHANGED = _words(
    "glasses sunglasses eyeglasses goggles binoculars scissors pants trousers jeans shorts "
    "leggings pajamas pyjamas tongs pliers headphones clothes series species lens always"
)

# A word -> the words that cover it or mean the same. Keys of two words are names whose last word
# alone would mislead: a hot dog is no dog.
_BROADER = {
    "man": ("person",),
    "woman": ("person",),
    "boy": ("person", "child"),
    "girl": ("person", "child"),
    "child": ("person",),
    "kid": ("person", "child"),
    "baby": ("person", "child"),
    "toddler": ("person", "child"),
    "lady": ("person", "woman"),
    "guy": ("person", "man"),
    "gentleman": ("person", "man"),
    "adult": ("person",),
    "player": ("person",),
    "batter": ("person",),
    "catcher": ("person",),
    "pitcher": ("person",),
    "skier": ("person",),
    "snowboarder": ("person",),
    "skateboarder": ("person",),
    "surfer": ("person",),
    "rider": ("person",),
    "cyclist": ("person",),
    "motorcyclist": ("person",),
    "pedestrian": ("person",),
    "chef": ("person",),
    "motorbike": ("motorcycle",),
    "motor bike": ("motorcycle", "motorbike", "bike"),
    "moped": ("motorcycle", "motorbike", "scooter"),
    "scooter": ("motorcycle", "motorbike"),
    "bike": ("bicycle", "motorcycle", "motorbike"),
    "cycle": ("bicycle",),
    "automobile": ("car",),
    "sedan": ("car",),
    "taxi": ("car",),
    "suv": ("car",),
    "van": ("car",),
    "pickup": ("truck",),
    "lorry": ("truck",),
    "plane": ("airplane", "aeroplane"),
    "airplane": ("aeroplane",),
    "aircraft": ("airplane", "aeroplane"),
    "jet": ("airplane", "aeroplane"),
    "airliner": ("airplane", "aeroplane"),
    "ship": ("boat",),
    "sailboat": ("boat",),
    "canoe": ("boat",),
    "kayak": ("boat",),
    "puppy": ("dog",),
    "kitten": ("cat",),
    "kitty": ("cat",),
    "pony": ("horse",),
    "calf": ("cow",),
    "bull": ("cow",),
    "cattle": ("cow",),
    "lamb": ("sheep",),
    "duck": ("bird",),
    "pigeon": ("bird",),
    "seagull": ("bird",),
    "parrot": ("bird",),
    "couch": ("sofa",),
    "tv": ("tvmonitor", "monitor"),
    "television": ("tv", "tvmonitor"),
    "monitor": ("tv", "tvmonitor"),
    "fridge": ("refrigerator",),
    "stove": ("oven",),
    "phone": ("cellphone",),
    "smartphone": ("phone", "cellphone"),
    "cellphone": ("phone",),
    "computer": ("laptop",),
    "notebook": ("book",),
    "racquet": ("racket",),
    "doughnut": ("donut",),
    "table": ("diningtable",),
    "plant": ("pottedplant",),
    "hot dog": (),
    "hot plate": (),
    "teddy bear": ("toy",),
    "sea lion": (),
    "guinea pig": (),
    "polar bear": ("bear",),
    "toy car": ("toy",),
    "fire truck": ("truck",),
    "ice cream": (),
    "toilet paper": (),
    "parking lot": (),
    "parking meter": ("meter",),
}

_ES = re.compile(r"(ch|sh|ss|x|zz)es$|(?<=[^aeiou]us)es$")


def singular(word: str) -> str:
    """The singular of a lower-case noun; any other word mostly comes back as it is."""
    if word in _SINGULARS:
        return _SINGULARS[word]
    if len(word) < 4 or word in _UNCHANGED or not word.endswith("s"):
        return word
    if word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if _ES.search(word) else word[:-1]


def broader(term: str) -> tuple[str, ...]:
    """The terms that cover a term, in the singular: `moped` -> `motorcycle`, ..."""
    return _BROADER.get(term, ())


def kind_of(words: tuple[str, ...]) -> str:
    """What a name's words, in the singular, say that the thing is: its last word, or its last two
    where the last alone would mislead."""
    tail = " ".join(words[-2:])
    return tail if tail in _BROADER else words[-1] if words else ""
