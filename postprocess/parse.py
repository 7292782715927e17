"""Read the raw answer of a model: which value does it give for which level, however it is written?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Indel

from catalog.messages import LabelPath
from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy
from postprocess.forms import form_key, is_same_form, letters_and_key
from postprocess.lexicon import Lexicon
from postprocess.objects import read_object
from postprocess.separators import split_label
from postprocess.wording import is_refusal, read_lines

How = Literal["label", "object", "lines", "joined", "text", "refusal", "empty"]

LONGEST = 4000
"""So many characters of an answer are read; a label and the talk around it are far shorter."""

_WRAPPING = " \t\r\n\v\f|\"'`*\ufeff\u200b\u00a0"
_CONTROL = re.compile(r"<\|[^|>]*\|>|</?s>|\[/?INST\]")
_FENCE = re.compile(r"^```[a-zA-Z]*\s*|\s*```$")


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer says.

    Parameters
    ----------
    values : tuple of (str or None)
        One for each level; None where the answer gives none, or does not say of which level a value is.
    parts : tuple of str
        The values in the order of the answer where their levels are not certain; empty where they are.
    text : str
        The answer without its wrapping (spaces, quotes, code fences, trailing ``|``).
    how : str
        ``label`` (a valid joined label, up to its separators and form); ``object`` (JSON or like it); ``lines`` (level
        names with values); ``joined`` (values between separators); ``text`` (none of these); ``refusal``; ``empty``.
    label : label path or None
        The valid path that the whole answer spells, for ``label``.
    """

    values: tuple[str | None, ...]
    parts: tuple[str, ...]
    text: str
    how: How
    label: LabelPath | None = None

    @property
    def usable(self) -> bool:
        """Whether there is anything to snap."""
        return self.how not in ("refusal", "empty")


def parse(answer: str, taxonomy: Taxonomy | Lexicon, levels: Sequence[str] | None = None) -> Parsed:
    """Read one raw answer.

    The schema's separator and known values come first, because real values contain ``/``, ``&``, commas and ``|``:
    an answer that spells a valid path is that path, whatever stands between its values. Then objects, lines with level
    names, and values between separators are tried in this order.

    Parameters
    ----------
    answer : str
        Any text.
    taxonomy : Taxonomy
        The valid label paths.
    levels : sequence of str, optional
        What the answer may call the levels, widest first; the taxonomy's own names by default.

    Returns
    -------
    Parsed
        Never an error: an answer that cannot be read is ``text``, ``refusal`` or ``empty``.
    """
    lexicon = taxonomy if isinstance(taxonomy, Lexicon) else Lexicon.of(taxonomy)
    names = tuple(levels) if levels is not None else lexicon.taxonomy.levels
    nothing: tuple[str | None, ...] = (None,) * len(names)
    text = _unwrapped(answer[:LONGEST])
    if not any(sign.isalnum() for sign in text):
        known = lexicon.is_known(form_key(text)) if text else False
        return Parsed(nothing, (text,), text, "text") if known else Parsed(nothing, (), text, "empty")
    exact = lexicon.taxonomy.parse(text)
    if exact is not None:
        return Parsed(exact, (), text, "label", exact)
    written, key = letters_and_key(text)
    rows = lexicon.whole.get(written) or lexicon.whole.get(key, ())
    if rows:
        label = _most_alike([lexicon.paths[row] for row in rows], text)
        return Parsed(_as_written(label, text, lexicon), (), text, "label", label)
    if "{" in text or "[" in text:
        found = read_object(text, names, lexicon)
        if found is not None:
            values, parts, joined = found
            if joined is not None:
                return parse(joined, lexicon, names)
            return Parsed(values, parts, text, "object")
    named = read_lines(text, names)
    if named is not None:
        return Parsed(named, (), text, "lines")
    parts = split_label(text, lexicon)
    if len(parts) == len(names) and SEPARATOR in text:
        return Parsed(tuple(part or None for part in parts), (), text, "joined")
    if is_refusal(text, lexicon):
        return Parsed(nothing, (), text, "refusal")
    return Parsed(nothing, parts, text, "joined" if len(parts) > 1 else "text")


def _as_written(label: LabelPath, text: str, lexicon: Lexicon) -> LabelPath:
    """Return the values of a label as the answer has them, where what stands between them can be told."""
    parts = split_label(text, lexicon)
    parts = tuple(part.strip(_WRAPPING + "[]{}().,") for part in parts)
    same = len(parts) == len(label) and all(map(is_same_form, parts, label))
    return parts if same else label


def _most_alike(paths: Sequence[LabelPath], text: str) -> LabelPath:
    """Return the path that is written most like `text`, of paths with the same letters."""
    if len(paths) == 1:
        return paths[0]
    folded = text.casefold()
    glued = "".join(folded.split())

    def rank(path: LabelPath) -> float:
        written = " ".join(path).casefold()
        spaced = Indel.normalized_similarity(written, folded)
        return 3.0 * Indel.normalized_similarity("".join(written.split()), glued) + spaced

    return max(paths, key=rank)


def _unwrapped(text: str) -> str:
    text = (_CONTROL.sub("", text) if "<" in text or "[" in text else text).strip()
    return (_FENCE.sub("", text) if "```" in text else text).strip(_WRAPPING)
