"""tf.Example without TensorFlow: a reader of the few messages of protocol buffers that it is made of.

Example {features: Features = 1}, Features {map<string, Feature> = 1}, Feature {oneof: BytesList = 1, FloatList = 2,
Int64List = 3}, each list {repeated value = 1}, numbers packed or not. As in protocol buffers the last entry of a name
counts, unknown fields are passed over, and lists of one kind in one feature are joined.

Source: protobuf.dev/programming-guides/encoding; tensorflow/core/example/example.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator
from typing import Any

BYTES, FLOAT, INT = 1, 2, 3
Feature = tuple[int, list[Any]]  # kind, and values: bytes, floats or integers
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}


class MalformedError(ValueError):
    """The bytes are no tf.Example."""


def features(record: bytes, wanted: Collection[bytes] | None = None) -> dict[bytes, Feature]:
    """Returns the features of a serialized tf.Example that have a kind: name to kind and values.

    Args:
        record: the message.
        wanted: names of the features to read; None: all.

    Raises:
        MalformedError: the bytes are no tf.Example.
    """
    found: dict[bytes, Feature] = {}
    for number, wire, start, stop in _fields(record, 0, len(record)):
        if number == 1 and wire == _LENGTH:
            for field, kind, first, last in _fields(record, start, stop):
                if field == 1 and kind == _LENGTH:
                    _entry(record, first, last, wanted, found)
    return found


def _entry(record: bytes, start: int, stop: int, wanted: Collection[bytes] | None, found: dict[bytes, Feature]) -> None:
    name = b""
    places: list[tuple[int, int]] = []
    for number, wire, first, last in _fields(record, start, stop):
        if wire == _LENGTH and number == 1:
            name = record[first:last]
        elif wire == _LENGTH and number == 2:
            places.append((first, last))
    if wanted is not None and name not in wanted:
        return
    found.pop(name, None)
    feature = _feature(record, places)
    if feature is not None:
        found[name] = feature


def _feature(record: bytes, places: list[tuple[int, int]]) -> Feature | None:
    kind = 0
    values: list[Any] = []
    for start, stop in places:
        for number, wire, first, last in _fields(record, start, stop):
            if wire != _LENGTH or number not in _READ:
                continue
            if number != kind:
                kind, values = number, []
            values.extend(_READ[number](record, first, last))
    return (kind, values) if kind else None


def _fields(record: bytes, place: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Yields the number, the wire type and the place of the content of each field of a message."""
    while place < stop:
        tag = record[place]
        place += 1
        if tag > 127:
            tag, place = _varint(record, place - 1, stop)
        wire = tag & 7
        if wire == _LENGTH:
            if place >= stop:
                raise MalformedError("it ends within a field")
            length = record[place]
            place += 1
            if length > 127:
                length, place = _varint(record, place - 1, stop)
            last = place + length
        elif wire == _VARINT:
            last = _varint(record, place, stop)[1]
        elif wire in _SIZES:
            last = place + _SIZES[wire]
        else:
            raise MalformedError(f"it has a field of wire type {wire}")
        if last > stop:
            raise MalformedError("a field is longer than what it is part of")
        if tag < 8:
            raise MalformedError("it has a field of number 0")
        yield tag >> 3, wire, place, last
        place = last


def _varint(record: bytes, place: int, stop: int) -> tuple[int, int]:
    """Returns a number written in groups of seven bits, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= stop:
            raise MalformedError("it ends within a number")
        byte = record[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, place
    raise MalformedError("it has a number of more than ten bytes")


def _bytes(record: bytes, start: int, stop: int) -> list[bytes]:
    return [
        record[first:last]
        for number, wire, first, last in _fields(record, start, stop)
        if number == 1 and wire == _LENGTH
    ]


def _floats(record: bytes, start: int, stop: int) -> list[float]:
    values: list[float] = []
    for number, wire, first, last in _fields(record, start, stop):
        if number == 1 and wire in (_LENGTH, _FIXED32):
            if (last - first) % 4:
                raise MalformedError("its packed floats are not whole")
            values.extend(struct.unpack(f"<{(last - first) // 4}f", record[first:last]))
    return values


def _ints(record: bytes, start: int, stop: int) -> list[int]:
    values: list[int] = []
    for number, wire, first, last in _fields(record, start, stop):
        if number == 1 and wire in (_LENGTH, _VARINT):
            place = first
            while place < last:
                value, place = _varint(record, place, last)
                values.append(value - (1 << 64) if value >> 63 else value)
    return values


_READ: dict[int, Callable[[bytes, int, int], list[Any]]] = {BYTES: _bytes, FLOAT: _floats, INT: _ints}
