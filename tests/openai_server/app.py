"""All routes but those of files."""

import re
from typing import Any

from aiohttp import web

from tests.openai_server import file_routes
from tests.openai_server.batches import Batch, advance, cancel_batch, create_batch
from tests.openai_server.call import STATE, Call, Route, handler, unknown_route
from tests.openai_server.chat import complete
from tests.openai_server.errors import ApiError, no_money
from tests.openai_server.ledger import Bill
from tests.openai_server.paging import page
from tests.openai_server.state import State
from tests.openai_server.tuning import Job, advance_job, cancel_job, create_job

LONGEST_BODY = 32 * 1024**2
ASKED_PAIR = re.compile(r"metadata\[(.*)\]")


def batch_of(call: Call) -> Batch:
    """Return the batch in the address; each call is a look at it."""
    batch = call.state.batches.get(call.id)
    if batch is None or batch.org != call.org or not batch.seen():
        raise ApiError(404, f"No batch found with id '{call.id}'.")
    return batch


def shown(call: Call, batch: Batch) -> dict[str, Any]:
    faults = call.state.faults
    odd = {**faults.batch_fields, **(faults.ended_fields if batch.ended else {})}
    return {**batch.as_object(legacy=faults.legacy), **odd}


async def new_batch(call: Call) -> dict[str, Any]:
    batch = create_batch(call.state, call.org, call.key, await call.json())
    return {**shown(call, batch), **call.state.faults.made_fields}


async def list_batches(call: Call) -> dict[str, Any]:
    batches = [batch for batch in reversed(call.state.batches.values()) if batch.org == call.org and batch.seen()]
    return page([shown(call, batch) for batch in batches], call.request.query, limit=20, most=100)


async def get_batch(call: Call) -> dict[str, Any]:
    batch = batch_of(call)
    advance(call.state, batch)
    return shown(call, batch)


async def stop_batch(call: Call) -> dict[str, Any]:
    batch = batch_of(call)
    cancel_batch(call.state, batch)
    return shown(call, batch)


async def chat(call: Call) -> dict[str, Any]:
    body = await call.json()
    if call.key in call.state.poor:
        raise no_money()
    answer = complete(call.state, call.org, body)
    usage = answer["usage"]
    tokens = usage["prompt_tokens"], usage["completion_tokens"]
    call.state.ledger.append(Bill(call.org, "chat", answer["id"], None, answer["model"], *tokens))
    return call.state.made_odd(answer)


async def list_models(call: Call) -> dict[str, Any]:
    return {"object": "list", "data": call.state.models(call.org)}


async def get_model(call: Call) -> dict[str, Any]:
    found = [model for model in call.state.models(call.org) if model["id"] == call.id]
    if not found:
        raise ApiError(404, f"The model '{call.id}' does not exist", "model_not_found", "model")
    return found[0]


def job_of(call: Call) -> Job:
    job = call.state.jobs.get(call.id)
    if job is None or job.org != call.org:
        raise ApiError(404, f"Could not find fine tune: {call.id}", "fine_tune_not_found", "fine_tune_id")
    return job


async def new_job(call: Call) -> dict[str, Any]:
    return create_job(call.state, call.org, call.key, await call.json()).as_object()


async def list_jobs(call: Call) -> dict[str, Any]:
    query = call.request.query
    asked = {found[1]: value for name, value in query.items() if (found := ASKED_PAIR.fullmatch(name))}
    jobs = [
        job.as_object()
        for job in reversed(call.state.jobs.values())
        if job.org == call.org and asked.items() <= (job.metadata or {}).items()
    ]
    return page(jobs, query, limit=20, most=100)


async def get_job(call: Call) -> dict[str, Any]:
    job = job_of(call)
    advance_job(call.state, job)
    return job.as_object()


async def stop_job(call: Call) -> dict[str, Any]:
    job = job_of(call)
    cancel_job(call.state, job)
    return job.as_object()


async def list_events(call: Call) -> dict[str, Any]:
    return page(job_of(call).events[::-1], call.request.query, limit=20, most=100)


async def list_checkpoints(call: Call) -> dict[str, Any]:
    job_of(call)
    return page([], call.request.query, limit=10, most=100)


ROUTES: dict[str, Route] = {
    "POST /v1/files": file_routes.create,
    "GET /v1/files": file_routes.listing,
    "GET /v1/files/{id}": file_routes.retrieve,
    "DELETE /v1/files/{id}": file_routes.delete,
    "GET /v1/files/{id}/content": file_routes.content,
    "POST /v1/batches": new_batch,
    "GET /v1/batches": list_batches,
    "GET /v1/batches/{id}": get_batch,
    "POST /v1/batches/{id}/cancel": stop_batch,
    "POST /v1/chat/completions": chat,
    "GET /v1/models": list_models,
    "GET /v1/models/{id}": get_model,
    "POST /v1/fine_tuning/jobs": new_job,
    "GET /v1/fine_tuning/jobs": list_jobs,
    "GET /v1/fine_tuning/jobs/{id}": get_job,
    "POST /v1/fine_tuning/jobs/{id}/cancel": stop_job,
    "GET /v1/fine_tuning/jobs/{id}/events": list_events,
    "GET /v1/fine_tuning/jobs/{id}/checkpoints": list_checkpoints,
}


async def show_state(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].summary())


async def show_faults(request: web.Request) -> web.Response:
    return web.json_response(request.app[STATE].faults.as_dict())


async def set_faults(request: web.Request) -> web.Response:
    try:
        request.app[STATE].faults.update(await request.json())
    except (ValueError, AttributeError) as error:
        return web.json_response(ApiError(400, str(error)).body(), status=400)
    return await show_faults(request)


def make_app(state: State) -> web.Application:
    """Return the server of a state."""
    app = web.Application(client_max_size=LONGEST_BODY)
    app[STATE] = state
    for name, route in ROUTES.items():
        method, path = name.split()
        app.router.add_route(method, path, handler(name, route))
    app.router.add_get("/control/state", show_state)
    app.router.add_get("/control/faults", show_faults)
    app.router.add_post("/control/faults", set_faults)
    app.router.add_route("*", "/{tail:.*}", unknown_route)
    return app
