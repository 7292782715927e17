"""What a fine-tuned model knows: the examples of its training file."""

import json
import re
from collections import Counter, defaultdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from tests.openai_server.tokens import count_tokens

LEAST_EXAMPLES = 10
EXAMPLES_OF_WORD, WORDS_OF_TEXT = 64, 24
WORD = re.compile(r"\w+")


class BadTrainingFileError(Exception):
    """A training file that no model can be trained on."""


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or parts."""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def last_user(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, or nothing."""
    return next((text_of(message.get("content")) for message in reversed(messages) if message["role"] == "user"), "")


def digest(text: str) -> bytes:
    """Return what stands for a text, so that the texts of a large file need not be held."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


class Taught:
    """User messages and the assistant messages that follow them.

    The answer to another message is that of the example that shares most words with it, the first of several. Of a
    message only its rarest words count, and of a word the first examples: rows are answered fast, whatever their words.
    """

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.tokens = 0
        self._exact: dict[bytes, int] = {}
        self._examples: defaultdict[str, list[int]] = defaultdict(list)
        self._frequency: Counter[str] = Counter()

    def learn(self, messages: list[dict[str, Any]]) -> None:
        """Take one example."""
        number = len(self.answers)
        last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
        user = last_user(messages[:last])
        self.answers.append(text_of(messages[last].get("content")))
        self.tokens += sum(count_tokens(text_of(message.get("content"))) for message in messages)
        self._exact.setdefault(digest(user), number)
        for word in dict.fromkeys(WORD.findall(user.lower())):
            self._frequency[word] += 1
            if len(self._examples[word]) < EXAMPLES_OF_WORD:
                self._examples[word].append(number)

    def answer(self, user: str) -> str:
        """Return what the model answers to a user message."""
        exact = self._exact.get(digest(user))
        if exact is not None:
            return self.answers[exact]
        words = [word for word in dict.fromkeys(WORD.findall(user.lower())) if word in self._frequency]
        words = sorted(words, key=lambda word: self._frequency[word])[:WORDS_OF_TEXT]
        shared = Counter(number for word in words for number in self._examples[word])
        if not shared:
            return self.answers[0]
        most = max(shared.values())
        return self.answers[min(number for number, count in shared.items() if count == most)]


def read_examples(path: Path, file: str) -> Taught:
    """Read a training or validation file as the API checks it."""
    taught = Taught()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                messages = json.loads(line)["messages"]
            except (ValueError, TypeError, KeyError):
                raise BadTrainingFileError(f"Line {number} of {file} is not a JSON object with 'messages'.") from None
            if not isinstance(messages, list) or not all(
                isinstance(message, dict) and isinstance(message.get("role"), str) for message in messages
            ):
                raise BadTrainingFileError(f"Line {number} of {file}: each message must be an object with a 'role'.")
            if all(message["role"] != "assistant" for message in messages):
                raise BadTrainingFileError(
                    f"Line {number} of {file} must have at least one message from the assistant."
                )
            taught.learn(messages)
    return taught


def read_training(path: Path, file: str) -> Taught:
    """Read a training file: it must hold enough examples."""
    taught = read_examples(path, file)
    if len(taught.answers) < LEAST_EXAMPLES:
        raise BadTrainingFileError(
            f"Training file has {len(taught.answers)} example(s), but must have at least {LEAST_EXAMPLES} examples."
        )
    return taught
