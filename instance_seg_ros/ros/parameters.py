# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node's parameters: one table with defaults, ranges and descriptions."""
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from instance_seg_ros.models import EXACT
from instance_seg_ros.ros.messages import MASK_ENCODINGS


@dataclass(frozen=True)
class NodeParameter:
    """
    One parameter of the node.

    Attributes:
        name: as in the YAML file.
        default: its type is the type of the parameter.
        description: one line; what it does, and its unit.
        limits: smallest and largest value of a number.
        choices: the values that a text may have.
    """

    name: str
    default: bool | int | float | str | list[str]
    description: str
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
                IntegerRange(from_value=int(low), to_value=int(high), step=1)]
        constraints = f'one of {", ".join(self.choices)}' if self.choices else ''
        return ParameterDescriptor(
            description=self.description, additional_constraints=constraints, read_only=True,
            **limits)


# Those of the Segmenter, with its defaults, and last the node's own.
PARAMETERS = (
    NodeParameter(
        'model', 'auto',
        'Name of a model, path of its manifest, or auto: the COCO model where its files are '
        'installed, else the one that ships with the package'),
    NodeParameter(
        'model_path', '', 'Frozen graph (.pb), in place of the one that the model names'),
    NodeParameter(
        'text_graph_path', '',
        'Text graph (.pbtxt) of OpenCV, in place of the one that the model names'),
    NodeParameter(
        'labels_path', '',
        'Label file, one class name per line, in place of the one that the model names'),
    NodeParameter(
        'refiner', 'auto',
        'What sharpens the masks: auto, none, smooth, gan or the path of a model'),
    NodeParameter(
        'confidence_threshold', 0.5, 'Instances with a lower score are dropped', (0.0, 1.0)),
    NodeParameter(
        'nms_threshold', 0.4,
        'Of two boxes of a class that overlap more than this (intersection over union), the one '
        'with the lower score is dropped', (0.0, 1.0)),
    NodeParameter(
        'mask_threshold', 0.5, 'Pixels with at least this probability belong to the instance',
        (0.0, 1.0)),
    NodeParameter(
        'classes', [''], "Names of the classes to keep; [''] keeps all"),
    NodeParameter(
        'max_instances', 100, 'At most this many instances, those with the best scores',
        (1, 10000)),
    NodeParameter(
        'input_max_side', 0,
        'Larger images are scaled down to this longer side before detection, in pixels; 0: as the '
        'model recommends', (0, 16384)),
    NodeParameter(
        'speed_preset', EXACT,
        'exact, or balanced or fast: fewer proposals and a smaller input, as the model says'),
    NodeParameter('num_threads', 0, 'Threads for inference; 0: all cores', (0, 1024)),
    NodeParameter(
        'mask_encoding', 'mono8',
        'How instance_masks carries masks: mono8 crops or rle, run lengths that are 30 times '
        'smaller', choices=MASK_ENCODINGS),
)


def declare_parameters(node: Node) -> dict[str, Any]:
    """
    Declare all parameters on the node.

    Returns:
        The values by name, as the Segmenter takes them, and mask_encoding.

    Raises:
        ValueError: for a text that is none of the choices.
        rclpy.exceptions.ParameterException: for a value of the wrong type or out of range.
    """
    values = {}
    for parameter in PARAMETERS:
        value = node.declare_parameter(
            parameter.name, parameter.default, parameter.descriptor()).value
        if parameter.choices and value not in parameter.choices:
            raise ValueError(
                f"parameter {parameter.name} is '{value}', expected one of "
                f"{', '.join(parameter.choices)}")
        values[parameter.name] = value
    # A YAML file cannot hold an empty list of texts, so the empty text stands for none.
    values['classes'] = [name for name in values['classes'] if name]
    return values
