"""Short forms in declarations, written out before anything is compiled.

{name}                       a URI of `names`, or an argument of the template; {column.lower} in lower case
$each: ICD_DGNS_CD{1..25}    an object for each such column; `{n}` in it is the number, or the word of the series
$use: amount                 a template of shared.yaml; its arguments stand beside, and `$each` or `$when`
$rows: [[submitted, COL]]    the template once for each row, which gives its parameters in order
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cohortlake.core.language.declared import Shared

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
NAME = re.compile(r"\{(\w+)(\.lower)?\}")


def series_of(text: str, series: dict[str, list[str]]) -> tuple[str, list[str]] | None:
    """The braces in a text that stand for many, and what they stand for; None where there are none."""
    found = RANGE.search(text)
    if found:
        first, last = found.groups()
        return found[0], [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return next(((mark, words) for name, words in series.items() if (mark := f"{{{name}}}") in text), None)


def names_of(text: str, series: dict[str, list[str]]) -> list[str]:
    """The names that a name with a series stands for."""
    found = series_of(text, series)
    return [text.replace(found[0], word) for word in found[1]] if found else [text]


def expand(template: Any, shared: Shared, given: Mapping[str, str] = MappingProxyType({})) -> Any:
    """A template without short forms; `given` are names beside the shared ones.

    Raises ValueError for a template or a name that is not known.
    """
    if isinstance(template, list):
        found: list[Any] = []
        for item in template:
            made = expand(item, shared, given)
            found.extend(made) if _is_many(item, shared.series) and isinstance(made, list) else found.append(made)
        return found
    if isinstance(template, str):
        return _filled(template, {**shared.names, **given})
    if not isinstance(template, dict):
        return template
    if "$use" in template:
        return _used(template, shared, given)
    each = str(template.get("$each", ""))
    spread = series_of(each, shared.series)
    if spread:
        mark, words = spread
        copies = [{**template, "$each": each.replace(mark, word)} for word in words]
        return [expand(copy, shared, {**given, "n": word}) for copy, word in zip(copies, words, strict=True)]
    if "$months" in template:
        months = template["$months"]
        return {**template, "$months": {**months, "columns": names_of(months["columns"], shared.series)}}
    return {name: expand(value, shared, given) for name, value in template.items()}


def _is_many(template: Any, series: dict[str, list[str]]) -> bool:
    if not isinstance(template, dict):
        return False
    return "$rows" in template or series_of(str(template.get("$each", "")), series) is not None


def _used(template: dict[str, Any], shared: Shared, around: Mapping[str, str]) -> Any:
    name, templates, names = template["$use"], shared.templates, {**shared.names, **around}
    if name not in templates:
        raise ValueError(f"there is no template {name!r}; there are {', '.join(templates)}")
    body = templates[name]
    parameters = body.get("$parameters", [])
    plain = {part: value for part, value in body.items() if part != "$parameters"}
    plain.update({part: template[part] for part in ("$each", "$when") if part in template})
    own = {part: str(_filled(str(value), names)) for part, value in template.items() if not part.startswith("$")}
    if "$rows" not in template:
        return expand(plain, shared, {**around, **own})
    made = []
    for row in template["$rows"]:
        values = [str(value) for value in (row if isinstance(row, list) else [row])]
        if len(values) != len(parameters):
            raise ValueError(f"{name} takes {', '.join(parameters)}; found {values}")
        given = {part: _filled(value, names) for part, value in zip(parameters, values, strict=True)}
        made.append(expand(plain, shared, {**around, **own, **given}))
    return made


def _filled(text: str, names: dict[str, str]) -> str:
    def put(match: re.Match[str]) -> str:
        if match[1] not in names:
            raise ValueError(f"{{{match[1]}}} is not known; known are {', '.join(names)}")
        value = names[match[1]]
        return value.lower() if match[2] else value

    return NAME.sub(put, text)
