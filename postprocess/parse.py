"""Read the raw answer of a model: which value does it give for which level, however it is written?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from catalog.messages import LabelPath
from catalog.schema import SEPARATOR
from catalog.taxonomy import Taxonomy
from postprocess.forms import form_key, is_same_form, letters_and_key
from postprocess.lexicon import Lexicon
from postprocess.lines import as_lines, read_lines
from postprocess.objects import Objects, joined_in, read_broken, read_objects
from postprocess.plain import WRAPPING, once, plain_text, undone, unlisted
from postprocess.separators import split_label
from postprocess.statements import Statement, Values, combined, labels_in, most_alike
from postprocess.wording import meant, mentions, without_refusal

How = Literal["label", "object", "lines", "joined", "text", "refusal", "empty"]

_LONG = 300


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
        The answer without its wrapping (reasoning, spaces, quotes, code fences, trailing ``|``).
    how : str
        ``label`` (a valid joined label, up to its separators and form); ``object`` (JSON or like it); ``lines`` (level
        names with values); ``joined`` (values between separators); ``text`` (none of these); ``refusal``; ``empty``.
    label : label path or None
        The valid path that the answer spells, for ``label``.
    others : tuple of str
        What the answer says besides and contradicts: labels or values that it corrected, or alternatives.
    """

    values: Values
    parts: tuple[str, ...]
    text: str
    how: How
    label: LabelPath | None = None
    others: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is anything to snap."""
        return self.how not in ("refusal", "empty")


def parse(answer: str, taxonomy: Taxonomy | Lexicon, levels: Sequence[str] | None = None) -> Parsed:
    """Read one raw answer.

    The schema's separator and known values come first, because real values contain ``/``, ``&``, commas and ``|``:
    an answer that spells a valid path is that path, whatever stands between its values. Then objects and valid labels
    wherever they stand, lines with level names, and values between separators are tried in this order.

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
    text = plain_text(answer)
    if not any(sign.isalnum() for sign in text):
        known = lexicon.is_known(form_key(text)) if text else False
        return _nothing(names, text, "text", (text,)) if known else _nothing(names, text, "empty")
    return _plain_object(text, names, lexicon) or _whole(text, lexicon) or _read(text, names, lexicon)


def _plain_object(text: str, names: tuple[str, ...], lexicon: Lexicon) -> Parsed | None:
    """Return the valid label of a text that is an object with the levels by name, which needs no more reading."""
    if text[0] != "{" or text[-1] != "}":
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = [told.get(name) for name in names]
    label = tuple([value for value in values if isinstance(value, str)])
    if label in lexicon.taxonomy:
        return Parsed(label, (), text, "label", label)
    return None


def _nothing(names: Sequence[str], text: str, how: How, parts: tuple[str, ...] = ()) -> Parsed:
    return Parsed((None,) * len(names), parts, text, how)


def _whole(text: str, lexicon: Lexicon) -> Parsed | None:
    """Return the valid label that a whole text spells, if it does."""
    exact = lexicon.taxonomy.parse(text)
    if exact is not None:
        return Parsed(exact, (), text, "label", exact)
    written, key = letters_and_key(text)
    rows = lexicon.whole.get(written) or lexicon.whole.get(key, ())
    if not rows:
        return None
    label = lexicon.paths[most_alike(rows, text, lexicon)]
    return Parsed(_as_written(label, text, lexicon), (), text, "label", label)


def _read(text: str, names: tuple[str, ...], lexicon: Lexicon) -> Parsed:
    """Read a text that is not a valid label as a whole."""
    if "{" in text or "[" in text:
        parsed = _read_objects(text, names, lexicon)
        if parsed is not None:
            return parsed
    clear = _cleared(text, lexicon)
    if clear != text:
        text = clear.strip(WRAPPING)
        whole = _whole(text, lexicon)
        if whole is not None:
            return whole
    labels = labels_in(text, lexicon)
    if labels:
        return _of_statements(labels, text, "joined", lexicon)
    tagged = as_lines(text, names)
    named = read_lines(tagged, names, lexicon)
    if named:
        return _of_statements(named, text, "lines", lexicon)
    if tagged != text:
        text = tagged.strip(WRAPPING)
        labels = labels_in(text, lexicon)
        if labels:
            return _of_statements(labels, text, "joined", lexicon)
    return _read_parts(text, names, lexicon)


def _cleared(text: str, lexicon: Lexicon) -> str:
    """Return a text without list marks, escapes and repetition, where it then says more."""
    if "\n" in text:
        text = unlisted(text)
    if "&" in text or "\\" in text or "%" in text:
        bare = undone(text)
        if bare != text and _said(bare, lexicon) > _said(text, lexicon):
            text = bare
    if len(text) > _LONG or text.count(SEPARATOR) >= 2 * (len(lexicon.levels) - 1):
        text = once(text)
    return text


