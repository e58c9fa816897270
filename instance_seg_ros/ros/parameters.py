# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters: one table with defaults, ranges, descriptions and when they apply."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
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
from instance_seg_ros.models import EXACT
from instance_seg_ros.refinement.refiner_file import CPU
from instance_seg_ros.ros.compatibility import add_parameter_callbacks
from instance_seg_ros.ros.messages import MASK_ENCODINGS

Value = bool | int | float | str | list[str]
TRANSPORTS = ('raw', 'compressed')
RELIABILITIES = ('best_effort', 'reliable')


class Applies(Enum):
    """When a changed parameter applies, as its descriptor says it."""

    LIVE = 'Applies from the next frame.'
    AT_CONFIGURE = 'Needs re-configure: cannot change while the node is active.'
    AT_START = 'Read at start only.'


@dataclass(frozen=True)
class NodeParameter:
    """
    One parameter of the node.

    Attributes:
        name: as in the YAML file.
        default: its type is the type of the parameter.
        description: one line; what it does, and its unit.
        applies: when a change applies.
        limits: smallest and largest value of a number.
        choices: the values that a text may have.
    """

    name: str
    default: Value
    description: str
    applies: Applies = Applies.LIVE
    limits: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        """Return what `ros2 param describe` shows, and what rclpy checks values against."""
        limits: dict[str, Any] = {}
        if self.limits is not None and isinstance(self.default, float):
            low, high = self.limits
            limits['floating_point_range'] = [FloatingPointRange(from_value=low, to_value=high)]
        elif self.limits is not None:
            low, high = self.limits
            limits['integer_range'] = [
                IntegerRange(from_value=int(low), to_value=int(high), step=1)
            ]
        choices = f'One of {", ".join(self.choices)}. ' if self.choices else ''
        return ParameterDescriptor(
            description=self.description,
            additional_constraints=choices + self.applies.value,
            read_only=self.applies is Applies.AT_START,
            **limits,
        )

    def check(self, value: Any) -> None:
        """Raise ValueError, with what was expected, for what the descriptor does not exclude."""
        if self.choices and value not in self.choices:
            raise ValueError(f"{self.name} is '{value}': expected one of {', '.join(self.choices)}")
        # Written so that it catches NaN, which rclpy lets through.
        if self.limits is not None and not self.limits[0] <= value <= self.limits[1]:
            raise ValueError(
                f'{self.name} is {value}: expected {self.limits[0]} to {self.limits[1]}'
            )


# These go to the Segmenter, whose names and defaults they have.
SEGMENTER_PARAMETERS = (
    NodeParameter(
        'model',
        'auto',
        'Name of a model, path of its manifest, or auto: the COCO model where its files are '
        'installed, else the one that ships with the package',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'model_path',
        '',
        'Frozen graph (.pb), in place of the one that the model names',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'text_graph_path',
        '',
        'Text graph (.pbtxt) of OpenCV, in place of the one that the model names',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'labels_path',
        '',
        'Label file, one class name per line, in place of the one that the model names',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'refiner', 'auto', 'What sharpens the masks: auto, none, smooth, gan or the path of a model'
    ),
    NodeParameter(
        'refine_passes',
        2,
        'At most so many passes of a learned refiner, each finer than the one before',
        limits=(1, 8),
    ),
    NodeParameter(
        'refine_budget_ms',
        0.0,
        'Time of a learned refiner for all instances of a frame, in milliseconds; what it does not '
        'reach gets fewer passes or is smoothed, the worst scores first; 0: no limit',
        limits=(0.0, 60000.0),
    ),
    NodeParameter(
        'refine_providers',
        [CPU],
        'Execution providers of onnxruntime for a learned refiner, the preferred one first',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'confidence_threshold', 0.5, 'Instances with a lower score are dropped', limits=(0.0, 1.0)
    ),
    NodeParameter(
        'nms_threshold',
        0.4,
        'Of two boxes of a class that overlap more than this (intersection over union), the one '
        'with the lower score is dropped',
        limits=(0.0, 1.0),
    ),
    NodeParameter(
        'mask_threshold',
        0.5,
        'Pixels with at least this probability belong to the instance',
        limits=(0.0, 1.0),
    ),
    NodeParameter('classes', [''], "Names of the classes to keep; [''] keeps all"),
    NodeParameter(
        'max_instances',
        100,
        'At most this many instances, those with the best scores',
        limits=(1, 10000),
    ),
    NodeParameter(
        'input_max_side',
        0,
        'Larger images are scaled down to this longer side before detection, in pixels; 0: as the '
        'model recommends',
        limits=(0, 16384),
    ),
    NodeParameter(
        'speed_preset',
        EXACT,
        'exact, or balanced or fast: fewer proposals and a smaller input, as the model says',
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'num_threads', 0, 'Threads for inference; 0: all cores', Applies.AT_CONFIGURE, (0, 1024)
    ),
    NodeParameter(
        'parallel_nets',
        1,
        'Images in the box network at a time: 2 give more frames per second on several cores, each '
        'of them later, for the memory of another network',
        Applies.AT_CONFIGURE,
        (1, 16),
    ),
    NodeParameter(
        'low_memory',
        False,
        'Do without Winograd convolutions: 200 MB less with the COCO model, for half more time',
        Applies.AT_CONFIGURE,
    ),
)

