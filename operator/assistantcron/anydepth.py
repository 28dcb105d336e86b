"""JSON of any depth: one author must not blind the operator to everybody else. Base layer; `app.py` calls it.

The API server stores objects nested up to 10,000 levels deep, and no schema can bound a free payload. At a
tenth of that Python's parser gives up the whole list that such an object stands in, kopf's too. What is too
deep is refused later, by itself: `spec.MAX_DEPTH`.
"""

from __future__ import annotations

import json
import json.scanner
import sys
from typing import Any

FRAMES = 100_000
"""Of Python's own stack; a level needs up to four of them."""


class _Decoder(json.JSONDecoder):
    """The fast scanner, and where that gives up the slow one: since Python 3.12 C has its own limit."""

    def raw_decode(self, s: str, idx: int = 0) -> tuple[Any, int]:
        try:
            return super().raw_decode(s, idx)
        except RecursionError:
            patient = json.JSONDecoder()
            patient.parse_object = json.decoder.JSONObject  # type: ignore[attr-defined]
            patient.parse_array = json.decoder.JSONArray  # type: ignore[attr-defined]
            patient.scan_once = json.scanner.py_make_scanner(patient)  # type: ignore[attr-defined]
            return patient.raw_decode(s, idx)


def read_any_depth() -> None:
    """Let `json.loads`, whoever calls it, read what the API server can store."""
    sys.setrecursionlimit(FRAMES)
    json._default_decoder = _Decoder()  # type: ignore[attr-defined]  # noqa: SLF001 - kopf calls `json.loads`
