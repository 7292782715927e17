import json

import pytest

from catalog.taxonomy import Taxonomy
from postprocess.parse import parse

CIDER = ("beverages alcoholic", "cider", "cider", "bulmers")
PASTA = ("pantry", "sauces", "pizza & pasta", "leggo's")
NAMES = ("supergroup", "group", "module", "brand")


def as_object(path):
    return json.dumps(dict(zip(NAMES, path, strict=True)), ensure_ascii=False)


@pytest.mark.parametrize("path", [CIDER, PASTA])
@pytest.mark.parametrize(
    "write",
    [
        "__".join,
        lambda path: "__".join(path) + "|",
        lambda path: "__".join(path).upper() + " ||\n",
        lambda path: "__".join(path) + "|</s>",
        " __ ".join,
        "_".join,
        " > ".join,
        "/".join,
        "|".join,
        "".join,
        " ".join,
        "\n".join,
        as_object,
        lambda path: f"```json\n{as_object(path)}\n```",
        lambda path: f"Sure! {as_object(path)} Anything else {{so}}?",
        lambda path: as_object(path)[:-1],
        lambda path: as_object(path)[:-2],
        lambda path: json.dumps([json.loads(as_object(path))] * 2),
        lambda path: json.dumps({"answer": {"label": json.loads(as_object(path))}}),
        lambda path: json.dumps({"label": "__".join(path)}),
        lambda path: json.dumps(list(path)),
        lambda path: json.dumps({name: [value] for name, value in zip(NAMES, path, strict=True)}),
        lambda path: json.dumps(dict(reversed(list(zip(NAMES, path, strict=True))))),
        lambda path: repr(dict(zip(NAMES, path, strict=True))),
        lambda path: "{" + ", ".join(f"'{name}': '{value}'" for name, value in zip(NAMES, path, strict=True)) + ",}",
        lambda path: "{" + ", ".join(f"{name}: {value}" for name, value in zip(NAMES, path, strict=True)) + "}",
        lambda path: as_object(path).replace("supergroup", "Super Group").replace("brand", "brand_name"),
        lambda path: as_object(path).replace('"supergroup"', '"department"'),
        lambda path: '{"id": 3, "why": "it says so", ' + as_object(path)[1:],
        lambda path: "\n".join(f"{name.title()}: {value}" for name, value in zip(NAMES, path, strict=True)),
        lambda path: "\n".join(f"- **{name}**: {value}" for name, value in zip(NAMES, path, strict=True)),
        lambda path: ", ".join(f"{name} = {value}" for name, value in zip(NAMES, path, strict=True)),
        lambda path: f"The label is: {'__'.join(path)}",
        lambda path: f'I think it is "{"__".join(path)}". Tell me if not.',
        lambda path: f"{'__'.join(path)}\n{'__'.join(path)}",
        lambda path: f"{'__'.join(path)}|{'__'.join(path)}",
    ],
)
def test_every_way_to_write_a_label(taxonomy, path, write):
    parsed = parse(write(path), taxonomy)
    values = parsed.parts or parsed.values
    assert [value.lower() for value in values] == list(path)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I cannot classify this product.",
        "unknown",
        "N/A",
        "None of the labels match.",
        "Not enough information to say.",
        "As an AI language model, I do not know.",
    ],
)
def test_refusals(taxonomy, answer):
    parsed = parse(answer, taxonomy)
    assert parsed.how == "refusal"
    assert not parsed.usable


@pytest.mark.parametrize("answer", ["", " \n\t", "|", "```json\n```", "{}", '""', "\ufeff", "____", "!!!"])
def test_empty_answers(taxonomy, answer):
    assert parse(answer, taxonomy).how == "empty"


def test_a_label_that_contains_unknown_is_no_refusal(taxonomy):
    assert parse("automotive__automotive detail unknown total__automotive__recipt", taxonomy).usable
    assert parse("automotive detail unknown total", taxonomy).usable


