"""JSON values, arrays of floats, and the hash that names content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FloatArray",
    "Json",
    "content_hash",
]

Json = dict[str, Any]
FloatArray = NDArray[np.float64]


def content_hash(value: Any, length: int = 12) -> str:
    """A hash of JSON content: equal content, equal name; key order does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:length]
