"""vllm: a model in this process, many requests at once (https://docs.vllm.ai). For GPUs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from pydantic import Field

from catalog.errors import ShelfmarkError, first_line, require
from catalog.hub import not_loaded
from catalog.messages import Completion, Request
from classify import console
from classify.engines import adapters
from classify.engines.base import ModelOptions
from classify.engines.constraints import answers
from classify.engines.forms import AnswerForm
from classify.engines.local import chat_tokens, draw_seed, hush, too_long
from classify.engines.logprobs import ALTERNATIVES, LEAST
from classify.engines.vocabulary import Vocabulary, byte_logprobs

QUEUE = 4  # requests handed over, for each that vLLM answers at once: it never waits for us, nor we hold all prompts
QUANTIZATIONS = {"none": None, "8bit": "fp8", "4bit": "bitsandbytes"}
PLAIN = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""How guidance is to write an object: as `json.dumps` does. It would allow spaces and line ends without an end."""
SMALLER = "try a smaller --max-model-len, --quantization 8bit or 4bit, or another --gpu-memory"


class VllmOptions(ModelOptions):
    """What a user chooses of the engine ``vllm``.

    Attributes
    ----------
    llm : str
        A folder or a name on the Hugging Face hub.
    tensor_parallel : int
        GPUs that share the model.
    quantization : str
        ``none``; ``8bit`` (fp8) or ``4bit`` (bitsandbytes), made of the weights when they are loaded; or any name that
        vLLM knows. A model that is stored quantized needs none.
    max_model_len : int or None
        The most tokens of a prompt with its answer; by default what the model can read.
    gpu_memory : float
        The share of each GPU's memory that vLLM takes.
    dtype : {'auto', 'float32', 'bfloat16', 'float16'}
        Of the weights.
    adapter : str
        A folder with a LoRA adapter (peft) of the model.
    """

    free = frozenset({"tensor_parallel", "gpu_memory"})

    llm: str = "meta-llama/Llama-3.1-8B-Instruct"
    tensor_parallel: int = Field(default=1, ge=1)
    quantization: str = "none"
    max_model_len: int | None = Field(default=None, ge=16)
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    adapter: str = ""


