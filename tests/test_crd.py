"""The CRD read as a file: conventions of Kubernetes APIs, and agreement with the models, field by field."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

import pytest
import yaml
from pydantic import BaseModel

from assistantcron.cron import MACROS
from assistantcron.errors import InvalidSpec
from assistantcron.resource import GROUP, KIND, PLURAL, VERSION, Status
from assistantcron.schedule import Schedule
from assistantcron.spec import MENDS, AssistantCronSpec, parse_spec

ROOT = Path(__file__).parents[1]
FILE = ROOT / "crds" / "assistantcrons.yaml"
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
MAX_BYTES = 262_144
"""What an annotation holds, and so what `kubectl apply` can take."""

CRD: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
(SERVED,) = CRD["spec"]["versions"]
SCHEMA: dict[str, Any] = SERVED["schema"]["openAPIV3Schema"]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
LIST_TYPE = "x-kubernetes-list-type"
RULES = "x-kubernetes-validations"

DECLARED_FOR_CEL = {
    # CEL sees declared fields only, and the rule about context needs this one.
    "spec.config.configurable"
}

# Walking


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in the schema, with its path; `[]` stands for the items of a list."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


NODES = dict(nodes(SCHEMA))
OURS = {path: node for path, node in NODES.items() if path.partition(".")[0] in ("spec", "status")}
FIELDS = {path: node for path, node in OURS.items() if not path.endswith("[]")}
ALL_RULES = [(path, rule) for path, node in OURS.items() for rule in node.get(RULES, [])]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {path: node for path, node in OURS.items() if node["type"] == kind}


def model_nodes(model: type[BaseModel], root: str) -> dict[str, dict[str, Any]]:
    """The same for a model: references followed, "or null" dropped, for null counts as absent."""
    document = model.model_json_schema(by_alias=True, mode="validation")

    def resolve(schema: dict[str, Any]) -> dict[str, Any]:
        choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
        if len(choices) == 1:
            schema = {key: value for key, value in schema.items() if key != "anyOf"} | choices[0]
        if "$ref" in schema:
            target = document["$defs"][schema["$ref"].rpartition("/")[2]]
            schema = target | {key: value for key, value in schema.items() if key != "$ref"}
        for key, child in (schema.get("properties") or {}).items():
            schema = schema | {"properties": schema["properties"] | {key: resolve(child)}}
        if "items" in schema:
            schema = schema | {"items": resolve(schema["items"])}
        return schema

    return {f"{root}{path}": node for path, node in _rooted(nodes(resolve(document)))}


def _rooted(found: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((f".{path}" if path else "", node) for path, node in found)


MODEL_NODES = model_nodes(AssistantCronSpec, "spec") | model_nodes(Status, "status")


def enum_of(node: dict[str, Any]) -> list[Any] | None:
    return [node["const"]] if "const" in node else node.get("enum")


# Agreement with the models


def test_crd_and_models_have_the_same_fields() -> None:
    assert set(OURS) - DECLARED_FOR_CEL == set(MODEL_NODES)


@pytest.mark.parametrize("path", sorted(set(OURS) - DECLARED_FOR_CEL))
def test_crd_and_models_agree_on(path: str) -> None:
    ours, models = OURS[path], MODEL_NODES[path]
    assert ours["type"] == models["type"]
    assert enum_of(ours) == enum_of(models)
    assert set(ours.get("required", [])) == set(models.get("required", []))
    for bound in ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "maxProperties"):
        assert ours.get(bound) == models.get(bound), bound
    assert (ours.get("format") == "date-time") == (models.get("format") == "date-time")
    assert ours.get(PRESERVE, False) == (models.get("additionalProperties") is True)
    if path.startswith("spec"):
        assert ours.get("default") == models.get("default")
    else:
        assert "default" not in ours  # the operator writes the whole status


@pytest.mark.parametrize("path", [path for path, node in MODEL_NODES.items() if "pattern" in node])
def test_a_models_pattern_is_a_rule_with_the_same_sentence(path: str) -> None:
    pattern = MODEL_NODES[path]["pattern"]
    rules = [rule for rule in OURS[path][RULES] if f"self.matches('{pattern}')" in rule["rule"]]
    assert [rule["message"] for rule in rules] == [MENDS[pattern]]


def regex(path: str) -> re.Pattern[str]:
    """The pattern of the field's only rule."""
    (rule,) = OURS[path][RULES]
    found = re.fullmatch(r"self\.matches\('(.*)'\)", rule["rule"])
    assert found
    return re.compile(found[1], re.ASCII)


def expressions() -> Iterator[str]:
    """Cron expressions, right and wrong, put together from what may stand in one."""
    chance = random.Random(20261124)
    fine = ["0", "7", "1-5", "*/5", "*", "?", "1/2", "1,2,3", "00"]
    rare = ["L", "MON#1", "mon-fri", "JAN", "dec", "R", "H", "W", "LW", "60", "-", ",", "1_0", "@", "é", "Z"]
    yield from MACROS
    yield from ("@DAILY", " @weekly ", "@every 1h", "@reboot", "@")
    for _ in range(3000):
        count = 5 if chance.random() < 0.9 else chance.choice([4, 6])
        parts = [chance.choice(fine if chance.random() < 0.8 else rare) for _ in range(count)]
        yield chance.choice([" ", "  "]).join(parts)


def test_the_schemas_fence_lets_through_every_schedule_that_the_parser_takes() -> None:
    fence = regex("spec.schedule")
    assert fence == regex("spec.schedules[]")
    taken = [expression for expression in expressions() if understood(expression)]
    assert len(taken) > 100
    assert [expression for expression in taken if not fence.search(expression)] == []


