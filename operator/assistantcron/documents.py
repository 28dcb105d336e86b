"""The documents of a YAML or JSON file, as kubectl reads them. Base layer: `manifests.py` judges them.

kubectl's YAML is that of go-yaml v2, which PyYAML's loaders are not: `y` and `no` are booleans, 8:30 and
2026-01-01 are text, 1e3 and 08 are numbers, 3.0 is the integer 3. So PyYAML finds the tokens, and the values
are put together here from its events; without recursion, for a file may be nested thousands of levels deep.
A key that is there twice, of which kubectl silently takes the last, is told.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

DEEPEST = 200
"""Levels of nesting that are read. `spec.MAX_DEPTH` says how many a payload may have."""
MOST = 1_000_000
"""Values in one document; only aliases of aliases make so many."""

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---(.*)$", re.MULTILINE)
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_JSON_SPACE = re.compile(r"[ \t\r\n]*")

_WORDS: dict[str, bool | None] = {
    form: value
    for words, value in (("y yes true on", True), ("n no false off", False), ("~ null", None))
    for word in words.split()
    for form in (word, word.capitalize(), word.upper())
} | {"": None}
_NO_NUMBER = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INTEGER = re.compile(r"([-+]?)(0[bB][01]+|0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_TYPES: dict[str, tuple[type, ...]] = {
    f"{_TAG}bool": (bool,),
    f"{_TAG}int": (int,),
    f"{_TAG}float": (int, float),
    f"{_TAG}null": (type(None),),
}


@dataclass(frozen=True)
class Document:
    """One that is not empty; one that can't be read has no value, and a mistake that says why."""

    line: int
    value: Any
    mistakes: tuple[str, ...] = ()


def read(text: str) -> Iterator[Document]:
    """Every document of a file."""
    if text.lstrip().startswith("{"):
        try:
            yield from list(_read_json(text))
        except (ValueError, RecursionError):
            # It is YAML that looks like JSON, or what is wrong with it has a line number there.
            pass
        else:
            return
    line, begin, problem = 0, 0, ""
    for match in _SEPARATOR.finditer(text):
        yield from _read_yaml(text[begin : match.start()], line, problem)
        line += text.count("\n", begin, match.start())
        begin = match.end()
        stray = match[1].strip() and not match[1].lstrip().startswith("#")
        problem = f"line {line + 1}: --- may be followed by a comment only" if stray else ""
    yield from _read_yaml(text[begin:], line, problem)


