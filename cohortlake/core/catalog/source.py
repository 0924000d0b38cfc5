"""Reading a declaration: YAML to a pydantic model, with errors that name file, line and what is expected."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from cohortlake.core.errors import CatalogError

# libyaml's parser, where PyYAML has it: a tenth of the time of the one in Python, of which a catalog took a second.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Location = tuple[str | int, ...]
Model = TypeVar("Model", bound="Declaration")


class Declaration(BaseModel):
    """Base of what a catalog declares: frozen, and a key that is not known is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _lines(node: yaml.Node, at: Location = ()) -> Iterable[tuple[Location, int]]:
    yield at, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*at, key.value), key.start_mark.line + 1
            for found in _lines(value, (*at, key.value)):
                if found[0] != (*at, key.value):
                    yield found
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*at, index))


def _duplicates(node: yaml.Node) -> Iterable[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)


def read_yaml(path: Path) -> tuple[Any, dict[Location, int]]:
    """The content of a YAML file, and the line of each place in it. Raises CatalogError where it is not YAML."""
    try:
        loader = LOADER(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if node is None:
            raise CatalogError(f"{path}:1: the file is empty")
        for key, line in _duplicates(node):
            raise CatalogError(f"{path}:{line}: the key {key!r} stands here a second time")
        # Before the content is made, which rewrites nodes where keys are merged (`<<`).
        lines = dict(_lines(node))
        return loader.construct_document(node), lines
    except FileNotFoundError as error:
        raise CatalogError(f"{path}: there is no such file") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise CatalogError(f"{path}:{line}: not YAML: {error.problem}") from error


def line_of(lines: dict[Location, int], at: Location) -> int:
    """The line of a place, or of the nearest place around it."""
    while at and at not in lines:
        at = at[:-1]
    return lines.get(at, 1)


def _say(error: Any, allowed: Iterable[str]) -> str:
    place = ".".join(str(part) for part in error["loc"]) or "the file"
    kind, found = error["type"], error.get("input")
    if kind == "missing":
        return f"{place} is missing"
    if kind == "extra_forbidden":
        return f"{place} is not known here; allowed are {', '.join(sorted(allowed))}"
    shown = found if isinstance(found, str | int | float | bool) else type(found).__name__
    return f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}; found {shown!r}"


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    """The models that an annotation names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _tags(model: type[BaseModel]) -> tuple[Any, ...]:
    """What `kind` says of a model that is one of several."""
    return get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _allowed(model: type[BaseModel], at: Location) -> list[str]:
    """The keys that the model allows at a place; pydantic's places hold the tag of a model that is one of several."""
    current = [model]
    for part in at[:-1]:
        tagged = [candidate for candidate in current if part in _tags(candidate)]
        fields = [candidate.model_fields[part] for candidate in current if part in candidate.model_fields]
        inner = [found for field in fields for found in _models(field.annotation)]
        current = tagged or inner or current
    return sorted({name for candidate in current for name in candidate.model_fields})


def _place(error: Any, lines: dict[Location, int]) -> Location:
    """Where in the file an error is: without the tags, which stand in no file."""
    place: Location = ()
    for part in error["loc"][:-1]:
        place = (*place, part) if (*place, part) in lines else place
    last = error["loc"][-1:]
    return (*place, *last) if error["type"] == "missing" or (*place, *last) in lines else place


def load(path: Path, model: type[Model], **given: Any) -> Model:
    """Read `path` as a `model`; `given` fills fields that the file's place says (the silo's name is its folder's).

    Raises CatalogError, every problem on a line of its own: `file:line: what was found, what is expected`.
    """
    content, lines = read_yaml(path)
    if not isinstance(content, dict):
        raise CatalogError(f"{path}:1: expected keys and values, found a {type(content).__name__}")
    return load_content(path, {**content, **given}, lines, model)


def load_content(path: Path, content: dict[str, Any], lines: dict[Location, int], model: type[Model]) -> Model:
    """What was read of a file as a `model`; `lines` are those of the places in it. Raises CatalogError as `load`."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = [
            f"{path}:{line_of(lines, place)}: {_say({**found, 'loc': place}, _allowed(model, tuple(found['loc'])))}"
            for found in json.loads(error.json(include_url=False, include_context=False))
            for place in [_place(found, lines)]
        ]
        raise CatalogError("\n".join(problems), "Mend the declaration; `cohortlake plan` checks it again.") from error
