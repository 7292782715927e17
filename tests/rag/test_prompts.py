import pytest

from catalog.errors import ShelfmarkError
from catalog.schema import PRESETS, Schema
from rag.prompts import DEFAULT_TEMPLATE, Prompt, read_template

SCHEMA = PRESETS["indoml"]
PRODUCT = {"text": "blmrs cdr", "retailer": "tesco", "price": 2.5}
NEAR = [
    {"text": "bulmers cider", "retailer": "tesco", "price": 2.0, "label": "a__b__c__bulmers", "found": "retailer"},
    {"text": "cider", "retailer": "", "price": None, "label": "a__b__c__own", "found": "any"},
]


def test_the_whole_prompt() -> None:
    system, user = Prompt(SCHEMA).messages(PRODUCT, NEAR, ["a__b__c__bulmers", "a__b__c__own"])
    assert system["role"] == "system"
    assert "supergroup__group__module__brand" in system["content"]
    assert "4 levels" in system["content"]
    assert user == {
        "role": "user",
        "content": """\
Similar products and their labels:
- "bulmers cider" | tesco | 2.00 -> a__b__c__bulmers
- "cider" -> a__b__c__own

Possible labels:
- a__b__c__bulmers
- a__b__c__own

Product: "blmrs cdr" | tesco | 2.50

Label:""",
    }


def test_the_system_message_is_the_same_for_every_product() -> None:
    prompt = Prompt(SCHEMA)
    one = prompt.messages(PRODUCT, NEAR, ["x"])
    other = prompt.messages({"text": "", "retailer": "", "price": None}, [], [])
    assert one[0] == other[0]
    assert other[1]["content"] == 'Product: ""\n\nLabel:'


def test_one_level_is_not_levels() -> None:
    schema = Schema("grades", "id", ("text",), ("grade",))
    assert "1 level, written" in Prompt(schema).messages(PRODUCT, [], [])[0]["content"]


def test_values_are_never_templates() -> None:
    nasty = {"text": "{{ 7 * 7 }} {% raw %} <b>&", "retailer": "{# x #}", "price": 0.0}
    content = Prompt(SCHEMA).messages(nasty, [], ["{{ x }}__</b>"])[1]["content"]
    assert '"{{ 7 * 7 }} {% raw %} <b>&" | {# x #} | 0.00' in content
    assert "- {{ x }}__</b>" in content


def test_own_wording(tmp_path) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% block system %}S{% endblock %}{% block user %}{{ product.text }}?{% endblock %}")
    assert [turn["content"] for turn in Prompt(SCHEMA, read_template(file)).messages(PRODUCT, [], [])] == [
        "S",
        "blmrs cdr?",
    ]


def test_a_copy_of_the_default_is_the_default(tmp_path) -> None:
    file = tmp_path / "copy.jinja"
    file.write_text(DEFAULT_TEMPLATE.read_text())
    assert Prompt(SCHEMA, read_template(file)).messages(PRODUCT, NEAR, ["x"]) == Prompt(SCHEMA).messages(
        PRODUCT, NEAR, ["x"]
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{% block system %}", "line 1: not a Jinja template"),
        ("{% block system %}{% endblock %}", "no block 'user'"),
        ("", "no block 'system'"),
    ],
)
def test_a_wrong_template(tmp_path, source: str, message: str) -> None:
    file = tmp_path / "own.jinja"
    file.write_text(source)
    with pytest.raises(ShelfmarkError, match=message):
        Prompt(SCHEMA, read_template(file))


def test_a_missing_template(tmp_path) -> None:
    with pytest.raises(ShelfmarkError, match="cannot be read"):
        read_template(tmp_path / "none.jinja")


@pytest.mark.parametrize(
    "wrong", ["{{ nothing }}", "{{ product.colour.name }}", "{{ product.text + 1 }}", "{{ 1 / 0 }}"]
)
def test_a_template_that_asks_for_what_is_not_there(tmp_path, wrong: str) -> None:
    file = tmp_path / "own.jinja"
    file.write_text("{% block system %}{% endblock %}{% block user %}" + wrong + "{% endblock %}")
    with pytest.raises(ShelfmarkError, match=r"the prompt template: .*product\.jinja"):
        Prompt(SCHEMA, read_template(file)).messages(PRODUCT, [], [])


def test_an_empty_system_block_is_no_turn() -> None:
    source = "{% block system %}{% endblock %}{% block user %}x{% endblock %}"
    assert Prompt(SCHEMA, source).messages(PRODUCT, [], []) == [{"role": "user", "content": "x"}]


def test_level_by_level_the_user_s_turn_asks_nothing_yet() -> None:
    prompt = Prompt(SCHEMA, by_level=True)
    system, user = prompt.messages(PRODUCT, NEAR, ["a__b__c__bulmers"])
    assert "one level at a time" in system["content"]
    assert user["content"].endswith('Product: "blmrs cdr" | tesco | 2.50')
    assert "Possible labels" not in user["content"]
    assert prompt.level("group", ["x", "y z"]) == "Possible values of group:\n- x\n- y z\n\nGroup:"


def test_a_template_without_the_level_block_uses_the_default_s() -> None:
    source = "{% block system %}{% endblock %}{% block user %}x{% endblock %}"
    assert Prompt(SCHEMA, source).level("brand", []) == "Brand:"


def words(messages) -> int:
    return sum(len(turn["content"].split()) for turn in messages)


@pytest.mark.parametrize("limit", range(75, 125, 3))
def test_no_request_is_longer_than_the_limit(limit: int) -> None:
    prompt = Prompt(SCHEMA)
    near = [{**NEAR[0], "text": f"neighbour {n}"} for n in range(4)]
    labels = [f"label {n}" for n in range(5)]
    made = prompt.within(PRODUCT, near, labels, count=words, limit=limit)
    assert words(made.messages) <= limit
    assert made.messages == prompt.messages(PRODUCT, near[: made.neighbours], labels[: made.candidates])
    # One more of what was dropped last would be too many.
    if made.neighbours < len(near):
        more = prompt.messages(PRODUCT, near[: made.neighbours + 1], labels[: made.candidates])
        assert words(more) > limit or made.candidates < len(labels)
    if made.candidates < len(labels):
        assert made.neighbours == 0
        assert words(prompt.messages(PRODUCT, [], labels[: made.candidates + 1])) > limit


def test_at_last_the_text_is_cut_but_the_best_candidate_stays() -> None:
    prompt = Prompt(SCHEMA)
    long = {**PRODUCT, "text": "word " * 500}
    made = prompt.within(long, NEAR, ["best", "other"], count=words, limit=85)
    assert words(made.messages) <= 85
    assert (made.neighbours, made.candidates) == (0, 1)
    assert "- best" in made.messages[1]["content"]
    assert "word word" in made.messages[1]["content"]


def test_a_limit_below_the_bare_question_is_refused() -> None:
    with pytest.raises(ShelfmarkError, match="--max-prompt-tokens 10: the bare question is longer"):
        Prompt(SCHEMA).within(PRODUCT, [], [], count=words, limit=10)
