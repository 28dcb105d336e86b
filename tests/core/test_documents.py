"""Files as kubectl reads them. `tests/test_cli_kubectl.py` holds the same tables against kubectl itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from assistantcron import documents
from assistantcron.documents import DEEPEST, MOST, Document, read

# A value without quotes, and what it means.
SCALARS: list[tuple[str, Any]] = [
    *[(word, True) for word in ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"]],
    *[(word, False) for word in ["n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"]],
    *[(word, None) for word in ("", "~", "null", "Null", "NULL")],
    *[(word, word) for word in ("yEs", "oN", "nULL", "agent", "x y", "=", ".", "-x", "+")],
    ("0", 0),
    ("8", 8),
    ("-8", -8),
    ("+8", 8),
    ("007", 7),
    ("-017", -15),
    ("08", 8),
    ("0o17", 15),
    ("0x1F", 31),
    ("-0x1f", -31),
    ("0b11", 3),
    ("1_000", 1000),
    ("9223372036854775807", 2**63 - 1),
    ("-9223372036854775808", -(2**63)),
    ("100000000000000000000", 10**20),
    ("0x1FFFFFFFFFFFFFFFFF", "0x1FFFFFFFFFFFFFFFFF"),
    ("0b12", "0b12"),
    ("0.5", 0.5),
    (".5", 0.5),
    ("-.5", -0.5),
    ("1.", 1),
    ("3.0", 3),
    ("1e3", 1000),
    ("1.5e-3", 0.0015),
    ("1_0.5", 10.5),
    (".5_0", 0.5),
    ("1e999", "1e999"),
    ("1:30", "1:30"),
    ("8:30:00", "8:30:00"),
    ("2026-01-01", "2026-01-01"),
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ("2026-01-01 08:00:00", "2026-01-01 08:00:00"),
    ('"yes"', "yes"),
    ("'8'", "8"),
    ("! 8", "8"),
    ("!!str 8", "8"),
    ('!!int "8"', 8),
    ("!!float 8", 8),
    ("!!bool yes", True),
    ("!!null ''", None),
    ("!own 8", "8"),
]

# A document, and its value.
READ: list[tuple[str, Any]] = [
    ("a: {b: [1, [2], {}], c: {}}", {"a": {"b": [1, [2], {}], "c": {}}}),
    ("a: |\n  yes\n", {"a": "yes\n"}),
    (
        "{1: a, 1.50: b, 0x10: c, on: d, false: e}",
        {"1": "a", "1.5": "b", "16": "c", "true": "d", "false": "e"},
    ),
    ("a: &x {b: 1}\nc: *x\nd: [*x, *x]", {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}]}),
    ("a: &x word\n*x : 1", {"a": "word", "word": 1}),
    ("a: {<<: {b: 1, c: 1}, b: 2}", {"a": {"b": 2, "c": 1}}),
    ("a: {b: 2, <<: {b: 1, c: 1}}", {"a": {"b": 1, "c": 1}}),
    ("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}),
    ('a: {"<<": {b: 1}}', {"a": {"<<": {"b": 1}}}),
    (
        '{"a": 1.0, "b": 1e3, "c": "\\u00e9\\/\\ud83d\\ude00", "d": null}',
        {"a": 1, "b": 1000, "c": "é/😀", "d": None},
    ),
    ('{"a": 1,}', {"a": 1}),
    ("{a: 1}", {"a": 1}),
    ('{"a": NaN}', {"a": "NaN"}),
    ("a: '\ufeff'", {"a": "\ufeff"}),
]

# A document that kubectl can't read either, and the mistake.
UNREADABLE = [
    ("a: [}", "line 1: "),
    ("a: 1\nb: [\n\n", "line 4: "),
    ("a: b: c", "line 1: mapping values are not allowed"),
    ("a: 1\n\tb: 2", "line 2: "),
    ("a:\n  b: 1\n c: 2", "line 3: "),
    ("a: 1\n...\nb: 2", "line 3: "),
    ("a: 1\nb: \x01", "line 2: has the character U+0001"),
    ("a: '\x9f'", "line 1: has the character U+009F"),
    ("a: \uffff", "line 1: has the character U+FFFF"),
    ("{{ template }}", "line 1: a key must be text"),
    ("~: 1", "line 1: a key must be text"),
    ("? [a]\n: 1", "line 1: a key must be text"),
    ("a: .nan", "line 1: .nan is no number in JSON"),
    ("a: [1,\n -.Inf]", "line 2: -.Inf is no number in JSON"),
    ("a: !!int x", "line 1: cannot be read as !!int"),
    ("a: !!int yes", "line 1: cannot be read as !!int"),
    ("a: !!bool 1", "line 1: cannot be read as !!bool"),
    ("a: *b", "line 1: *b stands for nothing that ends before it"),
    ("a: &b {c: *b}", "line 1: *b stands for nothing that ends before it"),
    ("a: {<<: 1}", "line 1: << must be followed by a mapping or a list of mappings"),
    ("a: {<<: [1]}", "line 1: << must be followed by a mapping or a list of mappings"),
    ("--- a: 1", "line 1: --- may be followed by a comment only"),
    ("----", "line 1: --- may be followed by a comment only"),
    ("%YAML 1.1\n---\na: 1", "line 2: "),
]


@pytest.fixture(params=[yaml.CSafeLoader, yaml.SafeLoader], autouse=True, ids=["C", "Python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML has two, and not every platform the faster one."""
    monkeypatch.setattr(documents, "_PARSER", request.param)


