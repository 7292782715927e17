"""The server as a program: ``python -m tests.openai_server``."""

import argparse
import asyncio
import json
import signal
import tempfile
from pathlib import Path
from typing import Any

from tests.openai_server.answers import good
from tests.openai_server.faults import Faults
from tests.openai_server.running import start
from tests.openai_server.state import KEY, ORG, Answer, State
from tests.openai_server.taught import last_user


def answers_of(file: Path | None) -> Answer:
    """Return what answers with the texts of a JSON file of {user text: answer}, and else as a good model does."""
    if file is None:
        return good
    answers: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))

    def answer(body: dict[str, Any]) -> str:
        return answers.get(last_user(body["messages"]), good(body))

    return answer


async def serve(state: State, port: int) -> None:
    """Serve until a signal ends it."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner, url = await start(state, port)
    key = next(iter(state.keys))
    print(f"{url} (ctrl-C ends it): export OPENAI_BASE_URL={url} OPENAI_API_KEY={key}", flush=True)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.openai_server",
        description=(
            "Serves the OpenAI API on this machine: files, batches, chat and fine-tuning. GET /control/state says what "
            "happened; GET and POST /control/faults show and set what goes wrong (the fields of faults.py)."
        ),
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--folder", type=Path, help="where the files lie; default: one that is removed at the end")
    parser.add_argument("--key", default=KEY, help=f"the key that it takes; default: {KEY}")
    parser.add_argument(
        "--answers", type=Path, help="JSON of {user text: answer} for the base models; default: good ones"
    )
    parser.add_argument("--faults", type=json.loads, default={}, help='JSON such as \'{"expire": 1, "corrupt": 0.1}\'')
    parser.add_argument("--steps", type=int, default=3, help="retrieves until a batch is done; default: 3")
    options = parser.parse_args()
    faults = Faults()
    try:
        faults.update(options.faults)
    except (ValueError, AttributeError) as error:
        parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="openai-server-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        state = State(
            folder,
            faults=faults,
            keys={options.key: ORG},
            answer=answers_of(options.answers),
            steps_per_batch=options.steps,
        )
        asyncio.run(serve(state, options.port))


if __name__ == "__main__":
    main()
