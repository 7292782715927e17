"""The probability of each candidate, read off the tokens of one answer and their alternatives.

An engine that writes an answer can tell, for each token, the likeliest others it could have written. Where candidates
part, those others lead to the other candidates: so one answer tells how likely each of them was, without asking for
each. Text decides what a token leads to, so no tokenizer is needed.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Sequence

from catalog.messages import Request
from classify.engines.base import Constrain
from classify.engines.constraints import JSON_KEY, choices

ALTERNATIVES = 20
"""How many of the likeliest tokens are asked for at each step: the most that OpenAI and vLLM give."""
LEAST = 1e-6
"""The probability of a candidate that no alternative leads to, before all are made to add up to 1."""

Step = Sequence[tuple[str, float]]
"""The token written, then the alternatives: (text, natural logarithm of its probability); the first is written."""

_JSON_START = re.compile(rf'\s*\{{\s*"{JSON_KEY}"\s*:\s*"')


def request_logprobs(request: Request, constrain: Constrain, steps: Sequence[Step]) -> list[float] | None:
    """Return what `candidate_logprobs` does for an answer to `request`, whatever stands before the label in it."""
    text = "".join(step[0][0] for step in steps)
    answers = choices(request)
    start = len(text) - len(text.lstrip())
    if constrain == "json":
        found = _JSON_START.match(text)
        if found is None:
            return None
        start = found.end()
        answers = [json.dumps(answer, ensure_ascii=False)[1:] for answer in answers]
    return candidate_logprobs(_after(steps, start), answers, request.scores)


def candidate_logprobs(steps: Sequence[Step], answers: Sequence[str], scores: Sequence[float]) -> list[float] | None:
    """Return the natural logarithm of each candidate's probability; they add up to 1.

    Parameters
    ----------
    steps : sequence of steps
        The answer, token by token.
    answers : sequence of str
        What the answer may be: one text for each candidate.
    scores : sequence of float
        The retriever's probability of each: it divides what an untaken turn leads to among several candidates.

    Returns
    -------
    list of float or None
        None where the answer has no tokens or is no candidate's beginning: then nothing can be read off it.
    """
    if not steps or not answers:
        return None
    mass = [0.0] * len(answers)
    open_ = list(range(len(answers)))
    text, taken = "", 1.0
    for step in steps:
        written = step[0][0]
        done = len(text)
        if not any(answers[at].startswith(written, done) for at in open_):
            break
        # Most alternatives lead nowhere: their first sign tells, which is much faster than to compare them with all.
        firsts = {answers[at][done : done + 1] for at in open_}
        led: list[tuple[float, list[int], bool]] = []
        seen = set()
        for place, (token, logprob) in enumerate(step):
            if token[:1] not in firsts and token:
                continue
            if token in seen or (place and not token):  # an end of text among the alternatives leads nowhere else
                continue
            seen.add(token)
            to = [at for at in open_ if answers[at].startswith(token, done)]
            if to:
                # OpenAI says -9999 of what is most unlikely: of nothing there is no share.
                led.append((max(math.exp(min(logprob, 0.0)), sys.float_info.min), to, place == 0))
        total = sum(share for share, _, _ in led)
        for share, to, is_written in led:
            if not is_written:
                weights = [max(scores[at], LEAST) for at in to]
                for at, weight in zip(to, weights, strict=True):
                    mass[at] += taken * share / total * weight / sum(weights)
            else:
                onward, ahead = to, taken * share / total
        open_, taken, text = onward, ahead, text + written
        if len(open_) == 1:
            break
    if not text:
        return None
    # An answer that is whole is that candidate, even where longer ones begin with it.
    whole = [at for at in open_ if answers[at] == text] or open_
    weights = [max(scores[at], LEAST) for at in whole]
    for at, weight in zip(whole, weights, strict=True):
        mass[at] += taken * weight / sum(weights)
    mass = [max(share, LEAST) for share in mass]
    return [round(math.log(share / sum(mass)), 6) for share in mass]


def _after(steps: Sequence[Step], start: int) -> list[Step]:
    """Return the steps after so many characters; of a token that lies across, its end."""
    rest: list[Step] = []
    for step in steps:
        written = step[0][0]
        if start == 0:
            rest.append(step)
        elif len(written) > start:
            head = written[:start]
            rest.append([(token[start:], logprob) for token, logprob in step if token.startswith(head)])
            start = 0
        else:
            start -= len(written)
    return rest