def _said(text: str, lexicon: Lexicon) -> int:
    """Return how many letters of a text are in known values."""
    return sum(map(len, (key for key, _ in mentions(text, lexicon))))


def _read_objects(text: str, names: tuple[str, ...], lexicon: Lexicon) -> Parsed | None:
    """Read a text with brackets; None where they say less than the rest of it."""
    found = read_objects(text, names, lexicon)
    if found.broken and not any(all(values) for values, _ in found.statements):
        # A broken object with the right names is read by its names, which survive more than brackets and quotes do.
        named = read_lines(text, names, lexicon)
        if not any(all(values) for values, _ in named):
            tolerant = read_broken(text if found.rest == text else found.rest, names, lexicon)
            found.loose = found.loose or tolerant.loose
            named = max(named, tolerant.statements, key=lambda said: _levels(said, lexicon))
        if _levels(named, lexicon) > _levels(found.statements, lexicon):
            found.statements = named
    if found.statements:
        return _of_statements(found.statements, text, "object", lexicon)
    rest = found.rest.strip(WRAPPING)
    if rest != text and _says_more(rest, found, names, lexicon):
        return _whole(rest, lexicon) or _read(rest, names, lexicon)
    joined = joined_in(found.loose)
    if joined is not None:
        return parse(joined, lexicon, names) if len(joined) < len(text) else None
    known = [value for value in found.loose if lexicon.is_known(form_key(value))]
    if not known:
        return None
    parts = tuple(found.loose if len(found.loose) <= len(names) else known)
    return Parsed((None,) * len(names), parts, text, "object")


def _levels(statements: Sequence[Statement], lexicon: Lexicon) -> int:
    return sum(map(bool, combined(statements, lexicon)[0])) if statements else 0


def _says_more(rest: str, found: Objects, names: tuple[str, ...], lexicon: Lexicon) -> bool:
    """Tell whether the text beside objects says more about the levels than their loose values do."""
    if not any(map(str.isalnum, rest)):
        return False
    joined = joined_in(found.loose)
    if joined is None and not found.loose:
        return True
    if SEPARATOR in rest or read_lines(rest, names, lexicon):
        return joined is None or SEPARATOR not in joined
    return _said(rest, lexicon) > sum(_said(value, lexicon) for value in found.loose)


def _of_statements(statements: Sequence[Statement], text: str, how: How, lexicon: Lexicon) -> Parsed:
    values, others = combined(statements, lexicon)
    label = tuple(value or "" for value in values)
    if label in lexicon.taxonomy:
        return Parsed(label, (), text, "label", label, others)
    return Parsed(values, (), text, how, None, others)


def _read_parts(text: str, names: tuple[str, ...], lexicon: Lexicon) -> Parsed:
    """Read values between separators, or a text without any."""
    if SEPARATOR not in text:
        plain = without_refusal(text, lexicon)
        if not plain:
            return _nothing(names, text, "refusal")
        if plain != text:
            return _whole(plain, lexicon) or _read(plain, names, lexicon)
    parts = _as_list(text, names, lexicon) or split_label(text, lexicon)
    if len(parts) == len(names):
        values = tuple(meant(part, level, lexicon, names) if part else None for level, part in enumerate(parts))
        if not any(values):
            return _nothing(names, text, "refusal")
        if SEPARATOR in text or None in values:
            return Parsed(values, (), text, "joined")
        return Parsed((None,) * len(names), tuple(value or "" for value in values), text, "joined")
    parts = tuple(part for part in parts if part)
    return _nothing(names, text, "joined" if len(parts) > 1 else "text", parts)


def _as_list(text: str, names: tuple[str, ...], lexicon: Lexicon) -> tuple[str, ...]:
    """Return the lines of a text with a line for each level, of which one at least is a value."""
    lines = tuple(line.strip(WRAPPING) for line in text.splitlines()) if "\n" in text else ()
    told = len(lines) == len(names) and any(lexicon.is_known(form_key(line)) for line in lines)
    return lines if told else ()


def _as_written(label: LabelPath, text: str, lexicon: Lexicon) -> LabelPath:
    """Return the values of a label as the answer has them, where what stands between them can be told."""
    parts = split_label(text, lexicon)
    parts = tuple(part.strip(WRAPPING + "[]{}().,\\_") for part in parts)
    same = len(parts) == len(label) and all(map(is_same_form, parts, label))
    return parts if same else label
