# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""docs/ros-interface.md says what the running node says."""

from collections.abc import Callable
from pathlib import Path

import pytest
from rcl_interfaces.msg import ParameterDescriptor, ParameterType
from rcl_interfaces.srv import DescribeParameters, ListParameters
from rclpy.node import NodeNameNonExistentError
from ros_harness import Camera, figures

DOCUMENT = Path(__file__).parents[2] / 'docs' / 'ros-interface.md'
TYPES = {
    ParameterType.PARAMETER_BOOL: 'bool',
    ParameterType.PARAMETER_INTEGER: 'int',
    ParameterType.PARAMETER_DOUBLE: 'double',
    ParameterType.PARAMETER_STRING: 'string',
    ParameterType.PARAMETER_STRING_ARRAY: 'string[]',
}
APPLIES = {
    'Applies from the next frame.': 'live',
    'Needs re-configure: cannot change while the node is active.': 're-configure',
    'Read at start only.': 'start',
}
# What every node of rclpy has.
RCLPY_PARAMETERS = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
RCLPY_SERVICES = ('parameter', 'get_type_description')
RCLPY_TOPICS = ('/rosout', '/parameter_events', '/clock')


def check_table(heading: str, expected: list[list[str]]) -> None:
    """Compare the first cells of the rows of the table under a heading of the document."""
    width = len(expected[0])
    found = [row[:width] for row in rows_under(heading)]
    wrong = [row for row in found if row not in expected]
    missing = [row for row in expected if row not in found]
    assert not missing and not wrong, (
        f'{DOCUMENT.name}, {heading}: add\n{as_lines(missing)}\nand remove\n{as_lines(wrong)}'
    )


def rows_under(heading: str) -> list[list[str]]:
    text = DOCUMENT.read_text('utf-8')
    assert f'\n{heading}\n' in text, f'{DOCUMENT.name} has no heading {heading}'
    lines = text.split(f'\n{heading}\n')[1].split('\n#')[0].splitlines()
    # Without the column titles and the rule below them.
    return [
        [cell.strip() for cell in line.strip()[1:-1].split('|')]
        for line in lines
        if line.startswith('|')
    ][2:]


def as_lines(rows: list[list[str]]) -> str:
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows) or '(nothing)'


@pytest.fixture(scope='module')
def camera(connect_shared: Callable[..., Camera]) -> Camera:
    """Connected to a node that has seg.yaml's values, which are the defaults."""
    return connect_shared('documented', model='auto', refiner='auto')


def parameter_row(descriptor: ParameterDescriptor, default: object) -> list[str]:
    constraints = descriptor.additional_constraints
    applies = next(word for text, word in APPLIES.items() if constraints.endswith(text))
    limits = [*descriptor.floating_point_range, *descriptor.integer_range]
    values = ''
    if constraints.startswith('0, or '):
        values = constraints.split('. ')[0]
    elif limits:
        values = f'{limits[0].from_value:g} to {limits[0].to_value:g}'
    elif constraints.startswith('One of '):
        values = ', '.join(f'`{choice}`' for choice in constraints[7:].split('. ')[0].split(', '))
    return [
        f'`{descriptor.name}`',
        TYPES[descriptor.type],
        as_yaml(default),
        values,
        applies,
        descriptor.description,
    ]


def as_yaml(value: object) -> str:
    if value == '':
        return ''
    return f'`{str(value).lower() if isinstance(value, bool) else value}`'


def test_parameters(camera: Camera) -> None:
    names = [
        name
        for name in camera.call(
            ListParameters, 'list_parameters', ListParameters.Request()
        ).result.names
        if not name.startswith(RCLPY_PARAMETERS)
    ]
    descriptors = camera.call(
        DescribeParameters, 'describe_parameters', DescribeParameters.Request(names=names)
    ).descriptors
    values = camera.parameters(*names)
    check_table(
        '## Parameters',
        [parameter_row(descriptor, values[descriptor.name]) for descriptor in descriptors],
    )


def of_the_node(query: Callable[..., list[tuple[str, list[str]]]]) -> list[tuple[str, str]]:
    """Return the names and types that the query knows of the node: none until it is discovered."""
    try:
        found = query('instance_seg', '/documented')
    except NodeNameNonExistentError:
        return []
    return [(name, types[0]) for name, types in found]


def topic_rows(camera: Camera) -> list[list[str]]:
    node = camera.node
    topics = {}
    for names, endpoints in (
        (node.get_publisher_names_and_types_by_node, node.get_publishers_info_by_topic),
        (node.get_subscriber_names_and_types_by_node, node.get_subscriptions_info_by_topic),
    ):
        for topic, message_type in of_the_node(names):
            qos = [
                info.qos_profile for info in endpoints(topic) if info.node_name == 'instance_seg'
            ]
            if topic not in RCLPY_TOPICS and qos:
                name = topic.replace('/documented/instance_seg/', '~/').replace('/documented/', '')
                topics[name] = [
                    f'`{name}`',
                    f'`{message_type.replace("/msg/", "/")}`',
                    f'{qos[0].reliability.name.lower()}, {qos[0].durability.name.lower()}',
                ]
    return list(topics.values())


def service_rows(camera: Camera) -> list[list[str]]:
    return [
        [
            f'`{name.replace("/documented/instance_seg", "~")}`',
            f'`{service_type.replace("/srv/", "/")}`',
        ]
        for name, service_type in of_the_node(camera.node.get_service_names_and_types_by_node)
        if not any(text in name for text in RCLPY_SERVICES)
    ]


@pytest.mark.parametrize(
    ('heading', 'rows'), [('## Topics', topic_rows), ('## Services', service_rows)]
)
def test_topics_and_services(
    camera: Camera, heading: str, rows: Callable[[Camera], list[list[str]]]
) -> None:
    # DDS discovers them one by one.
    documented = len(rows_under(heading))
    camera.spin_until(
        lambda: len(rows(camera)) >= documented,
        f'{documented} {heading}, as the document says; remove those that the node no longer has',
    )
    check_table(heading, rows(camera))


def test_diagnostics(camera: Camera, photo) -> None:
    camera.subscribe('detections', 'instance_masks', 'debug_image')
    camera.ask(camera.image(photo))
    for heading, name in (('### The model', ': model'), ('### Each camera', '/image')):
        status = camera.diagnostics_until(
            name, lambda status: bool(figures(status)), 'a status with values'
        )
        check_table(heading, [[f'`{key}`'] for key in figures(status)])