def value_of(text: str) -> Any:
    (found,) = read(text)
    assert found.mistakes == ()
    return found.value


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_a_scalar(text: str, value: object) -> None:
    found = value_of(f"a: {text}\n")["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(("text", "value"), READ)
def test_a_document(text: str, value: object) -> None:
    assert json.dumps(value_of(text)) == json.dumps(value)


@pytest.mark.parametrize(("text", "mistake"), UNREADABLE)
def test_what_cannot_be_read_is_said_in_one_line(text: str, mistake: str) -> None:
    ((said,),) = [found.mistakes for found in read(text) if found.value is None]
    assert said.startswith(mistake)
    assert "\n" not in said


class TestDocuments:
    def test_each_has_its_line(self) -> None:
        text = "# a licence\n---\n\na: 1\n--- # two\nb: 2\n---\n---\n# nothing\n---\n~\n---\n\n\nc: 3\n"
        assert list(read(text)) == [Document(4, {"a": 1}), Document(6, {"b": 2}), Document(15, {"c": 3})]

    def test_line_feeds_of_windows(self) -> None:
        assert list(read("a: 1\r\n---\r\nb: 2\r\n")) == [Document(1, {"a": 1}), Document(3, {"b": 2})]

    def test_three_dashes_in_a_text_are_text(self) -> None:
        assert value_of("a: |\n  b\n  ---\n  c\n") == {"a": "b\n---\nc\n"}

    def test_one_that_is_unreadable_does_not_hide_the_others(self) -> None:
        found = list(read("a: 1\n---\nb: [\n---\n\x00\n--- c\nd: 4\n---\ne: 5\n"))
        assert [document.value for document in found] == [{"a": 1}, None, None, None, {"e": 5}]
        assert [document.line for document in found] == [1, 4, 5, 6, 9]

    def test_json_one_after_another(self) -> None:
        assert list(read('{"a": 1} {"b": 2}\n\n {"c": 3}\n')) == [
            Document(1, {"a": 1}),
            Document(1, {"b": 2}),
            Document(3, {"c": 3}),
        ]

    @pytest.mark.parametrize("text", ["", "\n", "---\n", "# nothing", "---\n---\n", "null", "~\n---\n# x"])
    def test_nothing(self, text: str) -> None:
        assert list(read(text)) == []

    @pytest.mark.parametrize(("text", "value"), [("[1]", [1]), ("word", "word"), ("8", 8), ("{}", {})])
    def test_what_is_no_mapping_is_still_a_value(self, text: str, value: object) -> None:
        assert list(read(text)) == [Document(1, value)]


class TestTwice:
    @pytest.mark.parametrize(
        ("text", "value", "mistakes"),
        [
            ("a: 1\na: 2", {"a": 2}, ["line 2: the key 'a' is there twice"]),
            ("a: {b: 1,\n b: 1, b: 1}", {"a": {"b": 1}}, ["line 2: the key 'b' is there twice"] * 2),
            ('on: 1\n"true": 2', {"true": 2}, ["line 2: the key 'true' is there twice"]),
            ('{"a": 1,\n"a": 2}', {"a": 2}, ["line 2: the key 'a' is there twice"]),
            ("x: &x {a: 1}\nz: {a: 2, <<: *x}", {"x": {"a": 1}, "z": {"a": 1}}, []),
            ("a: {b: 1}\nc: {b: 1}", {"a": {"b": 1}, "c": {"b": 1}}, []),
        ],
    )
    def test_a_key_counts_once_and_is_told(self, text: str, value: object, mistakes: list[str]) -> None:
        assert list(read(text)) == [Document(1, value, tuple(mistakes))]

    def test_a_monstrous_key_is_told_in_a_line(self) -> None:
        key = json.dumps("x\n" * 1000)
        (found,) = read(f"{{{key}: 1, {key}: 2}}")
        (mistake,) = found.mistakes
        assert "\n" not in mistake
        assert len(mistake) < 200


class TestDepth:
    @pytest.mark.parametrize(
        "text",
        [
            "a: " + "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1),
            "- " * DEEPEST + "1",
            "{a: " * DEEPEST + "1" + "}" * DEEPEST,
        ],
    )
    def test_so_many_levels_are_read(self, text: str) -> None:
        value = value_of(text)
        for _ in range(DEEPEST - 1):
            (value,) = value.values() if isinstance(value, dict) else value
        assert isinstance(value, (dict, list))

    @pytest.mark.parametrize(
        "text",
        [
            "a: " + "[" * DEEPEST + "]" * DEEPEST,
            "[" * 5000 + "]" * 5000,
            "[" * 300,
            "{a: " * 5000 + "1" + "}" * 5000,
            "- " * 5000 + "1",
            '{"a":' * 100_000 + "1" + "}" * 100_000,
        ],
    )
    def test_more_are_refused_and_survived(self, text: str) -> None:
        assert list(read(text)) == [Document(1, None, ("line 1: is nested more than 200 levels deep",))]

    def test_aliases_of_aliases_cannot_fill_the_memory(self) -> None:
        lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 50)]
        (found,) = read("\n".join(lines))
        assert found.value is None
        assert found.mistakes == (f"line 6: has more than {MOST:,} values",)

    def test_aliases_are_fine_as_such(self) -> None:
        shared = ", ".join(["*x"] * 1000)
        assert len(value_of(f"x: &x {{a: 1}}\nz: [{shared}]")["z"]) == 1000
