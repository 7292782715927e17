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
