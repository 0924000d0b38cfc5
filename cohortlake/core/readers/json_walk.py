"""One walk over lines of JSON that finds each value's column and place, and one over what it found that fills columns.

Elements that the schema lacks are passed over, and their places given. A line that is in any other way out of the
ordinary (a wrong type, a null, an exponent, a name told twice, no JSON at all) is left out whole, for an exact look.

numba compiles both walks and keeps what it compiled as long as this file stays as it is; so all that they use is here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

# A NumPy array.
Numbers = Any

# A schema is a tree of nodes, the root first, and those within a node next to each other: an int32 array of shape
# (nodes, 5) with the kind, the first node within and their number, and where the name stands among the names.
KIND, FIRST, COUNT, NAME, LENGTH = range(5)
STRUCT, LIST, STRING, BOOLEAN, INTEGER, DECIMAL = range(6)
# A value that was found: its node, its place in the node's column, and where it begins and ends: its bytes in the text
# (a string with escapes: the negative begin), its items in their column; of a boolean, whether it is true.
NODE, SLOT, BEGIN, END = range(4)
# An element that the schema lacks: the line (of those that are not left out), the node that lacks it, its place there,
# and where in the text its name, its value, and the root's element that it is in (from its name on) begin and end.
LINE, PARENT, PLACE, NAME_BEGIN, NAME_END, VALUE_BEGIN, VALUE_END, ROOT_BEGIN, ROOT_END = range(9)
# What stands for the nodes of lists and objects within such an element; and how deep a line that is not strange goes.
LOST_LIST, LOST_OBJECT = -2, -1
NOWHERE = -2
DEEPEST = 128
# Elements that the schema lacks, in a line that is not strange: each is compared with those before it.
MANY = 256
# What a line may be: strange, and left out; inexact where a DECIMAL(38,18) does not give a number back as it was
# written (1.0 is not 1).
IS_STRANGE, IS_INEXACT = 1, 2
# Digits before and behind the point of a number that is not strange; digits of an integer that surely fits 32 bits.
DIGITS, SHORT = 18, 9
SCALE = 10**DIGITS
HALF = 32
LOW = (1 << HALF) - 1

QUOTE, BACKSLASH, SPACE, COLON, COMMA, POINT, MINUS, ZERO, NINE = b'"\\ :,.-09'
OPEN_LIST, OPEN_OBJECT, CLOSE_LIST, CLOSE_OBJECT = b"[{]}"
TAB, LINE_FEED, RETURN = b"\t\n\r"
SHORT_ESCAPES: Numbers = np.full(256, -1, np.int16)
SHORT_ESCAPES[list(b'"\\/bfnrt')] = list(b'"\\/\b\f\n\r\t')
# What stands in a string as itself.
IS_PLAIN: Numbers = np.arange(256) >= SPACE
IS_PLAIN[[QUOTE, BACKSLASH]] = False
HEX: Numbers = np.full(256, -1, np.int32)
HEX[list(b"0123456789abcdefABCDEF")] = [*range(16), *range(10, 16)]
TRUE, FALSE, NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
LONG_ESCAPE = ord("u")
SURROGATES = (0xD800, 0xDFFF)


compiled: Callable[[Callable[..., Any]], Any] = njit


def kept(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called, and keep what was compiled where there is a folder for it."""
    try:
        return njit(cache=True)(function)
    except RuntimeError:  # neither beside this file nor in the user's cache
        return njit(function)