def understood(expression: str) -> bool:
    try:
        Schedule.parse([expression], "Etc/UTC")
    except InvalidSpec:
        return False
    return True


def test_the_schemas_fence_lets_through_every_zone() -> None:
    fence, longest = regex("spec.timeZone"), OURS["spec.timeZone"]["maxLength"]
    assert [zone for zone in available_timezones() if not (fence.search(zone) and len(zone) <= longest)] == []


def test_names_are_those_of_the_code() -> None:
    spec = CRD["spec"]
    assert (spec["group"], SERVED["name"]) == (GROUP, VERSION)
    assert (spec["names"]["kind"], spec["names"]["plural"]) == (KIND, PLURAL)
    assert CRD["metadata"]["name"] == f"{PLURAL}.{GROUP}"
    assert (spec["scope"], spec["names"]["shortNames"]) == ("Namespaced", ["acron"])
    assert spec["names"]["categories"] == ["langgraph"]
    assert SERVED["subresources"] == {"status": {}}


# Conventions


def test_the_file_fits_kubectl_apply_and_is_left_alone_by_flux() -> None:
    assert FILE.stat().st_size < MAX_BYTES
    assert CRD["metadata"]["annotations"] == {"kustomize.toolkit.fluxcd.io/substitute": "disabled"}


def test_the_file_has_no_anchors_which_not_every_tool_understands() -> None:
    events = yaml.parse(FILE.read_text(encoding="utf-8"))
    assert [event for event in events if getattr(event, "anchor", None)] == []


@pytest.mark.parametrize("path", sorted(path for path in FIELDS if path))
def test_every_field_is_described_in_sentences(path: str) -> None:
    description = FIELDS[path]["description"]
    assert description.endswith(".")
    assert description[0].isupper() or description.startswith("http")


@pytest.mark.parametrize(
    "path", sorted(path for path in FIELDS if path.count(".") == 1 and path[:5] == "spec.")
)
def test_an_optional_field_says_what_absent_means_or_shows_its_default(path: str) -> None:
    name = path.removeprefix("spec.")
    described = FIELDS[path]
    told = re.search(r"[Aa]bsent means|exactly one of|Exactly one of", described["description"])
    assert name in OURS["spec"]["required"] or "default" in described or told


def test_strings_are_bounded() -> None:
    assert [
        path
        for path, node in of_type("string").items()
        if not ("enum" in node or node.get("format") == "date-time" or "maxLength" in node)
    ] == []


def test_lists_are_bounded_and_say_how_they_merge() -> None:
    assert [path for path, node in of_type("array").items() if not {"maxItems", LIST_TYPE} <= set(node)] == []


def test_free_objects_are_bounded() -> None:
    assert [p for p, node in OURS.items() if node.get(PRESERVE) and "maxProperties" not in node] == []


def test_integers_have_a_size_and_a_lower_bound() -> None:
    assert [p for p, node in of_type("integer").items() if not {"format", "minimum"} <= set(node)] == []


def test_there_are_no_floats_nulls_or_phases() -> None:
    assert {node["type"] for node in OURS.values()} == {"array", "boolean", "integer", "object", "string"}
    assert [path for path, node in OURS.items() if "nullable" in node or path.endswith(".phase")] == []


def test_list_items_have_no_defaults() -> None:
    """Argo CD would see a drift for ever."""
    assert [path for path, node in OURS.items() if "[]" in path and "default" in node] == []


def test_defaults_stand_on_optional_fields_only() -> None:
    required = {f"{path}.{name}" for path, node in OURS.items() for name in node.get("required", [])}
    assert [path for path, node in OURS.items() if path in required and "default" in node] == []


@pytest.mark.parametrize(("path", "rule"), ALL_RULES)
def test_every_rule_says_what_to_do(path: str, rule: dict[str, str]) -> None:
    assert re.search(r"\b(must|may not)\b", rule["message"])
    assert not rule["message"].endswith(".")
    assert rule["reason"] == "FieldValueInvalid"
    if "fieldPath" in rule:
        assert path + rule["fieldPath"] in OURS


def test_columns_are_those_of_the_design() -> None:
    columns = SERVED["additionalPrinterColumns"]
    assert [column["name"] for column in columns if not column.get("priority")] == [
        "Schedule",
        "Suspend",
        "Ready",
        "Last Status",
        "Last Run",
        "Next Run",
        "Age",
    ]
    assert [column["name"] for column in columns if column.get("priority") == 1] == [
        "Time Zone",
        "Assistant",
        "Active",
        "Reason",
    ]
    (coming,) = (column for column in columns if column["name"] == "Next Run")
    assert coming["type"] == "string"  # kubectl prints a date in the future as <invalid>


# Examples


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_are_valid_offline(file: Path) -> None:
    documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    assert documents
    for document in documents:
        assert document["apiVersion"] == f"{GROUP}/{VERSION}"
        assert document["kind"] == KIND
        spec = parse_spec(document["spec"])
        schedule = Schedule.parse(spec.expressions, spec.time_zone)
        assert schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC))


def test_there_is_an_example_of_each_way_to_use_it() -> None:
    documents = [
        doc["spec"] for file in EXAMPLES for doc in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]
    assert {doc.get("onRunCompleted") for doc in documents} == {None, "delete", "keep"}
    assert {"id" in doc["thread"] for doc in documents if "thread" in doc} == {True, False}
    assert {name for doc in documents for name in doc.get("deployment", {})} >= {"secretRef", "serviceRef"}
    assert any("schedules" in doc for doc in documents)
