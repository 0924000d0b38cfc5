"""Which elements of its resource type a view touches: what a reader has to type, and no more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from cohortlake.core.catalog.resource import IDENTIFIER, USUAL, Node
from cohortlake.core.fhir.definitions import elements
from cohortlake.core.views import plan
from cohortlake.core.views.definition import refusal

Path = tuple[str, ...]
# What a whole value of an inline type (`contact`) is shown without, as silver's data types are.
UNUSUAL = frozenset(("id", "extension", "modifierExtension"))


@dataclass(frozen=True)
class Needed:
    """`tree` is the resource type's node. A complex element without children is touched as a whole only, for whether
    it is there: text will do for it. `places` has, for each element, the first place in the view that touches it;
    `as_written` are the decimals of which it matters how they were written (1.50 is not 1.5 to lowBoundary)."""

    tree: Node
    places: Mapping[Path, str]
    as_written: frozenset[Path]


def needed(view: plan.ViewPlan, *others: plan.ViewPlan, depth: int = plan.DEPTH) -> Needed:
    """The elements that a view, or several of one resource type together, touch.

    `repeat` goes down `depth` levels, and touches whether there is one below. A column of a complex type brings the
    children that silver gives the type. Raises ViewError where one element is touched as two types, which two resource
    types inside a resource can bring about.
    """
    walk = _Walk(Node(view.resource, view.resource, False), {}, set(), depth)
    root = [_Place(walk.root, ())]
    for each in (view, *others):
        for condition in each.where:
            walk.reach(condition.value, root, condition.at)
        walk.select(each.select, root)
    return Needed(_ordered(walk.root), walk.places, frozenset(walk.as_written))


def touched(select: plan.Select, item_type: str, depth: int) -> Node:
    """The elements that a select touches of an item of a type that it is applied to."""
    walk = _Walk(Node(item_type, item_type, False), {}, set(), depth)
    walk.select(select, [_Place(walk.root, ())])
    return walk.root


@dataclass(frozen=True)
class _Place:
    node: Node
    path: Path


Places = Sequence[_Place]


@dataclass(frozen=True)
class _Walk:
    """Adds to the tree below `root` what expressions touch."""

    root: Node
    places: dict[Path, str]
    as_written: set[Path]
    depth: int

    def select(self, select: plan.Select, focus: Places) -> None:
        items = focus if select.iteration is None else self.reach(select.iteration, focus, select.at)
        for column in select.columns:
            for place in self.reach(column.value, items, column.at):
                self._whole(place, column.at, ())
        for inner in (*select.selects, *select.union):
            self.select(inner, items)

    def reach(self, expression: plan.Expression, focus: Places, at: str) -> list[_Place]:
        """The elements that an expression gives; none where it computes a value."""
        match expression:
            case plan.Focus():
                return list(focus)
            case plan.Member(source=source, name=name):
                known = elements(source.type).get(name.removeprefix("_"))
                is_list = known is not None and known.is_list
                return [self._child(of, name, expression.type, is_list, at) for of in self.reach(source, focus, at)]
            case plan.Choice(members=members):
                return [place for member in members for place in self.reach(member, focus, at)]
            case plan.Filter(source=source, criteria=criteria):
                items = self.reach(source, focus, at)
                self.reach(criteria, items, at)
                return items
            case plan.OfType(source=source):
                items = self.reach(source, focus, at)
                for item in items:
                    self._child(item, "resourceType", "code", False, at)
                return items
            case plan.Item(source=source, index=index):
                self.reach(index, focus, at)
                return self.reach(source, focus, at)
            case plan.Single(source=source):
                return self.reach(source, focus, at)
            case plan.Conditional(source=source, condition=condition, then=then, otherwise=otherwise):
                items = self.reach(source, focus, at)
                self.reach(condition, items, at)
                both = [*self.reach(then, items, at), *(self.reach(otherwise, items, at) if otherwise else ())]
                # Both may give one element (`coding`); a place holds a tree, so it is known by its path.
                return list({place.path: place for place in both}.values())
            case plan.Boundary(source=source):
                bounded = self.reach(source, focus, at)
                self.as_written.update(place.path for place in bounded if place.node.type == "decimal")
                return []
            case plan.ResourceKey(source=source):
                return self._leaf("id", self.reach(source, focus, at), at)
            case plan.ReferenceKey(source=source):
                return self._leaf("reference", self.reach(source, focus, at), at)
            case plan.Descendants():
                return self._descendants(expression, focus, at)
        for operand in _operands(expression):
            self.reach(operand, focus, at)
        return []

    def _leaf(self, name: str, of: Places, at: str) -> list[_Place]:
        for place in of:
            self._child(place, name, "string", False, at)
        return []

    def _descendants(self, expression: plan.Descendants, focus: Places, at: str) -> list[_Place]:
        level = [place for path in expression.first for place in self.reach(path, focus, at)]
        found = list(level)
        for _ in range(self.depth - 1):
            level = [place for path in expression.next for place in self.reach(path, level, at)]
            found += level
        for path in expression.next:
            self.reach(path, level, at)
        return found

    def _child(self, of: _Place, name: str, fhir_type: str, is_list: bool, at: str) -> _Place:
        path = (*of.path, name)
        self.places.setdefault(path, at)
        child = of.node.children.setdefault(name, Node(name, fhir_type, is_list))
        if (child.type, child.is_list) != (fhir_type, is_list):
            raise refusal(at, f"{'.'.join(path)} as {fhir_type}", f"{child.type}, as in {self.places[path]}")
        return _Place(child, path)

    def _whole(self, place: _Place, at: str, within: Path) -> None:
        """Add the usual children of a value that is shown as it is. A type inside itself, and a resource of any type,
        are shown as text."""
        fhir_type = place.node.type
        if place.node.is_primitive or fhir_type in (*within, "Resource"):
            return
        known = elements(fhir_type)
        is_in_reference = (fhir_type, within[-1:]) == ("Identifier", ("Reference",))
        usual = IDENTIFIER if is_in_reference else USUAL.get(fhir_type, [n for n in known if n not in UNUSUAL])
        for name in usual:
            child = self._child(place, name, known[name].type, known[name].is_list, at)
            self._whole(child, at, (*within, fhir_type))


def _operands(expression: plan.Expression) -> Iterator[plan.Expression]:
    values = (getattr(expression, field.name) for field in fields(expression))
    return (value for value in values if isinstance(value, plan.Expression))


def _ordered(node: Node) -> Node:
    """The tree with children in FHIR's own order, and those that FHIR's JSON adds (`_birthDate`) after them."""
    order = list(elements(node.type)) if node.children else []
    place = {name: index for index, name in enumerate(order)}
    names = sorted(node.children, key=lambda name: (place.get(name, len(order)), name))
    return Node(node.name, node.type, node.is_list, {name: _ordered(node.children[name]) for name in names})
