"""JSON of any depth, in a process of its own: it changes the interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

DEEPEST = 9_999
"""Levels that the API server takes."""

READ = """
import json, sys
from assistantcron.anydepth import read_any_depth

before, text, after = sys.argv[1], sys.argv[2], int(sys.argv[3])
read_any_depth()
value, depth = json.loads(before * after + "1" + text * after), 0
while isinstance(value, (dict, list)):
    value, depth = next(iter(value.values())) if isinstance(value, dict) else value[-1], depth + 1
print(depth, value)
"""


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[2,", "]")])
def test_what_the_api_server_can_store_is_read(opening: str, closing: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, opening, closing, str(DEEPEST)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (f"{DEEPEST} 1\n", "")


def test_where_c_gives_up_python_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from assistantcron import anydepth

    decoder = anydepth._Decoder()
    # As from Python 3.12 on, where no setting reaches the scanner in C.
    monkeypatch.setattr(decoder, "scan_once", _gives_up)
    assert decoder.decode(' {"a": [1, {"b": null}], "c": "\\u00e9"} ') == {"a": [1, {"b": None}], "c": "é"}


def _gives_up(_text: str, _at: int) -> tuple[object, int]:
    raise RecursionError