def _read_json(text: str) -> Iterator[Document]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_number)
    line, begin, at = 1, 0, 0
    while (at := _JSON_SPACE.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        line += text.count("\n", begin, at)
        begin = at
        value, at = decoder.raw_decode(text, at)
        yield Document(line, value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _read_yaml(chunk: str, line: int, problem: str) -> Iterator[Document]:
    """The documents between two separators, of which the first stands on `line`, counted from 0."""
    if problem:
        yield Document(line + 1, None, (problem,))
        return
    if found := _UNPRINTABLE.search(chunk):
        bad = line + 1 + chunk.count("\n", 0, found.start())
        yield Document(bad, None, (f"line {bad}: has the character U+{ord(found[0]):04X}",))
        return
    try:
        events = yaml.parse(chunk, Loader=_PARSER)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                building = _Building(line)
                value, first = building.build(events)
                if value is not None:
                    yield Document(line + 1 + first, value, tuple(building.mistakes))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        bad = line + 1 + (mark.line if mark else 0)
        yield Document(bad, None, (f"line {bad}: {getattr(error, 'problem', None) or 'is not YAML'}",))


@dataclass
class _Open:
    """A list or mapping whose end has not come yet."""

    start: Any
    value: list[Any] | dict[str, Any]
    size: int = 1
    key: str | None = None
    merging: bool = False
    seen: set[str] = field(default_factory=set)


class _Building:
    """One document, from its events."""

    def __init__(self, line: int) -> None:
        self.mistakes: list[str] = []
        self._line = line
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}

    def build(self, events: Iterator[Any]) -> tuple[Any, int]:
        """The value, and its first line counted from where the events begin."""
        root, first = None, None
        while not isinstance(event := next(events), yaml.DocumentEndEvent):
            first = event.start_mark.line if first is None else first
            if isinstance(event, yaml.CollectionStartEvent):
                if len(self._open) == DEEPEST:
                    raise _wrong(event, f"is nested more than {DEEPEST} levels deep")
                self._open.append(_Open(event, {} if isinstance(event, yaml.MappingStartEvent) else []))
                continue
            value, size = self._value(event)
            if self._open:
                self._put(self._open[-1], value, size, event)
            else:
                root = value
        return root, first or 0

    def _value(self, event: Any) -> tuple[Any, int]:  # noqa: ANN401 - yaml's events have no common type
        """The value that is complete with this event, and how many it is made of."""
        found: tuple[Any, int]
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise _wrong(event, f"*{event.anchor} stands for nothing that ends before it")
            return self._anchors[event.anchor]
        if isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            anchor, found = ended.start.anchor, (ended.value, ended.size)
        else:
            anchor, found = event.anchor, (_scalar(event), 1)
        if anchor is not None:
            self._anchors[anchor] = found
        return found

    def _put(self, into: _Open, value: Any, size: int, event: Any) -> None:  # noqa: ANN401 - any JSON
        into.size += size
        if into.size > MOST:
            raise _wrong(event, f"has more than {MOST:,} values")
        if isinstance(into.value, list):
            into.value.append(value)
        elif into.merging:
            into.merging = False
            # In the order of the file, as in go-yaml: a merge replaces what stands before it.
            for source in reversed(value if isinstance(value, list) else [value]):
                if not isinstance(source, dict):
                    raise _wrong(event, "<< must be followed by a mapping or a list of mappings")
                into.value.update(source)
        elif into.key is not None:
            into.value[into.key] = value
            into.key = None
        elif value == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
            into.merging = True
        else:
            into.key = _key(value, event)
            if into.key in into.seen:
                line = self._line + 1 + event.start_mark.line
                self.mistakes.append(f"line {line}: the key {into.key[:60]!r} is there twice")
            into.seen.add(into.key)


def _key(value: Any, event: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, (dict, list)):
        raise _wrong(event, "a key must be text")
    return str(value)


def _scalar(event: yaml.ScalarEvent) -> str | bool | float | None:
    text, tag = event.value, event.tag
    if tag is None and event.implicit[0]:
        value = _resolved(text)
    elif tag in _TYPES:
        value = _resolved(text)
        if not isinstance(value, _TYPES[tag]) or (isinstance(value, bool) and bool not in _TYPES[tag]):
            raise _wrong(event, f"cannot be read as !!{tag.removeprefix(_TAG)}")
    else:
        # Quoted, a block, !!str, or a tag that kubectl passes over as well.
        value = text
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(event, f"{text} is no number in JSON")
    return value


def _resolved(text: str) -> str | bool | float | None:
    """What a word without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _NO_NUMBER.fullmatch(text):
        return math.nan
    return _number(text)


def _number(text: str) -> str | float:
    plain = text.replace("_", "")
    if text[0] in "+-0123456789" and (match := _INTEGER.fullmatch(plain)):
        digits = match[2]
        octal = digits.isdecimal() and digits[0] == "0"
        value = int(f"{match[1]}{digits}", 8 if octal else 0)
        if -(2**63) <= value < 2**63 or (not match[1] and value < 2**64):
            return value
    if text[0] in "+-.0123456789" and _FLOAT.fullmatch(plain):
        found = float(plain)
        if math.isfinite(found):
            # As Go writes it into JSON: 3.0 is 3.
            return int(found) if found.is_integer() and abs(found) < 1e21 else found
    return text


def _wrong(event: Any, problem: str) -> yaml.MarkedYAMLError:  # noqa: ANN401 - yaml's events have no common type
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
