"""The routes of files: uploads and downloads are streamed."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import BodyPartReader, web

from tests.openai_server.call import Call
from tests.openai_server.errors import ApiError
from tests.openai_server.paging import page
from tests.openai_server.storage import LARGEST, PURPOSES

CHUNK = 1 << 18


async def received(call: Call, path: Path) -> dict[str, str]:
    """Write the file of an upload to `path`; return its other fields, and the file's name as "filename"."""
    fields: dict[str, str] = {}
    reader = await call.request.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        if part.name != "file":
            fields[part.name or ""] = await part.text()
            continue
        fields["filename"], size = part.filename or "upload", 0
        with path.open("wb") as out:
            while chunk := await part.read_chunk(CHUNK):
                size += out.write(chunk)
                if size > LARGEST:
                    raise ApiError(413, "Maximum content size limit exceeded.")
    return fields


def kept(fields: dict[str, str]) -> int | None:
    """Return for how many seconds a file is to be kept."""
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at" or not (seconds or "").isdigit() or not 3600 <= int(seconds or 0) <= 2592000:
        raise ApiError(400, "Invalid 'expires_after': seconds must be from 3600 to 2592000.", param="expires_after")
    return int(seconds or 0)


async def create(call: Call) -> dict[str, Any]:
    path = call.state.new_path()
    try:
        fields = await received(call, path)
        purpose = fields.get("purpose", "")
        if not path.exists():
            raise ApiError(400, "Missing required parameter: 'file'.", "missing_required_parameter", "file")
        if purpose not in PURPOSES:
            raise ApiError(400, f"'{purpose}' is not one of {list(PURPOSES)} - 'purpose'", param="purpose")
        if purpose in ("batch", "fine-tune") and not fields["filename"].endswith(".jsonl"):
            name = "Batch" if purpose == "batch" else "Fine-Tuning"
            raise ApiError(400, f"Invalid file format for {name} API. Must be .jsonl")
        seconds = kept(fields)
    except BaseException as error:  # also when the client is gone in the middle
        path.unlink(missing_ok=True)
        if isinstance(error, KeyError | ValueError):
            raise ApiError(400, "The body is not a multipart form.") from None
        raise
    return call.state.add_file(call.org, path, fields["filename"], purpose, seconds).as_object()


async def listing(call: Call) -> dict[str, Any]:
    query, now = call.request.query, call.state.clock()
    files = [file for file in reversed(call.state.files.values()) if file.org == call.org and file.seen(now)]
    if query.get("purpose"):
        files = [file for file in files if file.purpose == query["purpose"]]
    if query.get("order") == "asc":
        files.reverse()
    return page([file.as_object() for file in files], query, limit=10_000, most=10_000)


async def retrieve(call: Call) -> dict[str, Any]:
    return call.state.file(call.org, call.id).as_object()


async def delete(call: Call) -> dict[str, Any]:
    state = call.state
    file = state.file(call.org, call.id)
    used = {batch.input.id for batch in state.batches.values() if not batch.ended}
    used |= {one.id for job in state.jobs.values() if not job.ended for one in (job.training, job.validation) if one}
    del state.files[file.id]
    if file.id not in used:
        file.path.unlink()
    return {"id": file.id, "object": "file", "deleted": True}


async def content(call: Call) -> web.StreamResponse:
    file = call.state.file(call.org, call.id)
    output = file.purpose == "batch_output" and "_output" in file.filename
    if output and call.state.faults.hit("gone_output"):
        raise ApiError(404, f"No such File object: {call.id}", param="id")
    if output and call.state.faults.hit("cut_lines"):
        lines = file.path.read_bytes().splitlines(keepends=True)
        return web.Response(body=b"".join(lines[: len(lines) // 2]), content_type="application/octet-stream")
    if not call.state.faults.hit("cut_file"):
        return web.FileResponse(file.path, headers={"Content-Type": "application/octet-stream"})
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length, left = file.bytes, file.bytes // 2
    await response.prepare(call.request)
    with file.path.open("rb") as source, suppress(ConnectionError):
        while left and (chunk := source.read(min(left, CHUNK))):
            await response.write(chunk)
            left -= len(chunk)
    if call.request.transport is not None:
        call.request.transport.close()
    return response
