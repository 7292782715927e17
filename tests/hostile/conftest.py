"""What tests of the command have, for tests of what somebody else made."""

from tests.classify.conftest import (  # noqa: F401
    _draw_nothing,
    _make_parser_once,
    _tune_quickly,
    command,
    finished,
    model,
    refused,
)
