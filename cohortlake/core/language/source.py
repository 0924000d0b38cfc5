"""What a format supplies to the mapping language."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from cohortlake.core.language.parts import ALWAYS, Each, Part, Test

# A value as a format reads it (a text, a field, an element of a document), with its place.
Value = Any
# What makes values of an element's type of one value: (value, place, scope).
Turn = Callable[[Value, str, Any], list[Any]]


class Leaf(NamedTuple):
    """A compiled leaf: `read` gives values with their places, none where none of the bits it `needs` is set.

    `is_reference` says that they are references (`Type/id`). A leaf of one text at one `place` gives it by `one`, empty
    where there is none: that is faster.
    """

    read: Callable[[Any], Sequence[tuple[Value, str]]]
    needs: int = ALWAYS
    is_reference: bool = False
    one: Callable[[Any], str] | None = None
    place: str = ""


def text_leaf(one: Callable[[Any], str], needs: int, place: str) -> Leaf:
    """A leaf of one text."""
    return Leaf(lambda scope: [(text, place)] if (text := one(scope)) else [], needs, one=one, place=place)


class Source(ABC):
    """How a format's records are read. Each method raises ValueError, saying what is expected, for what is none.

    `name` is the format's. `directives` are of its own, by name: (compiler, template, kind, place) to a part.
    """

    name: str
    directives: Mapping[str, Callable[..., Part | None]]
    # Expressions that templates name as `$name`.
    expressions: Mapping[str, str] = MappingProxyType({})
    # Whether a value may say why it is absent (`absence`).
    tells_absence = False

    @abstractmethod
    def leaf(self, text: str, *, for_target: bool = False) -> Leaf | None:
        """What a text of a template reads; None where this kind of file has no such thing.

        A map makes a resource of what is read `for_target`.
        """

    @abstractmethod
    def test(self, text: str) -> Test:
        """A condition."""

    @abstractmethod
    def each(self, text: str) -> Each | None:
        """What `$each` goes through; None where this kind of file has no such thing."""

    def refer(self, name: str) -> Turn:
        """References to what the map of this name makes of a value (`=> Map`)."""
        raise ValueError(f"=> {name}: {self.name} refers by `& Map` to what is made anyway")

    @abstractmethod
    def turn(self, name: str, argument: str, kind: str) -> Turn | None:
        """What the format itself makes of a value by `| name argument`, or by none; None for a name that it has not."""

    def types_of(self, value: Value) -> Sequence[str]:
        """The types of a choice (`value[x]`) that a value may become, the best first; none where templates choose."""
        return ()

    def absence(self, value: Value) -> str | None:
        """Why a value is absent, a code of data-absent-reason."""
        return None

    @abstractmethod
    def codes_of(self, value: Value) -> Sequence[str]:
        """The codes of a value, the best first: what is looked up in a map."""

    @abstractmethod
    def convert(self, text: str, kind: str, scope: Any) -> Any:
        """A primitive of a FHIR type (or Money) of a text; None for what is not of the type."""