def test_values_with_separators_inside_stay_whole(taxonomy):
    assert parse("pantry/beans/energy gels/tablets/six|star", taxonomy).values[2:] == (
        "energy gels/tablets",
        "six|star",
    )
    assert parse("pantry__beans__energy gels/tablets__six|star", taxonomy).values[3] == "six|star"
    assert parse("pantry, sauces, ketchup, mustard, hienz", taxonomy).parts == (
        "pantry",
        "sauces",
        "ketchup, mustard",
        "hienz",
    )


def test_a_missing_level_is_none(taxonomy):
    assert parse('{"supergroup": "pantry", "brand": "heinz"}', taxonomy).values == ("pantry", None, None, "heinz")
    assert parse("pantry____beans baked__heinz", taxonomy).values == ("pantry", None, "beans baked", "heinz")


def test_numbers_are_brands_too(taxonomy):
    assert parse('{"module": "cider", "brand": 7}', taxonomy).values == (None, None, "cider", "7")


def test_a_value_of_signs_alone_is_an_answer():
    signs = Taxonomy(("grade",), {("+",): 1, ("++",): 1})
    assert parse("++", signs).parts == ("++",)


def test_deep_nesting_is_no_error(taxonomy):
    for answer in ("[" * 3000, '{"a":' * 3000, "{" * 3000 + "}" * 3000, '{"supergroup": ' * 40 + '"pantry"'):
        parse(answer, taxonomy)


KETCHUP = ("pantry", "sauces", "ketchup, mustard", "heinz")
JOINED, OTHER = "__".join(CIDER), "__".join(PASTA)
LINES = "\n".join(f"{name}: {value}" for name, value in zip(NAMES, CIDER, strict=True))


@pytest.mark.parametrize(
    "answer",
    [
        f"Based on [the description], I choose {JOINED}",
        f"[INFO] {JOINED}",
        " > ".join(CIDER) + " [source: label]",
        '{"thoughts": "none"}\n' + JOINED,
        '{"indoml_id": 0, "description": "heinz ketchup", "retailer": "pantry"}\n' + JOINED,
        'Input was {"description": "heinz beans"}. Output: ' + as_object(CIDER),
        f"<think>maybe {OTHER}, but no</think>\n{JOINED}",
        f"maybe {as_object(PASTA)}, but no</think>\n{as_object(CIDER)}",
        f"{JOINED}\n<think>or {OTHER}",
        "<think>" + "well " * 3000 + f"</think>{JOINED}",
        "well, " * 2000 + JOINED,
        "well, " * 2000 + as_object(CIDER),
        f"not {OTHER} but {JOINED}",
        f"{JOINED}, not {OTHER}",
        '{"original_brand": "heinz", "module_reasoning": "not beans baked", "supergroup_id": 3, "age_group": "adult", '
        '"brand_candidates": ["heinz", "bulmers"], "group_confidence": 0.3, ' + as_object(CIDER)[1:],
        'Format: {"supergroup": "...", "group": "...", "module": "...", "brand": "..."}\nAnswer: ' + as_object(CIDER),
        json.dumps(dict(zip(NAMES[:2], CIDER[:2], strict=True)))
        + json.dumps(dict(zip(NAMES[2:], CIDER[2:], strict=True))),
        as_object(CIDER).replace('"bulmers"', '{"bulmers": true}'),
        as_object(CIDER).replace("bulmers", "bulmers (a guess)"),
        f"Not sure, but: {' > '.join(CIDER)}",
        f"{' > '.join(CIDER)} (not sure)",
        f"supergroup__group__module__brand: {' > '.join(CIDER)}",
        f"{' > '.join(CIDER)} (format supergroup__group__module__brand)",
        " ".join([JOINED] * 100),
        "| supergroup | group | module | brand |\n|---|---|---|---|\n| " + " | ".join(CIDER) + " |",
        "| Level | Value |\n|---|---|\n"
        + "\n".join(f"| {name} | {value} |" for name, value in zip(NAMES, CIDER, strict=True)),
        "\n".join(f"<{name}>{value}</{name}>" for name, value in zip(NAMES, CIDER, strict=True)),
        "\n".join(f"<a>{value}</a>" for value in CIDER),
        "\n".join(f"{number}. {value}" for number, value in enumerate(CIDER)),
        "<br>".join(CIDER),
        "\\n".join(CIDER),
        JOINED.replace("_", "\\_"),
        JOINED.replace("__", "\\u005f\\u005f"),
        JOINED.replace(" ", "%20"),
        json.dumps(as_object(CIDER)),
        "__".join(f"{value}[{name}]" for name, value in zip(NAMES, CIDER, strict=True)),
        LINES.replace("module: cider", "module: not coffee but cider"),
    ],
)
def test_a_label_is_found_wherever_it_stands(taxonomy, answer):
    parsed = parse(answer, taxonomy)
    assert (parsed.values, parsed.others) == (CIDER, ())


