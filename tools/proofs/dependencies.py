"""What a test module depends on, derived from its source and from that of all that it imports.

Followed are imports wherever they stand (in functions, for types), modules named as text (`"spark_jobs.land:run"`,
`"-m", "cohortlake"`, `f"formats.{name}"`), `__init__.py` and `conftest.py`, and the files that are no Python of each
package that is reached. The folders of DATA count whole where a text names them, other files where a text is their
path. A run of a proof compares what it read with this (tools/proofs/plugin.py).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path, PurePosixPath

DATA = ("catalog", "data")
ALWAYS = ("requirements.lock",)
MODULE_TEXT = re.compile(r"\w+(\.\w+)+(:\w+)?")


class Sources:
    """The files of a tree, and what each Python file refers to."""

    def __init__(self, root: Path, paths: set[str]) -> None:
        """`paths` are the tree's files, from `root`."""
        self.root, self.paths = root, paths
        self._references: dict[str, set[str]] = {}

    @cached_property
    def modules(self) -> dict[str, str]:
        """Path of each Python file by the name under which it is imported."""
        python = (path for path in self.paths if path.endswith(".py"))
        return {path[:-3].replace("/", ".").removesuffix(".__init__"): path for path in python}

    @cached_property
    def _data_of_packages(self) -> dict[str, set[str]]:
        """Files that are no Python by the nearest folder above them that holds Python."""
        packages = {str(PurePosixPath(path).parent) for path in self.modules.values()}
        found: dict[str, set[str]] = {}
        for path in self.paths - set(self.modules.values()):
            nearest = next((str(above) for above in PurePosixPath(path).parents if str(above) in packages), ".")
            if nearest != ".":
                found.setdefault(nearest, set()).add(path)
        return found

    def dependencies(self, path: str) -> set[str]:
        """All files that the test module at `path` depends on, itself included."""
        found: set[str] = set()
        ahead = {path, *(str(above / "conftest.py") for above in PurePosixPath(path).parents), *ALWAYS} & self.paths
        while ahead:
            one = ahead.pop()
            found.add(one)
            if one.endswith(".py"):
                ahead |= (self._referred_to(one) | self._package(one)) - found
        return found

    def _package(self, path: str) -> set[str]:
        """The `__init__.py` files above a module, what else its folder holds, and the folder that is named like it."""
        above, own = PurePosixPath(path).parents, f"{path.removesuffix('.py')}/"
        initial = {str(folder / "__init__.py") for folder in above} & self.paths
        named = {file for file in self.paths if file.startswith(own)}
        return initial | named | self._data_of_packages.get(str(above[0]), set())

    def _referred_to(self, path: str) -> set[str]:
        if path not in self._references:
            tree = ast.parse((self.root / path).read_bytes(), path)
            self._references[path] = {file for node in ast.walk(tree) for file in self._files_of(node, path)}
        return self._references[path]

    def _files_of(self, node: ast.AST, path: str) -> Iterator[str]:
        """The files that a node of a module's syntax tree refers to."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from self._module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = [*PurePosixPath(path).parts[: -node.level]] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield from self._module(f"{name}.{alias.name}")
        elif isinstance(node, ast.List | ast.Tuple):
            yield from self._programs(node.elts)
        elif isinstance(node, ast.Call):
            yield from self._programs(node.args)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from self._text(node.value)

    def _module(self, name: str) -> Iterator[str]:
        """The module of that name, or the nearest above: `spark_jobs.land.run` is a name in `spark_jobs.land`."""
        while name and name not in self.modules:
            name = name.rpartition(".")[0]
        if name:
            yield self.modules[name]

    def _programs(self, arguments: list[ast.expr]) -> Iterator[str]:
        """Modules that a command line runs: `[python, "-m", "cohortlake", ...]`."""
        values = [argument.value if isinstance(argument, ast.Constant) else None for argument in arguments]
        for option, name in pairwise(values):
            if option == "-m" and isinstance(name, str):
                yield from self._module(f"{name}.__main__" if f"{name}.__main__" in self.modules else name)

    def _text(self, text: str) -> Iterator[str]:
        folder = text.split("/")[0]
        if folder in DATA:
            yield from (path for path in self.paths if path.startswith(f"{folder}/"))
        elif text in self.paths and (folder != text or not text.endswith(".md")):
            # `README.md` alone is what many folders have.
            yield text
        elif MODULE_TEXT.fullmatch(text):
            yield from self._module(text.split(":")[0])
        elif text.endswith(".") and text[:-1] in self.modules:
            # The beginning of a name that is put together when the code runs: any module of the package may be meant.
            yield from (file for name, file in self.modules.items() if name.startswith(text))
