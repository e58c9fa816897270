# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Fails on a private attribute, one that begins with an underscore, of a class that is not ours.

Such attributes change or go without notice, in any release. Found are:

- `other._name`, and getattr(other, '_name'), of anything but self and cls;
- `self._name` where the class or a base of it in the same file neither assigns nor defines it;
- `self._name` and `def _name` where a base class from another package has that name too;
- `from package import _name`, of another package.

ruff's SLF001 knows only the first of them.
"""

import argparse
import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

OURS = ('instance_seg_ros', 'training')
# Documented, in spite of its name.
PUBLIC = {('os', '_exit')}
OURSELVES = ('self', 'cls')
BY_NAME = ('getattr', 'hasattr', 'setattr', 'delattr')
Problem = tuple[int, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folders', nargs='+', type=Path, help='folders with Python files')
    failed = False
    for folder in parser.parse_args().folders:
        for path in sorted(folder.rglob('*.py')):
            for line, text in problems_in(path.read_text('utf-8')):
                print(f'{path}:{line}: {text}')
                failed = True
    return 1 if failed else 0


def problems_in(source: str) -> list[Problem]:
    """Return what is wrong in a module, each with its line."""
    tree = ast.parse(source)
    classes = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    found = [*_imports(tree), *_others(tree)]
    for definition in classes.values():
        found += _in_class(definition, classes, imported_names(tree))
    return sorted(found)


def is_private(name: str) -> bool:
    """Return whether a name is private: neither public nor one of Python's own, like __init__."""
    return name.startswith('_') and not name.endswith('__') and name != '_'


def private_names(definition: ast.ClassDef) -> dict[str, int]:
    """Return the private attributes that a class assigns or defines, with the line of each."""
    names = {
        node.name: node.lineno
        for node in definition.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in OURSELVES:
                names.setdefault(node.attr, node.lineno)
    for statement in definition.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        targets = [statement.target] if isinstance(statement, ast.AnnAssign) else targets
        for target in targets:
            if isinstance(target, ast.Name):
                names.setdefault(target.id, statement.lineno)
    return {name: line for name, line in names.items() if is_private(name)}


def _imports(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not _is_ours(node.module or ''):
            for name in [*(node.module or '').split('.'), *(alias.name for alias in node.names)]:
                if is_private(name):
                    yield node.lineno, f'{name} of {node.module} is private'


def _others(tree: ast.Module) -> Iterator[Problem]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = ast.unparse(node.value)
            if owner not in OURSELVES and (owner, node.attr) not in PUBLIC:
                yield node.lineno, f'{owner}.{node.attr} is private'
        if isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME and len(node.args) > 1:
            name = node.args[1]
            text = name.value if isinstance(name, ast.Constant) else None
            if isinstance(text, str) and is_private(text):
                yield node.lineno, f'{text} of {ast.unparse(node.args[0])} is private'


def _in_class(
    definition: ast.ClassDef, classes: dict[str, ast.ClassDef], imported: dict[str, str]
) -> Iterator[Problem]:
    family, foreign = _bases(definition, classes)
    own = {name for member in family for name in private_names(member)}
    for node in ast.walk(definition):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in OURSELVES:
            if is_private(node.attr) and node.attr not in own:
                yield node.lineno, f'self.{node.attr} is not of {definition.name} or of this file'
    for base in foreign:
        theirs = private_names_of_base(base, imported)
        for name, line in private_names(definition).items():
            if name in theirs:
                yield line, f'{name} of {definition.name} is a private name of {base} as well'


def _bases(
    definition: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> tuple[list[ast.ClassDef], list[str]]:
    """Return the class and its bases of the same file, and the names of its other bases."""
    family, foreign = [definition], []
    for member in family:
        for base in member.bases:
            name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            if name in classes and classes[name] not in family:
                family.append(classes[name])
            elif name not in classes:
                foreign.append(name)
    return family, foreign


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the modules from which names were imported."""
    return {
        alias.asname or alias.name: f'{node.module}:{alias.name}'
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }


def private_names_of_base(base: str, imported: dict[str, str]) -> set[str]:
    """Return the private names of a class of another package and of its bases."""
    module, _, name = imported.get(base, '').partition(':')
    if not module or _is_ours(module):
        return set()
    try:
        found = getattr(importlib.import_module(module), name)
    except ImportError:
        return set()  # the lint of a machine without ROS
    if not inspect.isclass(found):
        return set()  # such as NamedTuple
    names: set[str] = set()
    for member in inspect.getmro(found)[:-1]:
        try:
            source = textwrap.dedent(inspect.getsource(member))
        except (OSError, TypeError):
            continue  # compiled
        definition = ast.parse(source).body[0]
        if isinstance(definition, ast.ClassDef):
            names.update(private_names(definition))
    return names


def _is_ours(module: str) -> bool:
    return not module or module.split('.')[0] in OURS


if __name__ == '__main__':
    sys.exit(main())
