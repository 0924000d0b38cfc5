"""Deletion vectors: which rows of a data file are no longer live, as Delta keeps them in a file of its own.

A vector is a RoaringBitmapArray in the portable format: row numbers by their upper 32 bits, and in each of those by the
next 16, as sorted numbers or, where there are many, as bits.
https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-format
https://github.com/RoaringBitmap/RoaringFormatSpec
"""

from __future__ import annotations

import base64
import struct
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAGIC, COOKIE = 1681511377, 12346
# Up to so many of 65,536 numbers are listed; more are bits.
MOST_LISTED = 4096
VERSION = b"\x01"
Numbers = np.ndarray[Any, Any]
# Z85 is base 85 with other letters: https://rfc.zeromq.org/spec/32/
B85 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
Z85 = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"


def write_vectors(table: Path, rows: Mapping[str, Numbers]) -> dict[str, dict[str, Any]]:
    """Write the vectors of several data files (row numbers from 0) into one file; gives their descriptors."""
    if not rows:
        return {}
    name = uuid.uuid4()
    content, described = bytearray(VERSION), {}
    for path, numbers in rows.items():
        data = bitmap_array(np.unique(np.asarray(numbers, dtype=np.uint64)))
        described[path] = {
            "storageType": "u",
            "pathOrInlineDv": base64.b85encode(name.bytes).translate(bytes.maketrans(B85, Z85)).decode(),
            "offset": len(content),
            "sizeInBytes": len(data),
            "cardinality": len(np.unique(numbers)),
        }
        content += struct.pack(">I", len(data)) + data + struct.pack(">I", zlib.crc32(data))
    (table / f"deletion_vector_{name}.bin").write_bytes(content)
    return described


def bitmap_array(numbers: Numbers) -> bytes:
    """Sorted numbers (uint64) as a RoaringBitmapArray."""
    upper = numbers >> np.uint64(32)
    parts = []
    for key in np.unique(upper):
        chosen = (numbers[upper == key] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        parts.append(struct.pack("<I", int(key)) + _bitmap(chosen))
    return struct.pack("<IQ", MAGIC, len(parts)) + b"".join(parts)


def _bitmap(numbers: Numbers) -> bytes:
    """Sorted numbers (uint32) as a Roaring bitmap without run containers."""
    keys, starts = np.unique(numbers >> 16, return_index=True)
    groups = np.split((numbers & 0xFFFF).astype("<u2"), starts[1:])
    containers = [_container(group) for group in groups]
    head = struct.pack("<II", COOKIE, len(groups))
    head += b"".join(struct.pack("<HH", int(key), len(group) - 1) for key, group in zip(keys, groups, strict=True))
    at = len(head) + 4 * len(groups)
    places = np.cumsum([at, *(len(container) for container in containers[:-1])]).astype("<u4")
    return head + places.tobytes() + b"".join(containers)


def _container(numbers: Numbers) -> bytes:
    if len(numbers) <= MOST_LISTED:
        return numbers.tobytes()
    bits = np.zeros(2**16, dtype=np.uint8)
    bits[numbers] = 1
    return np.packbits(bits, bitorder="little").tobytes()
