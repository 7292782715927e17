"""A server of the OpenAI API on this machine: files, batches, chat, fine-tuning, bills, and all that can go wrong."""

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
