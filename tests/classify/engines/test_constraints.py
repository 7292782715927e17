import json

from catalog.messages import Request
from classify.engines.constraints import JSON_LINE, answers, choices, json_schema, messages

ASKED = Request(
    "1-a",
    [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
    [("é", 'x"y'), ("a", "b")],
    [0.6, 0.4],
)


def test_answers_are_the_candidates() -> None:
    assert choices(ASKED) == ['é__x"y', "a__b"]
    assert answers(ASKED, "choice") == choices(ASKED)
    assert [json.loads(text) for text in answers(ASKED, "json")] == [{"label": label} for label in choices(ASKED)]
    assert answers(ASKED, "off") == []
    assert json_schema(ASKED)["properties"]["label"]["enum"] == choices(ASKED)


def test_only_json_changes_the_question() -> None:
    assert messages(ASKED, "choice") == messages(ASKED, "off") == ASKED.messages
    assert messages(ASKED, "json") == [ASKED.messages[0], {"role": "user", "content": f"u\n\n{JSON_LINE}"}]
    bare = Request("1-b", ASKED.messages)
    assert messages(bare, "json") == bare.messages