class VllmEngine:
    """vLLM without a server: continuous batching, shared prefixes, answers yielded as they are finished.

    A constraint is a grammar of the answers. To make one of thousands of answers takes longer than to answer: where
    there are no candidates, an answer is first given freely, and asked for again, held to a grammar from where it
    strayed, where it is none of those that may be. At temperature 0 that is the answer that it would have given if it
    had been held to all of them.

    Sums differ in their last digits with the requests that share a step, so no bytes are promised.
    """

    name = "vllm"
    needs = "vllm", "vllm"
    options_class = VllmOptions
    deterministic = False

    def __init__(self, options: VllmOptions) -> None:
        self.options = options
        self.form: AnswerForm | None = None
        self.report: dict[str, Any] = {}
        self._engine: Any = None
        self._tokenizer: Any = None
        self._vocabulary: Vocabulary
        self._context = 0
        self._room = 0
        self._asked = 0
        self._adapter: Any = None

    def complete(self, requests: Iterable[Request]) -> Iterator[Completion]:
        """Yield one completion for each request, in the order in which they are finished."""
        waiting = iter(requests)
        under_way: dict[str, _Asked] = {}
        try:
            more = True
            while more or under_way:
                while more and len(under_way) < max(self._room, 1):
                    request = next(waiting, None)
                    if request is None:
                        more = False
                        break
                    self._load()
                    prompt = chat_tokens(self._tokenizer, request, self.options.constrain, self.options.llm)
                    if len(prompt) >= self._context:
                        problem = too_long(len(prompt), self._context)
                        yield Completion(request.id, prompt_tokens=len(prompt), error=problem)
                        continue
                    asked = _Asked(request, prompt)
                    refused = self._add(asked, under_way)
                    if refused is not None:
                        yield Completion(request.id, prompt_tokens=len(prompt), error=refused)
                for output in self._step() if under_way else ():
                    if not output.finished or output.request_id not in under_way:
                        continue
                    asked = under_way.pop(output.request_id)
                    done = self._completion(asked, output.outputs[0])
                    again = self._stray(asked, output.outputs[0])
                    if again is not None and self._add(replace(again, first=done), under_way) is None:
                        self.report["held to paths"] = self.report.get("held to paths", 0) + 1
                        continue
                    yield done
        finally:
            if under_way:
                self._engine.abort_request(list(under_way))

    def _load(self) -> None:
        if self._engine is not None:
            return
        # Read when vLLM is imported. Errors alone unless more is wanted: its start is hundreds of lines.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "INFO" if console.is_verbose() else "ERROR")
        os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "1")
        hush()
        library = require("vllm", "vllm")
        platform = require("vllm.platforms", "vllm").current_platform
        on_cpu = platform.is_cpu()
        if not on_cpu and not platform.device_type:
            raise ShelfmarkError(
                "--engine vllm: it finds no GPU here; run it where there is one, or take --engine transformers, or "
                "--engine server with a model that is served elsewhere"
            )
        options = self.options
        more: dict[str, Any] = {}
        if options.adapter:
            ranks = get_args(require("vllm.config.lora", "vllm").MaxLoRARanks)
            highest = adapters.rank(adapters.adapter_config(options.adapter))
            if highest > max(ranks):
                raise ShelfmarkError(f"--adapter {options.adapter}: of rank {highest}, where vLLM takes {max(ranks)}")
            more = {"enable_lora": True, "max_lora_rank": min(one for one in ranks if one >= highest)}
        try:
            model = library.LLM(
                options.llm,
                tokenizer_mode="hf",
                tensor_parallel_size=options.tensor_parallel,
                quantization=QUANTIZATIONS.get(options.quantization, options.quantization),
                max_model_len=options.max_model_len,
                gpu_memory_utilization=options.gpu_memory,
                dtype=options.dtype,
                seed=options.seed,
                enforce_eager=on_cpu,  # compiling costs a minute or more; on a CPU nothing is gained by it
                enable_prefix_caching=True,
                # Not xgrammar, the default: 0.2.8 forbids some tokens that begin an answer: of h, ho, hold, household
                # it forbids the last where "household" is an answer, so that another answer is given.
                structured_outputs_config={"backend": "guidance"},
                max_logprobs=ALTERNATIVES,
                # Raw: of the tokens that the grammar allows, whatever the temperature.
                logprobs_mode="raw_logprobs",
                use_tqdm_on_load=console.is_watched(),
                **more,
            )
        except Exception as error:  # vLLM raises many kinds, its own and those of what it stands on
            if options.max_model_len is not None and "derived max_model_len" in str(error):
                raise ShelfmarkError(
                    f"--max-model-len {options.max_model_len}: more than the model can read; take a smaller one"
                ) from None
            if "engine core initialization failed" in str(error).lower():
                raise ShelfmarkError(
                    f"--llm {options.llm}: vLLM could not start it (its own messages stand above); where memory is "
                    f"short, {SMALLER}"
                ) from None
            raise not_loaded("--llm", options.llm, error, SMALLER) from None
        self._engine = model.llm_engine
        if options.adapter:
            self._adapter = require("vllm.lora.request", "vllm").LoRARequest("adapter", 1, options.adapter)
            try:
                self._engine.add_lora(self._adapter)  # now, not with the first request: it may not fit
            except Exception as error:
                raise adapters.not_fitting(options.adapter, options.llm, error) from None
        self._tokenizer = model.get_tokenizer()
        self._vocabulary = Vocabulary(self._tokenizer)
        config = self._engine.vllm_config
        self._context = config.model_config.max_model_len
        self._room = QUEUE * config.scheduler_config.max_num_seqs
        self.report.update(
            vllm=library.__version__,
            model=options.llm,
            quantization=config.model_config.quantization or "none",
            dtype=str(config.model_config.dtype).removeprefix("torch."),
            device=platform.device_type,
            **({"adapter": options.adapter} if options.adapter else {}),
        )

    def _add(self, asked: _Asked, under_way: dict[str, _Asked]) -> str | None:
        """Hand a request over; return why vLLM does not take it, where it does not."""
        request = asked.request
        self._asked += 1
        name = str(self._asked)
        parameters = require("vllm.sampling_params", "vllm")
        options = self.options
        try:
            sampling = parameters.SamplingParams(
                temperature=options.temperature,
                max_tokens=options.max_tokens or request.max_tokens,
                seed=draw_seed(options.seed, request) if options.temperature > 0 else None,
                logprobs=ALTERNATIVES if request.candidates else 0,  # 0: of the token that is written alone
                detokenize=False,  # we do it, once for each answer: vLLM would for each alternative
                output_kind=parameters.RequestOutputKind.FINAL_ONLY,
                structured_outputs=parameters.StructuredOutputsParams(**held) if (held := self._held(asked)) else None,
            )
            self._engine.add_request(name, {"prompt_token_ids": asked.prompt}, sampling, lora_request=self._adapter)
        except ValueError as error:
            return f"vLLM does not take the request: {first_line(error)}"
        under_way[name] = asked
        return None

    def _held(self, asked: _Asked) -> dict[str, Any]:
        """Return what an answer is held to, by the name under which vLLM takes it; nothing where it is free."""
        constrain = self.options.constrain
        if asked.request.candidates:
            allowed = answers(asked.request, constrain)
            return {"choice": allowed} if allowed else {}
        if self.form is None:
            return {}
        if asked.beginning is not None:
            return {"regex": self.form.regex(asked.beginning)}
        schema = self.form.json_schema() if constrain == "json" else None
        return {"json": {**schema, "x-guidance": PLAIN}} if schema else {}

    def _stray(self, asked: _Asked, output: Any) -> _Asked | None:
        """Return how to ask again where an answer that was given freely is none of those that may be.

        The second answer begins as the first did, up to where it strayed: so the grammar is of a few answers, mostly.
        """
        if asked.request.candidates or asked.beginning is not None or self.form is None:
            return None
        if self.options.constrain != "choice" or not output.logprobs:
            return None
        answers, written, told = self.form.answers, b"", 0.0
        for token, known in zip(output.token_ids, output.logprobs, strict=True):
            more = self._vocabulary.bytes_of(token)
            if not (answers.begins(written + more) if more else answers.following(written, 1)[1]):
                left = math.log(max(-math.expm1(min(known[token].logprob, 0.0)), LEAST))
                return replace(asked, beginning=written.decode("utf-8", "ignore"), left=told + left)
            written, told = written + more, told + known[token].logprob
        return None

    def _step(self) -> list[Any]:
        try:
            return list(self._engine.step())
        except Exception as error:
            raise ShelfmarkError(
                f"--llm {self.options.llm}: vLLM stopped ({type(error).__name__}: {first_line(error)}); where memory "
                f"is short, {SMALLER}; resume the run then"
            ) from error

    def _completion(self, asked: _Asked, output: Any) -> Completion:
        request, first = asked.request, asked.first
        tokens = list(output.token_ids)
        logprobs = logprob = None
        if not request.candidates and output.logprobs:
            told = [known[token].logprob for token, known in zip(tokens, output.logprobs, strict=True)]
            total = sum(told) + asked.left
            logprob = round(min(total, 0.0), 6) if math.isfinite(total) else None
        if request.candidates and output.logprobs:
            steps = []
            for token, known in zip(tokens, output.logprobs, strict=True):
                found = [(token, known[token].logprob), *((at, one.logprob) for at, one in known.items())]
                steps.append([(self._vocabulary.bytes_of(at), logprob) for at, logprob in found])
            logprobs = byte_logprobs(request, self.options.constrain, steps)
        read = len(asked.prompt) + (first.prompt_tokens if first else 0)
        written = len(tokens) + (first.completion_tokens if first else 0)
        return Completion(request.id, self._vocabulary.text(tokens), logprobs, read, written, logprob=logprob)


@dataclass(frozen=True)
class _Asked:
    """One request under way.

    Attributes
    ----------
    prompt : list of int
        Its tokens.
    first : Completion or None
        What was answered freely, and may not be: it is asked again.
    beginning : str or None
        How far that was right.
    left : float
        The logarithm of the model's probability of that, and of the share that it left there for what may follow: the
        second answer says only how likely its end is, as its beginning is forced.
    """

    request: Request
    prompt: list[int]
    first: Completion | None = None
    beginning: str | None = None
    left: float = 0.0
