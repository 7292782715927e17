"""Output files that are not as they should be."""

import json
from array import array
from pathlib import Path

from tests.openai_server.faults import Faults

WRONG_SHAPES = (
    b"[]",
    b"null",
    b'"text"',
    b'{"id": "batch_req_wrong", "custom_id": null, "response": null, "error": null}',
    b'{"id": "batch_req_wrong", "custom_id": 7, "response": {"status_code": 200, "body": []}, "error": null}',
)


def damage(path: Path, faults: Faults) -> None:
    """Rewrite an output file with the faults that its lines have."""
    chance = faults.random()
    offsets, offset = array("Q"), 0
    with path.open("rb") as lines:
        for line in lines:
            offsets.append(offset)
            offset += len(line)
    if faults.hit("shuffle"):
        chance.shuffle(offsets)
    target = path.with_name(path.name + ".damaged")
    with path.open("rb") as source, target.open("wb") as out:
        for place in offsets:
            source.seek(place)
            line = source.readline().rstrip(b"\n")
            end = b"\r\n" if faults.hit("crlf") else b"\n"
            if faults.hit("unknown"):
                out.write(stranger(line, chance.getrandbits(64)) + end)
            if faults.hit("blank"):
                out.write(end)
            if faults.hit("drop"):
                continue
            copies = 2 if faults.hit("repeat") else 1
            if faults.hit("corrupt"):
                line = corrupted(line, faults)
            out.write((line + end) * copies)
    target.replace(path)


def stranger(line: bytes, number: int) -> bytes:
    """Return a line as good as this one, for a row that was never asked."""
    return json.dumps(json.loads(line) | {"custom_id": f"never-asked-{number:x}"}).encode()


def corrupted(line: bytes, faults: Faults) -> bytes:
    """Return a line cut in two, of random bytes, or of another shape."""
    chance = faults.random()
    kind = chance.randrange(3)
    if kind == 0:
        return line[: chance.randrange(1, len(line))]
    if kind == 1:
        return b"\xff" + chance.randbytes(40).replace(b"\n", b"\x00").replace(b"\r", b"\x00")
    return chance.choice(WRONG_SHAPES)