# The node's own.
NODE_PARAMETERS = (
    NodeParameter(
        'mask_encoding',
        'mono8',
        'How instance_masks carries masks: mono8 crops or rle, run lengths that are 30 times '
        'smaller',
        choices=MASK_ENCODINGS,
    ),
    NodeParameter(
        'jpeg_quality', 90, 'Quality of debug_image/compressed, in per cent', limits=(1, 100)
    ),
    NodeParameter(
        'image_topics',
        [''],
        "Topics of several cameras, each in a namespace of its own; [''] is the one topic image",
        Applies.AT_CONFIGURE,
    ),
    NodeParameter(
        'image_transport',
        'raw',
        'raw: sensor_msgs/Image; compressed: sensor_msgs/CompressedImage on <topic>/compressed',
        Applies.AT_CONFIGURE,
        choices=TRANSPORTS,
    ),
    NodeParameter(
        'input_reliability',
        'best_effort',
        'Of the subscription to images; best_effort matches every camera',
        Applies.AT_CONFIGURE,
        choices=RELIABILITIES,
    ),
    NodeParameter(
        'input_depth',
        1,
        'Images that the subscription keeps until the node takes them',
        Applies.AT_CONFIGURE,
        (1, 100),
    ),
    NodeParameter(
        'output_reliability',
        'reliable',
        'Of all outputs of a frame; reliable matches every subscriber',
        Applies.AT_CONFIGURE,
        choices=RELIABILITIES,
    ),
    NodeParameter(
        'output_depth',
        5,
        'Messages that each output keeps for slow subscribers',
        Applies.AT_CONFIGURE,
        (1, 1000),
    ),
    NodeParameter(
        'image_timeout',
        5.0,
        'Without images for this long, the log and the diagnostics say why; seconds',
        limits=(0.1, 3600.0),
    ),
    NodeParameter(
        'processed_rate_warn',
        0.0,
        'Diagnostics warn below this rate of processed frames, in Hz; 0: never',
        limits=(0.0, 1000.0),
    ),
    NodeParameter(
        'processed_rate_error',
        0.0,
        'Diagnostics report an error below this rate of processed frames, in Hz; 0: never',
        limits=(0.0, 1000.0),
    ),
    NodeParameter(
        'age_warn',
        0.0,
        'Diagnostics warn above this mean age of a frame when its results are published, in '
        'seconds; 0: never',
        limits=(0.0, 3600.0),
    ),
    NodeParameter(
        'age_error',
        0.0,
        'Diagnostics report an error above this mean age of a frame when its results are '
        'published, in seconds; 0: never',
        limits=(0.0, 3600.0),
    ),
    NodeParameter(
        'autostart',
        True,
        'Configure and activate at start; false leaves that to a lifecycle manager',
        Applies.AT_START,
    ),
)

PARAMETERS = SEGMENTER_PARAMETERS + NODE_PARAMETERS
_BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def declare_parameters(node: Node) -> None:
    """
    Declare all parameters on the node.

    Raises:
        rclpy.exceptions.ParameterException: for a value of the wrong type or out of range.
    """
    for parameter in PARAMETERS:
        node.declare_parameter(parameter.name, parameter.default, parameter.descriptor())


def read_parameters(node: Node) -> dict[str, Any]:
    """
    Return the values of all parameters by name, checked.

    Raises:
        ValueError: for a text that is none of the choices.
    """
    values = {name: node.get_parameter(name).value for name in _BY_NAME}
    _check(values)
    return values


def changed_parameters(node: Node, changes: list[Parameter], active: bool) -> dict[str, Any]:
    """
    Return the values of all parameters as they will be after some changes.

    Args:
        node: has the values so far.
        changes: what is to be set; parameters that are not in the table are left out.
        active: whether the node is active, so that some parameters cannot change.

    Raises:
        ValueError: for a value that cannot be used, and for a change that needs a re-configure.
    """
    values = {name: node.get_parameter(name).value for name in _BY_NAME}
    new = {change.name: change.value for change in changes if change.name in _BY_NAME}
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
    values.update(new)
    _check(values)
    return values


def needs_configure(changes: list[Parameter]) -> list[str]:
    """Return the names of those that apply at the next configure only."""
    return [
        change.name
        for change in changes
        if change.name in _BY_NAME and _BY_NAME[change.name].applies is Applies.AT_CONFIGURE
    ]


def segmenter_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Return what the constructor of the Segmenter takes, of the values of all parameters."""
    arguments = {parameter.name: values[parameter.name] for parameter in SEGMENTER_PARAMETERS}
    return {**arguments, 'classes': names_in(values['classes'])}


def live_arguments(values: dict[str, Any]) -> dict[str, Any]:
    """Return what Segmenter.prepare takes, of the values of all parameters."""
    arguments = segmenter_arguments(values)
    return {
        name: value for name, value in arguments.items() if _BY_NAME[name].applies is Applies.LIVE
    }


def names_in(texts: list[str]) -> list[str]:
    """Return the texts that are not empty: a YAML file cannot hold an empty list of texts."""
    return [text for text in texts if text]


def watch_parameters(
    node: Node, check: Callable[[list[Parameter]], None], apply: Callable[[list[Parameter]], None]
) -> None:
    """
    Check and apply changes of parameters, whole sets or nothing.

    Args:
        node: whose parameters they are.
        check: raises ValueError or ModelError, whose text becomes the reason, to refuse a set;
            changes nothing.
        apply: called with a set that all have accepted; must not raise.
    """

    def on_set(changes: list[Parameter]) -> SetParametersResult:
        try:
            check(changes)
        except (ValueError, ModelError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        except Exception as error:  # no value may end the node
            return SetParametersResult(successful=False, reason=f'{type(error).__name__}: {error}')
        return SetParametersResult(successful=True)

    add_parameter_callbacks(node, on_set, apply)


def _check(values: dict[str, Any]) -> None:
    for name, value in values.items():
        _BY_NAME[name].check(value)