@kept
def walk(
    data: Numbers,
    starts: Numbers,
    nodes: Numbers,
    names: Numbers,
    follow: Numbers,
    found: Numbers,
    lost: Numbers,
    signs: Numbers,
) -> tuple[int, int, int, Numbers, Numbers]:
    """Walk lines of bytes (uint8): line i is `data[starts[i]:starts[i + 1]]`.

    Fills `found` (int32, shape (values, 4), a value for two bytes at most), `lost` (int32, shape (elements, 9), one
    for four bytes at most), and a line's sign each. `follow` has the node that stood behind a node last and, after all
    nodes, that which stood first within one; both are updated. Gives how many values were found, and elements lost, in
    how many lines; how far each column is filled, and its bytes of text.
    """
    came: Numbers = np.zeros(len(nodes), np.int32)
    sizes: Numbers = np.zeros(len(nodes), np.int64)
    inside: Numbers = np.zeros(DEEPEST, np.int32)
    slots: Numbers = np.zeros(DEEPEST, np.int32)
    last: Numbers = np.zeros(DEEPEST, np.int32)
    values, elements, lines = 0, 0, 0
    for line in range(len(starts) - 1):
        stop = starts[line + 1]
        at = _after_space(data, starts[line], stop)
        before, first, whole = values, elements, elements
        root, lost_at = at, NOWHERE
        sign = IS_STRANGE
        depth, is_first = -1, True
        if at < stop and data[at] == OPEN_OBJECT:
            depth, inside[0], slots[0], last[0] = 0, 0, lines, len(nodes)
            at += 1
        while depth >= 0:
            if depth == 0:
                while whole < elements:
                    lost[whole, ROOT_END] = at
                    whole += 1
            at = _after_space(data, at, stop)
            if at >= stop:
                break
            parent = inside[depth]
            is_list = parent == LOST_LIST or (parent >= 0 and nodes[parent, KIND] == LIST)
            if data[at] == (CLOSE_LIST if is_list else CLOSE_OBJECT):
                if is_list and parent >= 0:
                    found[last[depth], END] = came[nodes[parent, FIRST]]
                at += 1
                depth -= 1
                is_first = False
                if depth == lost_at:
                    lost[elements - 1, VALUE_END], lost_at = at, NOWHERE
                if depth < 0 and _after_space(data, at, stop) == stop:
                    sign &= ~IS_STRANGE
                continue
            if not is_first:
                if data[at] != COMMA:
                    break
                at = _after_space(data, at + 1, stop)
                if at >= stop:
                    break
            is_first = False
            node, slot = -1, 0
            if is_list:
                if parent >= 0:
                    node = nodes[parent, FIRST]
                    slot = came[node]
            else:
                if data[at] != QUOTE:
                    break
                begin, slot = at + 1, slots[depth]
                root = at if depth == 0 else root
                is_guess = False
                if parent >= 0:
                    node = follow[last[depth]]
                    end = begin + nodes[node, LENGTH]
                    is_guess = (
                        end < stop
                        and data[end] == QUOTE
                        and _is_same(data, begin, names, nodes[node, NAME], nodes[node, LENGTH])
                    )
                if not is_guess:
                    node, end = _named(data, begin, stop, nodes, names, parent)
                    if end < 0:
                        break
                if node >= 0:
                    if slot < came[node]:
                        break
                    follow[last[depth]] = node
                    last[depth] = node
                elif parent >= 0:
                    if elements - first == MANY or _is_twice(data, lost, first, elements, parent, slot, begin, end):
                        break
                    lost[elements, LINE], lost[elements, PARENT], lost[elements, PLACE] = lines, parent, slot
                    lost[elements, NAME_BEGIN], lost[elements, NAME_END] = begin, end
                    lost[elements, ROOT_BEGIN] = root
                at = _after_space(data, end + 1, stop)
                if at >= stop or data[at] != COLON:
                    break
                at = _after_space(data, at + 1, stop)
                if at >= stop:
                    break
                if node < 0 and parent >= 0:
                    lost[elements, VALUE_BEGIN] = at
                    elements += 1
            if node < 0:
                if data[at] in (OPEN_LIST, OPEN_OBJECT):
                    if depth + 1 >= DEEPEST:
                        break
                    lost_at = depth if lost_at == NOWHERE else lost_at
                    depth += 1
                    inside[depth], is_first = (LOST_LIST if data[at] == OPEN_LIST else LOST_OBJECT), True
                    at += 1
                else:
                    at = _scalar_end(data, at, stop)
                    if at < 0:
                        break
                    if lost_at == NOWHERE:
                        lost[elements - 1, VALUE_END] = at
                continue
            kind = nodes[node, KIND]
            begin, end = at, at
            if kind == STRING:
                if data[at] != QUOTE:
                    break
                begin = end = at + 1
                while end + 4 <= stop and (
                    IS_PLAIN[data[end]] & IS_PLAIN[data[end + 1]] & IS_PLAIN[data[end + 2]] & IS_PLAIN[data[end + 3]]
                ):
                    end += 4
                while end < stop and IS_PLAIN[data[end]]:
                    end += 1
                if end >= stop:
                    break
                is_plain = data[end] == QUOTE
                if not is_plain:
                    end = _string_end(data, end, stop)
                    if end < 0:
                        break
                sizes[node] += end - begin
                at = end + 1
                begin = begin if is_plain else -begin
            elif kind <= LIST:
                if data[at] != (OPEN_LIST if kind == LIST else OPEN_OBJECT) or depth + 1 >= DEEPEST:
                    break
                at += 1
                depth += 1
                inside[depth], slots[depth], is_first = node, slot, True
                last[depth] = values if kind == LIST else len(nodes) + node
                begin = came[nodes[node, FIRST]] if kind == LIST else 0
            elif kind == BOOLEAN:
                begin = int(data[at] == TRUE[0])
                end = at = _after_word(data, at, stop, TRUE if begin else FALSE)
                if at < 0:
                    break
            else:
                at, is_inexact = _number_end(data, at, stop, kind)
                if at < 0:
                    break
                sign |= IS_INEXACT * is_inexact
                end = at
            found[values, NODE], found[values, SLOT], found[values, BEGIN], found[values, END] = node, slot, begin, end
            values += 1
            came[node] = slot + 1
        if sign & IS_STRANGE:
            elements = first
            while values > before:
                values -= 1
                came[found[values, NODE]] = found[values, SLOT]
        else:
            lines += 1
        signs[line] = sign
    return values, elements, lines, came, sizes


