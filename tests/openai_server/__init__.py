"""A server of the OpenAI API on this machine: files, batches, chat, fine-tuning, bills, and all that can go wrong.

In a test::

    with running(answer=lambda body: "shoes > boots") as server:
        server.faults.expire = 1  # the next batch expires half done
        client = OpenAI(base_url=server.url, api_key=KEY)
        ...
        assert server.state.processed()["row-1"] == 1

As a program: ``python -m tests.openai_server --help``.

A batch and a job move one step each time that they are retrieved, and nothing happens in between. The state is in
memory, the files are in a folder. Only supervised fine-tuning and chat completions without streaming are known, and
tools, images and formats of answers are taken and not looked at.
"""

from tests.openai_server.faults import Faults
from tests.openai_server.ledger import Bill, Ledger
from tests.openai_server.running import Server, running
from tests.openai_server.state import BASE_MODELS, KEY, ORG, State
from tests.openai_server.tokens import count_tokens, pieces

__all__ = [
    "BASE_MODELS",
    "KEY",
    "ORG",
    "Bill",
    "Faults",
    "Ledger",
    "Server",
    "State",
    "count_tokens",
    "pieces",
    "running",
]
