"""Lists in pages, and the pairs of strings that objects carry."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.openai_server.errors import ApiError

PAIRS, KEY_LENGTH, VALUE_LENGTH = 16, 64, 512


def page(items: Sequence[dict[str, Any]], query: Mapping[str, str], *, limit: int, most: int) -> dict[str, Any]:
    """Return the page of `items` that a query asks for with `limit` and `after`."""
    try:
        asked = int(query.get("limit", limit))
    except ValueError:
        raise ApiError(400, "Invalid 'limit': not an integer.", "invalid_type", "limit") from None
    if asked < 1:
        message = f"Invalid 'limit': integer below minimum value. Expected a value >= 1, but got {asked} instead."
        raise ApiError(400, message, "integer_below_min_value", "limit")
    if asked > most:
        message = f"Invalid 'limit': integer above maximum value. Expected a value <= {most}, but got {asked} instead."
        raise ApiError(400, message, "integer_above_max_value", "limit")
    begin, after = 0, query.get("after")
    if after:
        places = [place for place, item in enumerate(items) if item["id"] == after]
        if not places:
            raise ApiError(404, f"No object found with id '{after}'.", param="after")
        begin = places[0] + 1
    data = list(items[begin : begin + asked])
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": begin + asked < len(items),
    }


def checked_metadata(metadata: Any) -> dict[str, str] | None:
    """Return metadata if the API takes it."""
    if metadata is None:
        return None
    if not isinstance(metadata, dict):
        raise ApiError(400, "Invalid type for 'metadata': expected an object.", "invalid_type", "metadata")
    if len(metadata) > PAIRS:
        message = (
            f"Invalid 'metadata': too many properties. Expected an object with at most {PAIRS} properties, but got an "
            f"object with {len(metadata)} properties instead."
        )
        raise ApiError(400, message, "object_above_max_properties", "metadata")
    for key, value in metadata.items():
        if not isinstance(value, str):
            message = f"Invalid type for 'metadata.{key}': expected a string."
            raise ApiError(400, message, "invalid_type", f"metadata.{key}")
        if len(key) > KEY_LENGTH or len(value) > VALUE_LENGTH:
            what, most = ("key", KEY_LENGTH) if len(key) > KEY_LENGTH else ("value", VALUE_LENGTH)
            message = f"Invalid 'metadata.{key}': {what} too long. Expected a string with maximum length {most}."
            raise ApiError(400, message, "string_above_max_length", f"metadata.{key}")
    return metadata
