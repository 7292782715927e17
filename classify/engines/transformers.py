"""transformers: a model in this process, one batch after the other. For small models, on any machine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal

from pydantic import Field

from catalog.errors import ShelfmarkError, first_line, require
from catalog.hub import not_loaded
from catalog.messages import Completion, Request
from classify.engines import adapters
from classify.engines.base import ModelOptions
from classify.engines.constraints import whole_answers
from classify.engines.forms import AnswerForm, Answers
from classify.engines.local import chat_tokens, draw_seed, hush, too_long
from classify.engines.logprobs import ALTERNATIVES
from classify.engines.vocabulary import ByteStep, Vocabulary, byte_logprobs

STATES = 20_000
"""Beginnings of answers of which it is remembered how they go on: rows have most of them in common."""
WINDOW = 4  # batches drawn at once and sorted by length, so that little of a batch is padding
SMALLER = "take a smaller model, or --device cpu"


class TransformersOptions(ModelOptions):
    """What a user chooses of the engine ``transformers``.

    Attributes
    ----------
    llm : str
        A folder or a name on the Hugging Face hub.
    batch_size : int
        Requests answered together.
    device : str
        ``auto`` is a GPU where there is one, else ``cpu``; else as torch names it (``cuda:1``).
    dtype : {'auto', 'float32', 'bfloat16', 'float16'}
        Of the weights; ``auto`` as they are stored.
    quantization : {'none', '4bit'}
        ``4bit`` (bitsandbytes, nf4) is made of the weights when they are loaded. A model that is stored quantized needs
        none.
    adapter : str
        A folder with a LoRA adapter (peft) of the model.
    """

    free = frozenset({"batch_size", "device"})

    llm: str = "meta-llama/Llama-3.1-8B-Instruct"
    batch_size: int = Field(default=8, ge=1, le=1024)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["none", "4bit"] = "none"
    adapter: str = ""


class TransformersEngine:
    """Plain generation with a Hugging Face model; a constraint allows what continues one of the answers.

    Sums differ in their last digits with the requests that share a batch, so no bytes are promised.
    """

    name = "transformers"
    needs = "torch", "embed"
    options_class = TransformersOptions
    deterministic = False

    def __init__(self, options: TransformersOptions) -> None:
        self.options = options
        self.form: AnswerForm | None = None
        self.report: dict[str, Any] = {}
        self._model: Any = None
        self._tokenizer: Any = None
        self._vocabulary: Vocabulary
        self._onward = lru_cache(maxsize=STATES)(lambda answers, written: self._vocabulary.onward(answers, written))
        self._ends: list[int]
        self._context: float

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request; a few batches are drawn at once and answered longest first."""
        waiting = iter(requests)
        while window := list(itertools.islice(waiting, WINDOW * self.options.batch_size)):
            self._load()
            asked: list[tuple[Request, list[int]]] = []
            for request in window:
                prompt = chat_tokens(self._tokenizer, request, self.options.constrain, self.options.llm)
                if len(prompt) >= self._context:
                    problem = too_long(len(prompt), int(self._context))
                    yield Completion(request.id, prompt_tokens=len(prompt), error=problem)
                else:
                    asked.append((request, prompt))
            asked.sort(key=lambda pair: -len(pair[1]))
            for start in range(0, len(asked), self.options.batch_size):
                yield from self._answer(asked[start : start + self.options.batch_size])

    def _load(self) -> None:
        if self._model is not None:
            return
        torch = require("torch", "embed")
        library = require("transformers", "embed")
        hush(library.utils.logging.disable_progress_bar)
        options = self.options
        device = options.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        if options.adapter:
            adapters.adapter_config(options.adapter)
        more: dict[str, Any] = {}
        if options.quantization == "4bit":
            require("bitsandbytes", "lora")
            on_gpu = device.startswith("cuda")
            more["quantization_config"] = library.BitsAndBytesConfig(
                load_in_4bit=True,
                bnb_4bit_quant_type="nf4",
                bnb_4bit_use_double_quant=True,
                bnb_4bit_compute_dtype=torch.bfloat16 if on_gpu else torch.float32,
            )
            more["device_map"] = {"": device}  # weights that are packed are not moved afterwards
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(options.llm, trust_remote_code=False)
            model = library.AutoModelForCausalLM.from_pretrained(
                options.llm, dtype=options.dtype, trust_remote_code=False, **more
            )
        except Exception as error:  # the library raises many kinds
            raise not_loaded("--llm", options.llm, error, SMALLER) from None
        quantized = bool(getattr(model, "is_quantized", False))
        if options.adapter:
            model = adapters.put_on(model, options.adapter, options.llm)
        try:
            model = (model if quantized else model.to(device)).eval()  # packed weights are where they belong
        except torch.cuda.OutOfMemoryError as error:
            raise not_loaded("--llm", options.llm, error, SMALLER) from None
        except (RuntimeError, AssertionError) as error:  # what torch raises for a device that it does not know or have
            raise ShelfmarkError(f"--device {device}: cannot be used ({first_line(error)}); try --device cpu") from None
        tokenizer.padding_side = "left"
        ends = model.generation_config.eos_token_id
        own = [ends] if isinstance(ends, int) else list(ends or [])
        # The tokenizer's own end comes first: it is the one that a grammar writes.
        self._ends = list(
            dict.fromkeys([*([tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []), *own])
        )
        if not self._ends:
            raise ShelfmarkError(f"--llm {options.llm}: its tokenizer has no end token; take a model tuned for chat")
        # What the model's makers recommend (penalties, a temperature) is not what was asked for.
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self._ends[0]
        model.generation_config = library.GenerationConfig(eos_token_id=self._ends, pad_token_id=pad)
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self._context = context or math.inf
        self._vocabulary = Vocabulary(tokenizer)
        self._model, self._tokenizer = model, tokenizer
        self.report.update(
            model=options.llm,
            transformers=library.__version__,
            torch=torch.__version__,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            quantization="4bit" if more else "as stored" if quantized else "none",
            **({"adapter": options.adapter} if options.adapter else {}),
        )

    def _answer(self, asked: list[tuple[Request, list[int]]]) -> Iterator[Completion]:
        import torch

        width = max(len(prompt) for _, prompt in asked)
        pad = self._model.generation_config.pad_token_id
        ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for _, prompt in asked])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for _, prompt in asked])
        limits = [
            int(min(self.options.max_tokens or request.max_tokens, self._context - len(prompt)))
            for request, prompt in asked
        ]
        writers = [
            _Writer(request, limit, self, whole_answers(request, self.options.constrain, self.form))
            for (request, _), limit in zip(asked, limits, strict=True)
        ]

        def step(tokens: Any, scores: Any) -> Any:
            return _choose(writers, tokens[:, width:], scores)

        try:
            with torch.inference_mode():
                self._model.generate(
                    input_ids=ids.to(self._model.device),
                    attention_mask=mask.to(self._model.device),
                    logits_processor=[step],
                    max_new_tokens=max(limits),
                    do_sample=False,
                )
        except torch.cuda.OutOfMemoryError as error:
            raise ShelfmarkError(
                f"--batch-size {self.options.batch_size}: not enough memory on the GPU ({first_line(error)}); "
                "take a smaller one"
            ) from None
        for writer, (_, prompt) in zip(writers, asked, strict=True):
            yield writer.completion(len(prompt))