@compiled
def _after_space(data: Numbers, at: int, stop: int) -> int:
    while at < stop and data[at] <= SPACE and data[at] in (SPACE, TAB, LINE_FEED, RETURN):
        at += 1
    return at


@compiled
def _named(data: Numbers, at: int, stop: int, nodes: Numbers, names: Numbers, parent: int) -> tuple[int, int]:
    """The node whose name begins here, -1 where there is none; and where its quote stands, -1 where it is no name."""
    end = at
    while end < stop and IS_PLAIN[data[end]]:
        end += 1
    if end >= stop or data[end] != QUOTE:
        return -1, -1
    if parent >= 0:
        first = nodes[parent, FIRST]
        for node in range(first, first + nodes[parent, COUNT]):
            if nodes[node, LENGTH] == end - at and _is_same(data, at, names, nodes[node, NAME], end - at):
                return node, end
    return -1, end


@compiled
def _is_twice(
    data: Numbers, lost: Numbers, first: int, elements: int, parent: int, slot: int, begin: int, end: int
) -> bool:
    """Whether an object has an element that the schema lacks for the second time."""
    for index in range(first, elements):
        start, length = lost[index, NAME_BEGIN], lost[index, NAME_END] - lost[index, NAME_BEGIN]
        is_beside = lost[index, PARENT] == parent and lost[index, PLACE] == slot
        if is_beside and length == end - begin and _is_same(data, begin, data, start, length):
            return True
    return False


@compiled
def _scalar_end(data: Numbers, at: int, stop: int) -> int:
    """Where a value that is no list and no object ends, -1 where it is none or strange."""
    byte = data[at]
    end: int = -1
    if byte == QUOTE:
        end = _string_end(data, at + 1, stop) + 1 or -1
    elif byte == TRUE[0]:
        end = _after_word(data, at, stop, TRUE)
    elif byte == FALSE[0]:
        end = _after_word(data, at, stop, FALSE)
    elif byte == NULL[0]:
        end = _after_word(data, at, stop, NULL)
    else:
        end = _number_end(data, at, stop, DECIMAL)[0]
    return end


@compiled
def _is_same(data: Numbers, at: int, names: Numbers, start: int, length: int) -> bool:
    same = 0
    while same < length and data[at + same] == names[start + same]:
        same += 1
    return same == length


@compiled
def _string_end(data: Numbers, at: int, stop: int) -> int:
    """Where the closing quote stands of a string with escapes, -1 where it is none."""
    while at < stop and data[at] != QUOTE:
        length = 1 if IS_PLAIN[data[at]] else _escape_length(data, at, stop)
        if length == 0:
            return -1
        at += length
    return at if at < stop else -1


@compiled
def _escape_length(data: Numbers, at: int, stop: int) -> int:
    """The bytes of an escape; 0 where it is none, or half of a surrogate pair."""
    if data[at] != BACKSLASH:
        return 0
    if at + 1 < stop and SHORT_ESCAPES[data[at + 1]] >= 0:
        return 2
    if at + 5 >= stop or data[at + 1] != LONG_ESCAPE:
        return 0
    code = 0
    for index in range(at + 2, at + 6):
        if HEX[data[index]] < 0:
            return 0
        code = code * 16 + HEX[data[index]]
    return 0 if SURROGATES[0] <= code <= SURROGATES[1] else 6


@compiled
def _after_word(data: Numbers, at: int, stop: int, word: Numbers) -> int:
    for letter in word:
        if at >= stop or data[at] != letter:
            return -1
        at += 1
    return at


@compiled
def _number_end(data: Numbers, at: int, stop: int, kind: int) -> tuple[int, bool]:
    """Where a number ends, -1 where it is none or strange, and whether it is inexact."""
    at += data[at] == MINUS
    first = at
    while at < stop and ZERO <= data[at] <= NINE:
        at += 1
    digits = at - first
    if digits == 0 or (digits > 1 and data[first] == ZERO) or digits > (SHORT if kind == INTEGER else DIGITS):
        return -1, False
    is_inexact = False
    if at < stop and data[at] == POINT:
        at += 1
        first = at
        while at < stop and ZERO <= data[at] <= NINE:
            at += 1
        if at == first or at - first > DIGITS or kind == INTEGER:
            return -1, False
        is_inexact = data[at - 1] == ZERO
    return at, is_inexact


