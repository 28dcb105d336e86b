"""What `kubectl apply` and the operator would say of a file. Core: no I/O, no clock; `cli.py` prints it.

The models of `spec.py` agree with the CRD field by field; here stands what the API server checks besides: the
kind, the metadata, fields that are not there, and the few rules that the schema alone has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from assistantcron import documents
from assistantcron.egress import parse_url
from assistantcron.errors import InvalidSpec
from assistantcron.resource import GROUP, KIND, VERSION
from assistantcron.schedule import Schedule
from assistantcron.spec import (
    DNS_LABEL_PATTERN,
    MENDS,
    WEBHOOK_PATTERN,
    AssistantCronSpec,
    parse_spec,
    refusals,
    shown,
)

API_VERSION = f"{GROUP}/{VERSION}"
_FIELDS = {"apiVersion", "kind", "metadata", "spec", "status"}
_METADATA = {
    *("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences"),
    # Of an object that was exported from a cluster.
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp"),
    *("deletionGracePeriodSeconds", "managedFields", "selfLink"),
}
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"(?=.{1,63}\Z)[A-Za-z0-9]([-\w.]*[A-Za-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(rf"(?=.{{1,63}}\Z){DNS_LABEL_PATTERN}")
_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What the API server's `isURL` takes, for the schemes that we know.
_URL = re.compile(
    r"""(?i:https?)://
    (([-\w.~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})*@)?
    (\[(?P<address>[0-9A-Fa-f:.]+)(%25[-\w.~]+)?\]
      | ([-\w.~!$&'()*+,;=<>"] | [^\x00-\x7f] | %[89A-Fa-f][0-9A-Fa-f])*)
    (:[0-9]*)?
    (/ ([^%?\x00-\x1f\x7f] | %[0-9A-Fa-f]{2})*)?
    (\? [^\x00-\x1f\x7f]*)?""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True)
class Finding:
    """One resource; or a document that can't be one, which has problems; or one of another kind, without."""

    where: str
    """`namespace/name`, or which document it is."""
    problems: tuple[str, ...] = ()
    schedule: Schedule | None = None
    suspended: bool = False


def check(text: str) -> Iterator[Finding]:
    """All that the file holds, in its order."""
    for number, document in enumerate(documents.read(text), 1):
        if document.value is None:
            yield Finding(f"document {number}", document.mistakes)
            continue
        where = f"document {number} (line {document.line})"
        mistakes = document.mistakes
        for value, place in _single(document.value, where):
            finding = _judge(value, place)
            if mistakes and (finding.problems or finding.schedule):
                # kubectl takes the last of two equal keys: in another kind that is nobody's concern.
                finding, mistakes = replace(finding, problems=mistakes + finding.problems), ()
            yield finding


def _single(value: object, where: str) -> Iterator[tuple[object, str]]:
    """The object, or those that a List has, in which there may be Lists."""
    left = [(value, where)]
    while left:
        value, where = left.pop()
        kind = value.get("kind") if isinstance(value, dict) else None
        items = value.get("items") if isinstance(value, dict) and str(kind).endswith("List") else None
        if not isinstance(value, dict) or not isinstance(items, list):
            yield value, where
            continue
        left += [
            (_of_list(item, value, kind), f"{where}, item {number}") for number, item in enumerate(items, 1)
        ][::-1]


def _of_list(item: object, parent: dict[str, Any], kind: object) -> object:
    """An item of an AssistantCronList need not say what it is."""
    if isinstance(item, dict) and kind == f"{KIND}List" and not {"apiVersion", "kind"} & set(item):
        return {"apiVersion": parent.get("apiVersion"), "kind": KIND, **item}
    return item


def _judge(manifest: object, place: str) -> Finding:
    if not isinstance(manifest, dict):
        return Finding(place, ("must be a resource, with apiVersion, kind, metadata and spec",))
    version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not (isinstance(version, str) and version and isinstance(kind, str) and kind):
        return Finding(place, ("apiVersion and kind: must be set, to text",))
    where = _name(manifest.get("metadata")) or place
    if kind == KIND:
        wrong = (f"apiVersion: must be {API_VERSION}",)
        return _resource(manifest, where) if version == API_VERSION else Finding(where, wrong)
    ours = version.partition("/")[0] == GROUP
    return Finding(where, (f"kind: must be {KIND}, the only one of {GROUP}",) if ours else ())


def _resource(manifest: dict[str, Any], where: str) -> Finding:
    problems = [f"{shown(name)}: is not a field of an {KIND}" for name in manifest if name not in _FIELDS]
    problems += _metadata(manifest.get("metadata"))
    raw = manifest.get("spec")
    if not isinstance(raw, dict):
        return Finding(where, (*problems, "spec: must be set, to an object"))
    if wrong := refusals(raw):
        return Finding(where, (*problems, *(error.message for error in wrong)))
    spec = parse_spec(raw)
    problems += _beyond_the_models(spec)
    try:
        schedule = Schedule.parse(spec.expressions, spec.time_zone)
    except InvalidSpec as error:
        return Finding(where, (*problems, error.message))
    return Finding(where, tuple(problems), schedule, spec.suspend)


def _name(metadata: object) -> str | None:
    """As people say it, if there is one that can be said."""
    if not isinstance(metadata, dict):
        return None
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        return None
    return f"{namespace}/{name}" if isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace) else name


def _metadata(metadata: object) -> Iterator[str]:
    if not isinstance(metadata, dict):
        yield "metadata: must be an object with a name"
        return
    for field in metadata:
        if field not in _METADATA:
            yield f"metadata.{shown(field)}: is not a field of metadata"
    yield from _names(metadata)
    for field in ("labels", "annotations"):
        entries = metadata.get(field)
        if isinstance(entries, dict):
            yield from _texts(f"metadata.{field}", entries, labels=field == "labels")
        elif entries is not None:
            yield f"metadata.{field}: must be an object"


def _names(metadata: dict[str, Any]) -> Iterator[str]:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    if name is None:
        if not metadata.get("generateName"):
            yield "metadata.name: must be set"
    elif not isinstance(name, str):
        yield "metadata.name: must be text, so put it in quotes"
    elif not _NAME.fullmatch(name):
        yield "metadata.name: must be at most 253 lower-case letters and digits, with dashes or dots between"
    if namespace is not None and not (isinstance(namespace, str) and _NAMESPACE.fullmatch(namespace)):
        yield "metadata.namespace: must be at most 63 lower-case letters and digits, with dashes between"


def _texts(where: str, entries: dict[str, Any], *, labels: bool) -> Iterator[str]:
    mend = "must be at most 63 letters and digits, with dashes, dots or _ between"
    for key, value in entries.items():
        prefix, slash, name = (key if labels else key.lower()).rpartition("/")
        if not _LABEL.fullmatch(name) or (slash and not _NAME.fullmatch(prefix)):
            yield f"{where}.{shown(key)}: the key {mend}"
        elif not isinstance(value, (str, type(None))):
            yield f"{where}.{shown(key)}: must be text, so put it in quotes"
        elif labels and value and not _LABEL.fullmatch(value):
            yield f"{where}.{shown(key)}: {mend}"


def _is_url(text: str) -> bool:
    match = _URL.fullmatch(text)
    if match and match["address"]:
        try:
            ip_address(match["address"])
        except ValueError:
            return False
    return match is not None


def _beyond_the_models(spec: AssistantCronSpec) -> Iterator[str]:
    """What the CRD, or `egress.py`, refuses in a spec that the models let pass."""
    configurable = (spec.config or {}).get("configurable")
    if not isinstance(configurable, (dict, type(None))):
        yield "spec.config.configurable: must be an object"
    elif configurable and len(configurable) > 1000:
        yield "spec.config.configurable: must not have more than 1000 entries"
    if spec.webhook is not None and not _is_url(spec.webhook):
        yield f"spec.webhook: {MENDS[WEBHOOK_PATTERN]}"
    if spec.deployment is not None and (url := spec.deployment.url) is not None:
        try:
            parse_url(url, "spec.deployment.url")
        except InvalidSpec as error:
            yield error.message
        if _PERCENT.search(url):
            yield "spec.deployment.url: must have two hexadecimal digits after each %"