class _Writer:
    """The answer to one request, as it is written."""

    def __init__(self, request: Request, limit: int, engine: TransformersEngine, answers: Answers | None) -> None:
        import torch

        self.request, self.limit, self.ends = request, limit, engine._ends
        self.constrain = engine.options.constrain
        self.temperature = engine.options.temperature
        self.vocabulary = engine._vocabulary
        self.answers = answers
        # What follows is remembered where other requests have the same answers.
        self.onward = self.vocabulary.onward if request.candidates else engine._onward
        self.written: list[int] = []
        self.steps: list[ByteStep] = []
        self.logprob = 0.0
        self.done = False
        self.error: str | None = None
        self.draws = torch.Generator().manual_seed(draw_seed(engine.options.seed, request))

    def next(self, scores: Any) -> int:
        """Write the next token, given the model's scores (logits) of all tokens; return it."""
        import torch

        if self.done:
            return self.ends[0]
        if self.answers is not None:
            so_far = b"".join(map(self.vocabulary.bytes_of, self.written))
            tokens, whole = self.onward(self.answers, so_far)
            if not tokens and not whole:
                self.error, self.done = "the model's tokens cannot write what may be answered", True
                return self.ends[0]
            allowed = torch.tensor(tokens + self.ends[:1] * whole, device=scores.device)
            logprobs = torch.log_softmax(scores[allowed].float(), dim=0)
        else:
            allowed = None
            logprobs = torch.log_softmax(scores.float(), dim=0)
        # Where there are no candidates, no alternatives lead to any.
        likeliest = torch.topk(logprobs, min(ALTERNATIVES if self.request.candidates else 1, len(logprobs)))
        best = int(likeliest.indices[0])
        if self.temperature > 0:
            # The greatest of the logarithms, each with noise of its own (Gumbel's), is a draw from the distribution.
            noise = -torch.empty(len(logprobs)).exponential_(generator=self.draws).log()
            best = int((logprobs / self.temperature + noise.to(logprobs.device)).argmax())
        found = [
            (best, float(logprobs[best])),
            *zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True),
        ]
        names = [(at if allowed is None else int(allowed[at]), logprob) for at, logprob in found]
        self.written.append(names[0][0])
        if not self.request.candidates:
            # The model's own, before any constraint: an answer that it was held to is one that it hardly believes.
            self.logprob += float(scores[names[0][0]].float() - torch.logsumexp(scores.float(), dim=0))
        self.steps.append([(self.vocabulary.bytes_of(token), logprob) for token, logprob in names])
        self.done = names[0][0] in self.ends or len(self.written) >= self.limit
        return names[0][0]

    def completion(self, prompt_tokens: int) -> Completion:
        """Return what was written."""
        if self.error is not None:
            return Completion(self.request.id, "", None, prompt_tokens, len(self.written), self.error)
        return Completion(
            self.request.id,
            self.vocabulary.text(self.written),
            byte_logprobs(self.request, self.constrain, self.steps) if self.request.candidates else None,
            prompt_tokens,
            len(self.written),
            logprob=None if self.request.candidates or not math.isfinite(self.logprob) else round(self.logprob, 6),
        )


def _choose(writers: list[_Writer], tokens: Any, scores: Any) -> Any:
    """Let each answer choose its next token, and leave nothing else to choose."""
    import torch

    del tokens  # each answer remembers its own
    chosen = torch.tensor(
        [[writer.next(row)] for writer, row in zip(writers, scores, strict=True)], device=scores.device
    )
    return torch.full_like(scores, -math.inf).scatter_(1, chosen, 0.0)
