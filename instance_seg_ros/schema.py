# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""One setting: its type, range, unit and description, and the checks that follow from them.

Only the standard library is imported here, as in ``settings``.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from functools import cache
from numbers import Integral, Real
from typing import Any

_KEY = 'setting'
_TRUE, _FALSE = ('true', '1', 'yes', 'on'), ('false', '0', 'no', 'off')


class Applies(Enum):
    """When a changed setting applies; the value is the text that the node's descriptors show."""

    LIVE = 'Applies from the next frame.'
    AT_CONFIGURE = 'Needs re-configure: cannot change while the node is active.'
    AT_START = 'Read at start only.'


class Group(Enum):
    """The headings of help texts and documents, in their order."""

    MODEL = 'Model'
    RESULTS = 'What is kept'
    REFINER = 'Mask refiner'
    SPEED = 'Speed and memory'
    CAMERAS = 'Cameras'
    TRACKING = 'Identities'
    DEPTH = 'Places in space'
    OUTPUTS = 'Outputs'
    DIAGNOSTICS = 'Diagnostics'
    LIFECYCLE = 'Lifecycle'


@dataclass(frozen=True)
class Setting:
    """All that is known of one setting.

    Attributes:
        name: of the keyword argument, property, parameter and option.
        default: its type is the type of the setting: float, int, bool, str or tuple (of texts).
        annotation: the type as Python code.
        description: one line, without a full stop.
        group: where help texts and documents list it.
        unit: of a number; empty where it has none.
        limits: smallest and largest number.
        zero: what 0 stands for, where it has a meaning of its own; 0 is then allowed beside limits.
        choices: the texts that are allowed; empty allows all.
        applies: when a change applies.
    """

    name: str
    default: Any
    annotation: str
    description: str
    group: Group
    unit: str = ''
    limits: tuple[float, float] | None = None
    zero: str = ''
    choices: tuple[str, ...] = ()
    applies: Applies = Applies.LIVE

    @property
    def kind(self) -> type:
        """The type of the default: float, int, bool, str or tuple."""
        return type(self.default)

    @property
    def help(self) -> str:
        """The description with the unit and the meaning of 0, on one line."""
        text = self.description
        if self.unit:
            text += f'; in {self.unit}'
        if self.zero:
            text += f'; 0: {self.zero}'
        return text

    @property
    def lowest(self) -> float | None:
        """The smallest number that is allowed, a 0 of its own meaning included."""
        if self.limits is None:
            return None
        return min(0, self.limits[0]) if self.zero else self.limits[0]

    @property
    def range(self) -> str:
        """The limits in words, such as ``0, or 34 to 16384``; empty where there are none."""
        if self.limits is None:
            return ''
        low, high = self.limits
        special = '0, or ' if self.zero and low > 0 else ''
        return f'{special}{low:g} to {high:g}'

    def check(self, value: Any) -> Any:
        """Check a value of Python code.

        Returns:
            The value; a list of texts as a tuple.

        Raises:
            ValueError: the message names the setting, the value and what was expected.
        """
        if self.kind is tuple and isinstance(value, (list, tuple)):
            if all(isinstance(text, str) for text in value):
                return tuple(value)
        if not self._allows(value):
            raise ValueError(f'{self.name} is {value!r}: expected {self.expected()}')
        return value

    def convert(self, value: Any) -> Any:
        """Convert what a user wrote in a terminal or a YAML file to the type of the setting.

        Text becomes a number, ``true`` or ``1`` a bool, ``person, dog`` or ``['person', 'dog']`` a
        tuple of texts, a whole number a float. Empty texts in a list are dropped: ROS parameters
        cannot be an empty list.

        Returns:
            The checked value.

        Raises:
            ValueError: as :meth:`check`.
        """
        try:
            converted = self.parse(value)
        except (TypeError, ValueError, OverflowError):
            converted = value
        return self.check(converted)

    def expected(self) -> str:
        """Say in words what is allowed."""
        if self.kind is tuple:
            return 'a list of names'
        if self.kind is bool:
            return 'True or False'
        if self.choices:
            return f'one of {", ".join(self.choices)}'
        if self.kind is str:
            return 'a text'
        text = 'a whole number' if self.kind is int else 'a number'
        if self.limits is not None:
            text += f' from {self.limits[0]:g} to {self.limits[1]:g}'
            if self.zero and self.limits[0] > 0:
                text += f', or 0 for {self.zero}'
        return text

    def _allows(self, value: Any) -> bool:
        if self.kind is bool:
            return isinstance(value, bool)
        if self.kind is str:
            is_text = isinstance(value, (str, os.PathLike))
            return is_text and (not self.choices or value in self.choices)
        if self.kind not in (int, float) or isinstance(value, bool):
            return False
        if not isinstance(value, Integral if self.kind is int else Real):
            return False
        if self.zero and value == 0:
            return True
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond all floats
            return False
        # Written so that NaN is refused.
        return self.limits is None or self.limits[0] <= number <= self.limits[1]

    def parse(self, value: Any) -> Any:
        """Do what :meth:`convert` does, without a check of the range.

        Raises:
            TypeError, ValueError: the value is of another type.
        """
        if self.kind is tuple:
            texts = value.strip().strip('[]').split(',') if isinstance(value, str) else value
            if not all(isinstance(text, str) for text in texts):
                return value
            names = (text.strip().strip('\'"') for text in texts)
            return tuple(name for name in names if name)
        if self.kind is bool and not isinstance(value, bool):
            word = str(value).strip().lower()
            return word in _TRUE if word in (*_TRUE, *_FALSE) else value
        if isinstance(value, bool) or self.kind in (bool, str):
            return value
        if self.kind is int:
            return _whole(value)
        return self.kind(value)


