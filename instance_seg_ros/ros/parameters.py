# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters: declared, read, checked and watched.

What they are stands in instance_seg_ros/settings.py and instance_seg_ros/ros/settings.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from instance_seg_ros.errors import ModelError
from instance_seg_ros.ros.compatibility import add_parameter_callbacks, convert_parameters
from instance_seg_ros.ros.settings import NodeSettings, all_settings
from instance_seg_ros.schema import Applies, Setting, settings_of
from instance_seg_ros.settings import ModelSettings, Settings

_BY_NAME = {setting.name: setting for setting in all_settings()}


@dataclass(frozen=True)
class ParameterValues:
    """The checked values of all parameters.

    Attributes:
        model: for the Segmenter, when a model is loaded.
        live: for the Segmenter, between two frames.
        node: what the node itself does.
    """

    model: ModelSettings
    live: Settings
    node: NodeSettings

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> 'ParameterValues':
        """Take the values of all parameters by name.

        Raises:
            ValueError: for a value of another type or out of range.
        """
        converted = {name: setting.convert(values[name]) for name, setting in _BY_NAME.items()}

        def chosen(settings_class: type) -> dict[str, Any]:
            return {each.name: converted[each.name] for each in settings_of(settings_class)}

        return cls(
            ModelSettings(**chosen(ModelSettings)),
            Settings(**chosen(Settings)),
            NodeSettings(**chosen(NodeSettings)),
        )

    def segmenter_arguments(self) -> dict[str, Any]:
        """Return what the constructor of the Segmenter takes."""
        return {**asdict(self.model), **asdict(self.live)}

    def live_arguments(self) -> dict[str, Any]:
        """Return what Segmenter.prepare takes."""
        return asdict(self.live)


def descriptor_of(setting: Setting) -> ParameterDescriptor:
    """Return what `ros2 param describe` shows, and what rclpy checks values against."""
    limits: dict[str, Any] = {}
    if setting.limits is not None and setting.lowest is not None:
        low, high = setting.lowest, setting.limits[1]
        if setting.kind is float:
            limits['floating_point_range'] = [
                FloatingPointRange(from_value=float(low), to_value=float(high))
            ]
        else:
            limits['integer_range'] = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)
            ]
    allowed = f'One of {", ".join(setting.choices)}. ' if setting.choices else ''
    if setting.limits is not None and setting.lowest != setting.limits[0]:
        allowed = f'{setting.range}. '  # rclpy knows one range
    return ParameterDescriptor(
        description=setting.help,
        additional_constraints=allowed + setting.applies.value,
        read_only=setting.applies is Applies.AT_START,
        **limits,
    )


def declare_parameters(node: Node) -> None:
    """Declare all parameters on the node.

    A wrong choice is accepted here: it fails when the node is configured, and can be corrected.

    Raises:
        ValueError: for a value of the wrong type.
        rclpy.exceptions.InvalidParameterValueException: for a number out of range.
    """
    for setting in _BY_NAME.values():
        given = _given(node, setting.name)
        value = setting.default if given is None else _of_right_type(setting, given)
        node.declare_parameter(
            setting.name, _as_parameter(value), descriptor_of(setting), ignore_override=True
        )


def read_parameters(node: Node) -> ParameterValues:
    """Return the values of all parameters.

    Raises:
        ValueError: for a value that cannot be used.
    """
    return ParameterValues.of({name: node.get_parameter(name).value for name in _BY_NAME})


def changed_parameters(
    node: Node, changes: list[Parameter], active: bool, configured: bool
) -> ParameterValues:
    """Return the values of all parameters as they will be after some changes.

    Args:
        node: has the values so far.
        changes: what is to be set.
        active: whether the node is active, so that some parameters cannot change.
        configured: whether it is configured; else others may be wrong, and are corrected later.

    Raises:
        ValueError: for a value that cannot be used, and for a change that needs a re-configure.
    """
    values = {name: node.get_parameter(name).value for name in _BY_NAME}
    new = {change.name: change.value for change in changes}
    deleted = [name for name, value in new.items() if value is None]
    if deleted:
        raise ValueError(f'{", ".join(deleted)}: expected a value; it cannot be deleted')
    fixed = [
        name
        for name, value in new.items()
        if _BY_NAME[name].applies is Applies.AT_CONFIGURE and value != values[name]
    ]
    if active and fixed:
        raise ValueError(
            f'{", ".join(fixed)}: needs re-configure, which an active node cannot do. Deactivate '
            f'it (ros2 lifecycle set {node.get_fully_qualified_name()} deactivate), set the '
            'parameter, then cleanup, configure and activate'
        )
    if not configured:
        values = {name: setting.default for name, setting in _BY_NAME.items()}
    return ParameterValues.of({**values, **new})


def needs_configure(changes: list[Parameter]) -> list[str]:
    """Return the names of those that apply at the next configure only."""
    return [
        change.name for change in changes if _BY_NAME[change.name].applies is Applies.AT_CONFIGURE
    ]


def watch_parameters(
    node: Node, check: Callable[[list[Parameter]], None], apply: Callable[[list[Parameter]], None]
) -> None:
    """Check and apply changes of parameters, whole sets or nothing.

    Both get only those parameters that are settings, and are not called for others: rclpy and the
    outputs declare dozens of their own.

    Args:
        node: whose parameters they are.
        check: raises ValueError or ModelError, whose text becomes the reason, to refuse a set;
            changes nothing.
        apply: called with a set that all have accepted; must not raise.
    """

    def on_set(changes: list[Parameter]) -> SetParametersResult:
        try:
            if ours := _settings_among(changes):
                check(ours)
        except (ValueError, ModelError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # no value may end the node
            return SetParametersResult(successful=False, reason=f'{type(error).__name__}: {error}')
        return SetParametersResult(successful=True)

    def on_accepted(changes: list[Parameter]) -> None:
        if ours := _settings_among(changes):
            apply(ours)

    convert_parameters(node, _converted)
    add_parameter_callbacks(node, on_set, on_accepted)


def _settings_among(changes: list[Parameter]) -> list[Parameter]:
    return [change for change in changes if change.name in _BY_NAME]


def _given(node: Node, name: str) -> Any:
    """Return what a parameter file, launch or the command line says; None where they do not."""
    # rclpy would refuse a whole number for a double before anybody could convert it.
    node.declare_parameter(name, descriptor=ParameterDescriptor(dynamic_typing=True))
    value = node.get_parameter(name).value
    node.undeclare_parameter(name)
    return value


def _converted(change: Parameter) -> Parameter:
    """Return a parameter with its value in the type of the setting, or as it is."""
    setting = _BY_NAME.get(change.name)
    if setting is None or change.value is None:
        return change
    try:
        value = _as_parameter(_of_right_type(setting, change.value))
        return Parameter(change.name, value=value)
    except ValueError:  # its fault is reported later
        return change


def _of_right_type(setting: Setting, given: Any) -> Any:
    try:
        value = setting.parse(given)
    except (TypeError, ValueError):
        value = None
    if type(value) is not setting.kind:  # True is an int
        raise ValueError(f'{setting.name} is {given!r}: expected {setting.expected()}')
    return value


def _as_parameter(value: Any) -> Any:
    # A parameter cannot be an empty list: [''] stands for it.
    return list(value or ('',)) if isinstance(value, tuple) else value
