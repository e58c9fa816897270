# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The contents of /diagnostics: one status of the model, one of each camera.

diagnostic_updater's Python part is not among the wheels that this package is tested with; what is
used of it here would be a list of key-value pairs.
"""

from dataclasses import dataclass
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from instance_seg_ros.ros.camera import Camera
from instance_seg_ros.ros.frames import STAGES
from instance_seg_ros.ros.silence import Silence
from instance_seg_ros.ros.statistics import WINDOW

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Problem = tuple[bytes, str]


@dataclass(frozen=True)
class NodeState:
    """The node as the diagnostics see it.

    Attributes:
        name: full name of the node.
        lifecycle: state of its lifecycle: unconfigured, inactive, active or finalized.
        enabled: False while the stream is paused.
        problem: why the last transition failed; empty where it did not.
        model: the model's name and the like; empty while none is loaded.
    """

    name: str
    lifecycle: str
    enabled: bool
    problem: str
    model: dict[str, str]

    @property
    def streaming(self) -> bool:
        """Whether frames are to be processed."""
        return self.lifecycle == 'active' and self.enabled

    def describe(self) -> str:
        """Return the state in a word."""
        return 'paused' if self.lifecycle == 'active' and not self.enabled else self.lifecycle


def model_status(state: NodeState) -> DiagnosticStatus:
    """Return the status of the node itself."""
    problems = [(ERROR, state.problem)] if state.problem else []
    values = {
        'state': state.describe(),
        'enabled': str(state.enabled),
        **state.model,
        'opencv': cv2.__version__,
        'threads': str(cv2.getNumThreads()),
    }
    return _status(
        f'{state.name}: model', problems, state.describe(), values, state.model.get('model', '')
    )


def camera_status(
    state: NodeState, camera: Camera, silence: Silence | None, levels: dict[str, Any]
) -> DiagnosticStatus:
    """Return the status of a camera.

    Args:
        state: of the node.
        camera: with its statistics; means and rates are those of the last 10 s, or of the last
            four frames where there were fewer, totals those since the node was activated.
        silence: why no image arrives; None where they do.
        levels: the parameters that say what is too slow and too old.
    """
    problems = _problems(camera, silence, levels) if state.streaming else []
    return _status(
        f'{state.name}: {camera.topic}',
        problems,
        state.describe(),
        _values(camera),
        state.model.get('model', ''),
    )


def _problems(camera: Camera, silence: Silence | None, levels: dict[str, Any]) -> list[Problem]:
    statistics = camera.statistics
    problems: list[Problem] = []
    if silence is not None:
        problems.append((WARN if silence.can_match else ERROR, f'no images: {silence.text}'))
    for event, level in (('malformed', WARN), ('failed', ERROR), ('incomplete', WARN)):
        count = statistics.recent(event)
        if count:
            problems.append(
                (level, f'{count} {event} frames in {WINDOW:g} s: {statistics.last_error(event)}')
            )
    # Without subscribers nothing is processed, which is no problem.
    if camera.wanted() and silence is None:
        if camera.processed_for() >= WINDOW:  # else the pause before would count
            problems += _too_slow(statistics.rate('processed'), levels)
        problems += _too_old(statistics.mean('age'), levels)
    return problems


def _too_slow(rate: float, levels: dict[str, Any]) -> list[Problem]:
    for level, name in ((ERROR, 'processed_rate_error'), (WARN, 'processed_rate_warn')):
        if rate < levels[name]:
            return [(level, f'{rate:.2f} Hz are processed: {name} is {levels[name]:g} Hz')]
    return []


def _too_old(age: float | None, levels: dict[str, Any]) -> list[Problem]:
    for level, name in ((ERROR, 'age_error'), (WARN, 'age_warn')):
        if age is not None and 0 < levels[name] < age:
            return [
                (level, f'frames are {age:.2f} s old when published: {name} is {levels[name]:g} s')
            ]
    return []


def _values(camera: Camera) -> dict[str, str]:
    statistics = camera.statistics
    values = {
        'input_rate_hz': f'{statistics.rate("received"):.3f}',
        'processed_rate_hz': f'{statistics.rate("processed"):.3f}',
        'frames_received': str(statistics.total('received')),
        'frames_processed': str(statistics.total('processed')),
        'frames_dropped': str(statistics.total('dropped')),
        'frames_malformed': str(statistics.total('malformed')),
        'frames_failed': str(statistics.total('failed')),
        'frames_incomplete': str(statistics.total('incomplete')),
        'age_mean_ms': _milliseconds(statistics.mean('age')),
        'age_max_ms': _milliseconds(statistics.maximum('age')),
    }
    for stage in STAGES:
        mean = statistics.mean(stage)
        values[f'{stage}_ms'] = '' if mean is None else f'{mean:.2f}'
    values['last_error'] = statistics.last_error('malformed', 'failed')
    return values


def _milliseconds(seconds: float | None) -> str:
    return '' if seconds is None else f'{1e3 * seconds:.1f}'


def _status(
    name: str, problems: list[Problem], state: str, values: dict[str, str], hardware: str
) -> DiagnosticStatus:
    return DiagnosticStatus(
        level=max((level for level, _ in problems), default=OK),
        name=name.lstrip('/'),
        message='; '.join(text for _, text in problems) or state,
        hardware_id=hardware,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