@pytest.mark.parametrize("sign", ["&amp;", "\\u0026", "&#38;"])
def test_entities_and_escapes_are_undone(taxonomy, sign):
    assert parse(OTHER.replace("&", sign), taxonomy).values == PASTA


@pytest.mark.parametrize(
    ("answer", "label", "others"),
    [
        (f"{OTHER}\nCorrection: {JOINED}", CIDER, (OTHER,)),
        (f"{as_object(PASTA)}\nCorrection: {as_object(CIDER)}", CIDER, (OTHER,)),
        (f"{OTHER}. Wait, no: {as_object(CIDER)}", CIDER, (OTHER,)),
        (LINES.replace("cider", "coffee") + "\nCorrection:\n" + LINES, CIDER, None),
        (f"{JOINED}|{OTHER}", CIDER, (OTHER,)),
        (f"[{as_object(CIDER)}, {as_object(PASTA)}]", CIDER, (OTHER,)),
        (as_object(CIDER).replace('"bulmers"', '["heinz", "bulmers"]'), CIDER, ("heinz",)),
        (f"{as_object(KETCHUP)}\nThe module is pizza & pasta", KETCHUP, None),
        (f"{JOINED}\n{JOINED[:-3]}", CIDER, ()),
    ],
)
def test_of_two_labels_one_holds_and_the_other_is_told(taxonomy, answer, label, others):
    parsed = parse(answer, taxonomy)
    assert parsed.label == label
    assert others is None or parsed.others == others


@pytest.mark.parametrize(
    "nothing", ["unknown", "N/A", "not specified", "NaN", "none", "<brand>", "Brand", "string", "null", "...", "…"]
)
def test_a_placeholder_is_no_value(taxonomy, nothing):
    path = (*CIDER[:3], nothing)
    for answer in ("__".join(path), as_object(path), LINES.replace("bulmers", nothing)):
        assert parse(answer, taxonomy).values == (*CIDER[:3], None)


def test_a_placeholder_that_the_taxonomy_knows_is_a_value():
    odd = Taxonomy(("module", "brand"), {("gin", "unknown"): 1, ("brand", "none"): 1, ("rum", "x"): 1})
    assert parse("rum__unknown", odd).values == ("rum", "unknown")
    assert parse("brand__none", odd).label == ("brand", "none")
    assert parse("supergroup__group__module__brand", Taxonomy(NAMES, {CIDER: 1})).how == "refusal"


def test_a_label_that_runs_on_is_not_cut():
    shelves = Taxonomy(("module", "brand"), {("sauce", "coles"): 9, ("sauce", "coles simply"): 1})
    assert parse("sauce__coles sumply", shelves).values == ("sauce", "coles sumply")
    assert parse("sauce__coles is right.", shelves).label == ("sauce", "coles")


def test_refusal_words_beside_values_are_talk(taxonomy):
    assert parse("coffee, heinz (uncertain)", taxonomy).parts == ("coffee", "heinz")
    assert parse("I'm not sure. coffee", taxonomy).text == "coffee"
    assert parse("Sorry - evian", taxonomy).text == "evian"
