# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What of a data set was left out or used in another way: counted, with examples."""

from __future__ import annotations

from dataclasses import dataclass, field

_EXAMPLES, _LONGEST = 3, 120


class DatasetError(ValueError):
    """A data set that cannot be used; the message names the file and what to do."""


@dataclass
class Note:
    """One kind of what was noticed.

    Attributes:
        text: a phrase that follows the count, such as "images that are not in photos".
        left_out: whether these entries were left out; else they were used, as the text says.
        count: how many.
        examples: names of the first ones.
    """

    text: str
    left_out: bool
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return one line."""
        line = f'{"left out " if self.left_out else ""}{self.count} {self.text}'
        if self.examples:
            more = ', ...' if self.count > len(self.examples) else ''
            line += f': {", ".join(self.examples)}{more}'
        return line


class Notes:
    """Counts what was noticed, by kind."""

    def __init__(self) -> None:
        self._notes: dict[str, Note] = {}

    def left_out(self, text: str, example: object = '', count: int = 1) -> None:
        """Count entries that are left out."""
        self._add(text, True, example, count)

    def used(self, text: str, example: object = '', count: int = 1) -> None:
        """Count entries that are used, but not as they are in the file."""
        self._add(text, False, example, count)

    def _add(self, text: str, left_out: bool, example: object, count: int) -> None:
        note = self._notes.setdefault(text, Note(text, left_out))
        note.count += count
        name = str(example)[:_LONGEST]
        if name and name not in note.examples and len(note.examples) < _EXAMPLES:
            note.examples.append(name)

    def all(self) -> list[Note]:
        """Return the kinds in the order in which they were first noticed."""
        return list(self._notes.values())

    def lines(self) -> list[str]:
        """Return a line for each kind."""
        return [str(note) for note in self.all()]
