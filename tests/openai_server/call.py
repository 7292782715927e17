"""One call of the API: who calls, and what is wrong on the way."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.openai_server.errors import ApiError, rate_limited, server_error, unknown_key
from tests.openai_server.state import State

STATE: web.AppKey[State] = web.AppKey("state", State)


@dataclass(frozen=True)
class Call:
    """What a route gets."""

    request: web.Request
    state: State
    key: str
    org: str

    @property
    def id(self) -> str:
        """The object's id in the address."""
        return self.request.match_info["id"]

    async def json(self) -> dict[str, Any]:
        """Return the JSON object in the body."""
        try:
            body = json.loads(await self.request.read())
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiError(400, "We could not parse the JSON body of your request.")
        return body


Route = Callable[[Call], Awaitable[dict[str, Any] | web.StreamResponse]]


class DroppedError(Exception):
    """The connection is to be dropped without an answer."""


def failing(state: State, route: str, moment: str) -> None:
    """Raise what goes wrong before ("http") or after the work of a call."""
    faults = state.faults
    routes = faults.http_routes if moment == "http" else faults.after_routes
    if routes and route not in routes:
        return
    if faults.hit(f"{moment}_drop"):
        raise DroppedError
    if moment == "http" and faults.hit("http_429"):
        raise rate_limited()
    if faults.hit(f"{moment}_500"):
        raise server_error()
    if moment == "http" and faults.hit("http_503"):
        raise server_error(503)


def handler(name: str, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return what aiohttp calls for a route of the API."""

    async def handle(request: web.Request) -> web.StreamResponse:
        state = request.app[STATE]
        state.calls[name] += 1
        state.faults.clock_offset += state.faults.clock_jump
        key = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        headers = {"x-request-id": state.new_id("req_"), "openai-version": "2020-10-01"}
        if key in state.keys:
            headers["openai-organization"] = state.keys[key]
        try:
            failing(state, name, "http")
            if key not in state.keys:
                raise unknown_key(key)
            answer = await route(Call(request, state, key, state.keys[key]))
            failing(state, name, "after")
        except (DroppedError, ConnectionError, web.RequestPayloadError):  # the last two: the client is gone
            return dropped(request)
        except ApiError as error:
            if error.status == 503 or error.error["type"] == "requests":
                headers["Retry-After"] = f"{state.faults.retry_after:g}"
            await request.release()  # a client that is still sending reads no answer
            return web.json_response(error.body(), status=error.status, headers=headers)
        if isinstance(answer, dict):
            return web.json_response(answer, headers=headers)
        answer.headers.update(headers)
        return answer

    return handle


def dropped(request: web.Request) -> web.Response:
    """Close the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


async def unknown_route(request: web.Request) -> web.Response:
    """Answer an address that the API does not have."""
    error = ApiError(404, f"Invalid URL ({request.method} {request.path})", "unknown_url")
    return web.json_response(error.body(), status=404)