def _whole(value: Any) -> Any:
    """Return a whole number, which may be written as 1e3 or 2.0.

    Raises:
        TypeError, ValueError: it is none.
    """
    try:
        return int(value) if isinstance(value, str) else operator.index(value)
    except (TypeError, ValueError):
        number = float(value)
        if not number.is_integer():
            raise ValueError(f'{value!r} is no whole number') from None
        return int(number)


def setting(
    default: Any,
    description: str,
    group: Group,
    *,
    unit: str = '',
    limits: tuple[float, float] | None = None,
    zero: str = '',
    choices: tuple[str, ...] = (),
    applies: Applies = Applies.LIVE,
) -> Any:
    """Describe a field of a settings class; see :class:`Setting` for the arguments."""
    described = Setting('', default, '', description, group, unit, limits, zero, choices, applies)
    return field(default=default, metadata={_KEY: described})


def settings_of(*classes: type) -> tuple[Setting, ...]:
    """Return the settings of some settings classes, those of a group together."""
    return _settings_of(classes)


@cache  # the settings are checked whenever they change
def _settings_of(classes: tuple[type, ...]) -> tuple[Setting, ...]:
    listed = (
        replace(each.metadata[_KEY], name=each.name, annotation=str(each.type))
        for settings_class in classes
        for each in fields(settings_class)
    )
    groups = list(Group)
    return tuple(sorted(listed, key=lambda each: groups.index(each.group)))


def check_settings(instance: Any) -> None:
    """Check all fields of a frozen settings class, for its ``__post_init__``.

    Raises:
        ValueError: the first wrong value, as :meth:`Setting.check`.
    """
    for each in settings_of(type(instance)):
        object.__setattr__(instance, each.name, each.check(getattr(instance, each.name)))


def check_names(given: Sequence[str], settings: Sequence[Setting]) -> None:
    """Check names of settings.

    Raises:
        ValueError: an unknown name; the message lists those that are known.
    """
    known = [each.name for each in settings]
    for name in given:
        if name not in known:
            raise ValueError(f'{name}: no such setting; known are {", ".join(known)}')
