"""The paths of one view: what its columns, iterations and conditions say in FHIRPath, as typed expressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cohortlake.core.views import plan
from cohortlake.core.views.definition import placed, refusal
from cohortlake.core.views.expressions import Compiler, UnknownElementError
from cohortlake.core.views.fhirpath import parse_path
from cohortlake.core.views.plan import Expression


@dataclass(frozen=True)
class Paths:
    """Compiles paths with a view's constants. Every error is a ViewError that names the place `at` and the path."""

    constants: Mapping[str, plan.Literal]

    def collection(self, text: str, focus: plan.Focus, at: str) -> Expression:
        """The items of a path that starts at `focus`."""
        compiler = self._compiler(text, at)
        return compiler.narrowed(compiler.expression(parse_path(text, at), focus))

    def value(self, text: str, focus: plan.Focus, at: str) -> Expression:
        """The one item of a path."""
        return self._compiler(text, at).single(self.collection(text, focus, at))

    def condition(self, text: str, focus: plan.Focus, at: str) -> Expression:
        """The truth of a path, which must give a boolean."""
        return self._compiler(text, at).boolean(self.collection(text, focus, at))

    def descendants(self, texts: Sequence[str], focus: plan.Focus, at: str) -> plan.Descendants:
        """The items of `repeat`: its paths must lead to items of one type, each path further down."""
        first = [self._reach(text, focus, f"{at}[{index}]") for index, text in enumerate(texts)]
        item = plan.Focus(next((found.type for found in first if found), focus.type), False)
        further = [self._reach(text, item, f"{at}[{index}]") for index, text in enumerate(texts)]
        for index, text in enumerate(texts):
            reached = [found for found in (first[index], further[index]) if found]
            place = placed(f"{at}[{index}]", text)
            if not reached:
                self.collection(text, item, f"{at}[{index}]")  # raises, with what the type lacks
            for found in reached:
                if found.type != item.type:
                    raise refusal(place, f"a path to {found.type}", f"a path to {item.type}, as the path before it")
                if not _leads_down(found):
                    raise refusal(place, "a path that stays where it is", "a path to an element")
        return plan.Descendants(
            item.type,
            True,
            tuple(found for found in first if found),
            tuple(found for found in further if found),
            placed(at, ", ".join(texts)),
        )

    def _reach(self, text: str, focus: plan.Focus, at: str) -> Expression | None:
        """What a path leads to, if anywhere: `answer.item` does not from a QuestionnaireResponse itself."""
        try:
            return self.collection(text, focus, at)
        except UnknownElementError:
            return None

    def _compiler(self, text: str, at: str) -> Compiler:
        return Compiler(self.constants, placed(at, text))


def _leads_down(expression: Expression) -> bool:
    while isinstance(expression, plan.Filter | plan.Item):
        expression = expression.source
    return isinstance(expression, plan.Member)