@kept
def fill(
    data: Numbers,
    nodes: Numbers,
    found: Numbers,
    values: int,
    lengths: Numbers,
    bases: Numbers,
    valid: Numbers,
    offsets: Numbers,
    texts: Numbers,
    numbers: Numbers,
) -> tuple[Numbers, Numbers]:
    """Put the values that were found into columns.

    `lengths` are the rows of each node's column, `bases` where it begins: among the valid flags (uint8, zeros), the
    offsets (int32), the bytes of text (uint8), and the numbers (int64; two a decimal, the lower half first).
    Gives how many values each column has, and where its texts or items end.
    """
    present: Numbers = np.zeros(len(nodes), np.int32)
    filled: Numbers = np.zeros(len(nodes), np.int32)
    ends: Numbers = np.zeros(len(nodes), np.int32)
    for index in range(values):
        node, slot, begin, end = found[index, NODE], found[index, SLOT], found[index, BEGIN], found[index, END]
        kind = nodes[node, KIND]
        present[node] += 1
        valid[bases[node, 0] + slot] = 1
        if kind in (STRING, LIST):
            base = bases[node, 1]
            for place in range(filled[node], slot + 1):
                offsets[base + place] = ends[node]
            filled[node] = slot + 1
            if kind == LIST:
                ends[node] = end
            else:
                base = bases[node, 2]
                to = base + ends[node]
                if begin < 0:
                    to = _unescape(data, -begin, end, texts, to)
                else:
                    for place in range(end - begin):
                        texts[to + place] = data[begin + place]
                    to += end - begin
                ends[node] = to - base
        elif kind == BOOLEAN:
            numbers[bases[node, 3] + slot] = begin
        elif kind == INTEGER:
            numbers[bases[node, 3] + slot] = _digits(data, begin, end)
        elif kind == DECIMAL:
            to = bases[node, 3] + 2 * slot
            numbers[to], numbers[to + 1] = _decimal(data, begin, end)
    for node in range(len(nodes)):
        if present[node] and nodes[node, KIND] in (STRING, LIST):
            for place in range(filled[node], lengths[node] + 1):
                offsets[bases[node, 1] + place] = ends[node]
    return present, ends


@compiled
def _unescape(data: Numbers, at: int, stop: int, texts: Numbers, to: int) -> int:
    """Write a string without its escapes, as UTF-8; gives where it ends."""
    while at < stop:
        if data[at] != BACKSLASH:
            texts[to] = data[at]
            to += 1
            at += 1
        elif data[at + 1] != LONG_ESCAPE:
            texts[to] = SHORT_ESCAPES[data[at + 1]]
            to += 1
            at += 2
        else:
            code = 0
            for index in range(at + 2, at + 6):
                code = code * 16 + HEX[data[index]]
            at += 6
            if code < 0x80:
                texts[to] = code
                to += 1
            elif code < 0x800:
                texts[to], texts[to + 1] = 0xC0 | code >> 6, 0x80 | code & 0x3F
                to += 2
            else:
                texts[to], texts[to + 1] = 0xE0 | code >> 12, 0x80 | code >> 6 & 0x3F
                texts[to + 2] = 0x80 | code & 0x3F
                to += 3
    return to


@compiled
def _digits(data: Numbers, at: int, stop: int) -> int:
    """An integer of at most 18 digits."""
    is_negative = data[at] == MINUS
    number = 0
    for index in range(at + is_negative, stop):
        number = number * 10 + (data[index] - ZERO)
    return -number if is_negative else number


@compiled
def _decimal(data: Numbers, at: int, stop: int) -> tuple[int, int]:
    """A number with at most 18 digits before and behind the point, times 10**18: its lower 64 bits, and the upper."""
    is_negative = data[at] == MINUS
    at += is_negative
    point = at
    while point < stop and data[point] != POINT:
        point += 1
    whole, part = _digits(data, at, point), 0
    for index in range(DIGITS):
        place = point + 1 + index
        part = part * 10 + (data[place] - ZERO if place < stop else 0)
    # The product of two numbers below 2**60, by halves of 32 bits.
    low, high = (whole & LOW) * (SCALE & LOW), (whole >> HALF) * (SCALE >> HALF)
    middle = (whole & LOW) * (SCALE >> HALF) + (low >> HALF & LOW)
    other = (whole >> HALF) * (SCALE & LOW) + (middle & LOW)
    high += (middle >> HALF) + (other >> HALF)
    low = (other & LOW) << HALF | low & LOW
    total = low + part
    carry = (total ^ (-1 << 63)) < (low ^ (-1 << 63))
    high += carry
    if is_negative:
        total, high = -total, ~high + (total == 0)
    return total, high
