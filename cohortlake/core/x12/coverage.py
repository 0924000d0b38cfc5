"""What no map takes of a set, counted by name: nothing is left aside without being told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from cohortlake.core.readers.x12_text import NAME, Segment
from cohortlake.core.x12.loops import Node
from cohortlake.core.x12.run import Run

# Segments whose first element says what the rest is.
QUALIFIED = frozenset(
    ("AMT", "CAS", "CRC", "DTM", "DTP", "HI", "LQ", "N1", "NM1", "NTE", "PER", "PRV", "PWK", "QTY", "REF")
)
CODE = re.compile(r"[A-Z0-9]{1,3}")


def unmapped(run: Run, root: Node, left_out: Mapping[str, str]) -> Counter[str]:
    """Elements that hold something and that no map read, by name: `REF[G1]-02`, `SV1-01.7`."""
    found: Counter[str] = Counter()
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if node.name in left_out or node in run.passed:
            continue
        nodes.extend(node.children)
        for segment in node.segments:
            found.update(_missed(run, segment, left_out))
    return found


def _missed(run: Run, segment: Segment, left_out: Mapping[str, str]) -> Iterator[str]:
    name = segment.name if NAME.fullmatch(segment.name) else "segments without a name"
    code = segment.text(1, 1)
    called = f"{name}[{code}]" if name in QUALIFIED and CODE.fullmatch(code) else name
    if name in left_out or called in left_out:
        return
    for element in range(1, len(segment.elements)):
        if f"{name}-{element}" in left_out or (segment.position, element, 0) in run.taken:
            continue
        components = segment.elements[element].split(segment.marks.component)
        for at, text in enumerate(components, 1):
            names = {f"{name}-{element}.{at}", f"{name}-*.{at}"}
            is_taken = (segment.position, element, at) in run.taken or not names.isdisjoint(left_out)
            if text.strip() and not is_taken:
                if name == "HI":
                    yield from ([f"HI[{components[0].strip()}]"] if CODE.fullmatch(components[0].strip()) else ["HI"])
                    break
                inner = f".{at}" if len(components) > 1 else ""
                yield f"{called}-{element:02}{inner}"
