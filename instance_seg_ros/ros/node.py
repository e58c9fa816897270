# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The node `instance_seg`: camera images in; detections, masks and a debug image out.

It only handles the lifecycle and passes messages on. Inference runs in the engine's threads on the
newest image, so parameters and services never wait for it. Outputs without subscribers are neither
computed nor published.
"""

import threading
import time
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

import cv2
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from std_msgs.msg import Header
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import LabelInfo, VisionClass, VisionInfo

from instance_seg_ros.errors import ModelError
from instance_seg_ros.instances import MAX_CLASS_ID
from instance_seg_ros.memory import return_freed_memory, reuse_freed_memory
from instance_seg_ros.models import hint_at_coco
from instance_seg_ros.output_names import CLASS_IMAGE, NODE_NAME
from instance_seg_ros.ros.camera import Camera, camera_topics
from instance_seg_ros.ros.causes import REMINDER_PERIOD, Causes
from instance_seg_ros.ros.compatibility import without_events
from instance_seg_ros.ros.diagnostics import NodeState, camera_status, model_status
from instance_seg_ros.ros.engine import Engine
from instance_seg_ros.ros.frames import NodeConfiguration
from instance_seg_ros.ros.parameters import (
    ParameterValues,
    changed_parameters,
    declare_parameters,
    needs_configure,
    read_parameters,
    watch_parameters,
)
from instance_seg_ros.ros.qos import OverrideError
from instance_seg_ros.ros.scene import make_scenes
from instance_seg_ros.ros.settings import COMPRESSED
from instance_seg_ros.ros.silence import Silence
from instance_seg_ros.ros.what_runs import what_runs
from instance_seg_ros.srv import Segment

DIAGNOSTICS_PERIOD = 1.0  # seconds
MOST_WAITING = 32  # calls of ~/segment; the default of services, 10, loses others without a word
BACKGROUND = 'background'
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class InstanceSegNode(LifecycleNode):
    """See docs/ros-interface.md for topics, parameters, services and diagnostics.

    configure loads the model and makes the outputs, activate subscribes to the cameras, deactivate
    unsubscribes, cleanup frees the memory. `~/segment` works as long as a model is loaded.

    Raises:
        ValueError: for a parameter of the wrong type.
        rclpy.exceptions.ParameterException: for a number out of range.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(NODE_NAME, **kwargs)
        self._inherited = set(vars(self))
        declare_parameters(self)
        self._engine: Engine | None = None
        self._cameras: list[Camera] = []
        self._pending: NodeConfiguration | None = None
        self._changed: set[str] = set()  # parameters of the set that is being checked and applied
        self._stopping = False
        self._loading: Future[Engine] = Future()
        self._loader = threading.Thread()
        self._lifecycle = 'unconfigured'
        self._problem = ''
        self._enabled = True
        self._configurations = 0
        self._warned: dict[Camera, tuple[str, float]] = {}  # of silence: what and when
        self._silent: set[Camera] = set()  # of those, and no image has come since
        self._causes = Causes()
        # Images and services have their own groups, so that parameters never wait for them.
        self._image_group = MutuallyExclusiveCallbackGroup()
        watch_parameters(self, self._check_parameters, self._apply_parameters)
        self._make_services()
        # The timers' clock is not the ROS time, which stands still without a simulation.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, '/diagnostics', 10, **without_events('publisher')
        )
        self.create_timer(DIAGNOSTICS_PERIOD, self._publish_diagnostics, clock=clock)
        if self.get_parameter('autostart').value:
            self._autostart = self.create_timer(1e-3, self._start, clock=clock)

    def stop(self, timeout: float) -> bool:
        """Prepare to be destroyed: let go of all callbacks and end the inference thread.

        Args:
            timeout: seconds that the frame in hand has.

        Returns:
            Whether no thread is inside of OpenCV any more.
        """
        self._stopping = True
        self._loading.cancel()
        engine = self._engine
        ended = engine is None or engine.stop(timeout)
        return ended and not self.is_loading

    @property
    def is_loading(self) -> bool:
        """Whether a thread is loading a model, as it may still do after a configure has failed."""
        return self._loader.is_alive()

    def destroy_node(self) -> None:
        """Leave ROS, even while a thread is inside OpenCV; the node cannot be used afterwards."""
        super().destroy_node()
        # rclpy keeps its part of the lifecycle, and with it DDS and shared memory, until nothing
        # refers to the node any more. Such a thread does.
        for name in self._inherited & set(vars(self)):
            delattr(self, name)

    # --- lifecycle

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model and make the outputs."""
        started = time.monotonic()
        try:
            self._configure()
            result = super().on_configure(state)
        except Exception as error:  # of any kind: the next try may succeed
            self._fail('configure', error)
            return FAILURE
        self._problem, self._lifecycle = '', 'inactive'
        seconds = time.monotonic() - started
        segmenter = self._loaded_engine().segmenter
        self.get_logger().info(f'configured in {seconds:.1f} s: {what_runs(segmenter)}')
        if hint := hint_at_coco(self.get_parameter('model').value, segmenter.model_name):
            self.get_logger().info(hint)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras."""
        result = super().on_activate(state)
        self._take_parameters()
        try:
            for camera in self._cameras:
                camera.subscribe(self._on_image)
        except Exception as error:
            self._unsubscribe()
            super().on_deactivate(state)
            self._fail('activate', error)
            return FAILURE
        self._problem, self._lifecycle = '', 'active'
        self._publish_info()
        paused = '' if self._enabled else '; paused until ~/set_enabled is called with true'
        self.get_logger().info(
            f'ready: images from {", ".join(camera.topic for camera in self._cameras)}{paused}'
        )
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; the model stays loaded."""
        self._unsubscribe()
        self._lifecycle = 'inactive'
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload the model and remove the outputs."""
        self._release()
        self._lifecycle = 'unconfigured'
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unload and remove everything, from any state."""
        self._release()
        self._lifecycle = 'finalized'
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to unconfigured, from where everything can be tried again."""
        self._release()
        self._lifecycle = 'unconfigured'
        self._problem = self._problem or f'a transition from {state.label} failed'
        return super().on_error(state)

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def _configure(self) -> None:
        values = read_parameters(self)
        compressed = values.node.image_transport == COMPRESSED
        cameras = camera_topics(self, values.node.image_topics, compressed)
        namespaces = [topics.namespace for topics in cameras]
        scenes = make_scenes(self, namespaces, values.node, self._image_group)
        # For 0 the Segmenter does not touch OpenCV, and an earlier configuration may have set it.
        cv2.setNumThreads(-1)
        return_freed_memory()
        self._engine = self._load(values)
        return_freed_memory()
        reuse_freed_memory()
        left_out = self._outputs_left_out(self._engine)
        for topics, scene in zip(cameras, scenes, strict=True):
            self._cameras.append(
                Camera(
                    self,
                    topics,
                    values.node,
                    self._image_group,
                    self._on_malformed,
                    self._on_failure,
                    self._on_incomplete,
                    scene,
                    left_out,
                )
            )
        self._configurations += 1

    def _outputs_left_out(self, engine: Engine) -> frozenset[str]:
        highest = max(engine.segmenter.class_names)
        if highest <= MAX_CLASS_ID:
            return frozenset()
        self.get_logger().warning(
            f'{CLASS_IMAGE} is left out: the model has class ids up to {highest}, expected at '
            f'most {MAX_CLASS_ID}, as its pixels are bytes'
        )
        return frozenset({CLASS_IMAGE})

    def _load(self, values: ParameterValues) -> Engine:
        """Load the model in a thread of its own: a node that is to end does not wait for it."""
        loading = self._loading = Future()

        def load() -> None:
            with suppress(InvalidStateError):  # it was cancelled
                try:
                    loading.set_result(Engine(values))
                except Exception as error:
                    loading.set_exception(error)

        self._loader = threading.Thread(target=load, name='loading', daemon=True)
        self._loader.start()
        if self._stopping:
            loading.cancel()
        engine = loading.result()
        self._loading = Future()  # the engine is freed by cleanup: nothing else refers to it
        return engine

    def _fail(self, transition: str, error: Exception) -> None:
        if self._stopping:
            return
        known = isinstance(error, (RuntimeError, ValueError))
        text = str(error) if known else f'{type(error).__name__}: {error}'
        self._problem = f'{transition} failed: {text}'
        if transition == 'configure':
            self._release()
        what_to_do = (
            ''
            if isinstance(error, OverrideError)
            else '. Correct it, then: ros2 lifecycle set '
            f'{self.get_fully_qualified_name()} {transition}'
        )
        self.get_logger().error(f'{self._problem}{what_to_do}')

    def _unsubscribe(self) -> None:
        for camera in self._cameras:
            camera.unsubscribe()
        self._discard()
        self._warned.clear()
        self._silent.clear()
        self._causes.forget()

    def _discard(self) -> None:
        engine = self._engine
        if engine is not None:
            for camera in self._cameras:
                engine.discard(camera)

    def _release(self) -> None:
        self._unsubscribe()
        if self._engine is not None:
            self._engine.stop()
        self._engine = self._pending = None
        for camera in self._cameras:
            camera.close()
        self._cameras = []
        return_freed_memory()

    def _loaded_engine(self) -> Engine:
        assert self._engine is not None, 'only called between configure and cleanup'
        return self._engine

    # --- parameters

    def _check_parameters(self, changes: list[Parameter]) -> None:
        engine = self._engine
        self._changed = {
            each.name for each in changes if each.value != self.get_parameter(each.name).value
        }
        values = changed_parameters(
            self, changes, active=self._lifecycle == 'active', configured=engine is not None
        )
        self._pending = None
        if engine is None:
            return
        try:
            self._pending = engine.prepare(values)
        except (ModelError, ValueError):
            # Another model comes with the next configure: it is that one which must have a class.
            if self._lifecycle == 'active' or not engine.is_to_be_replaced(values):
                raise

    def _take_parameters(self) -> None:
        """Use what was set while inactive, or say that it needs a configure."""
        engine, values = self._loaded_engine(), read_parameters(self)
        try:
            engine.apply(engine.prepare(values))
        except (ModelError, ValueError) as error:
            self.get_logger().warning(
                f'{error}. Parameters that were set since the last configure are not in use: '
                'cleanup and configure, so that they are taken together'
            )

    def _apply_parameters(self, changes: list[Parameter]) -> None:
        engine, pending = self._engine, self._pending
        if engine is None:
            return
        changed = [change for change in changes if change.name in self._changed]
        late = needs_configure(changed)
        if late:
            self.get_logger().info(f'{", ".join(late)}: taken at the next configure')
        others = [change.name for change in changed if change.name not in late]
        if pending is None and others:
            self.get_logger().info(
                f'{", ".join(others)}: taken at the next configure, as the model has to be another'
            )
        if pending is None:
            return
        before = engine.configuration.settings.confidence_threshold
        engine.apply(pending)
        if self._lifecycle == 'active' and before != pending.settings.confidence_threshold:
            self._publish_info()

    # --- images

    def _on_image(self, camera: Camera, message: Any) -> None:
        camera.statistics.count('received')
        camera.listen_to_depth(self._enabled)
        engine = self._engine
        if not self._enabled or engine is None or not camera.wanted():
            camera.ignore()
            return
        if camera.is_due(engine.configuration.node.max_rate):
            engine.submit(camera, message)
        else:
            camera.drop()

    def _on_malformed(self, camera: Camera, problem: str) -> None:
        if not self._stopping:
            camera.statistics.count_error('malformed', problem)
            self._log_once(camera, f'image on {camera.topic} dropped: {problem}')

    def _on_failure(self, camera: Camera, problem: str) -> None:
        if self._stopping or self._lifecycle != 'active':
            return  # publishing failed because the outputs are gone
        camera.statistics.count_error('failed', problem)
        self._log_once(camera, f'image on {camera.topic} dropped: {problem}', is_error=True)

    def _on_incomplete(self, camera: Camera, problem: str) -> None:
        if not self._stopping:
            camera.statistics.count_error('incomplete', problem)
            self._log_once(camera, f'results of {camera.topic} are incomplete: {problem}')

    def _log_once(self, camera: Camera, text: str, is_error: bool = False) -> None:
        """Log a problem with a frame: each cause once, and again after REMINDER_PERIOD."""
        if self._causes.is_news(camera, text):
            log = self.get_logger()
            # Two lines: rclpy does not let one line of code log with two severities.
            if is_error:
                log.error(text)
            else:
                log.warning(text)

    # --- services

    def _make_services(self) -> None:
        self.create_service(
            SetBool,
            '~/set_enabled',
            self._on_set_enabled,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self.create_service(
            Trigger,
            '~/reset_tracking',
            self._on_reset_tracking,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        # A group of its own: the answer takes as long as a frame.
        self.create_service(
            Segment,
            '~/segment',
            self._on_segment,
            qos_profile=QoSProfile(depth=MOST_WAITING),
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        changed, self._enabled = self._enabled != request.data, request.data
        if not request.data:
            self._discard()
        response.success = True
        response.message = 'inference is running' if request.data else 'inference is paused'
        if changed:
            self.get_logger().info(response.message)
        return response

    def _on_reset_tracking(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        for camera in self._cameras:
            camera.scene.reset_tracking()
        response.success = True
        response.message = 'all objects are forgotten: ids begin at 1 again'
        return response

    def _on_segment(self, request: Segment.Request, response: Segment.Response) -> Segment.Response:
        engine = self._engine
        if engine is None:
            response.message = (
                'no model is loaded: configure the node first (ros2 lifecycle set '
                f'{self.get_fully_qualified_name()} configure)'
            )
            return response
        answer = engine.request(request.image)
        response.success, response.message = not answer.error, answer.error
        for name, message in answer.messages.items():
            setattr(response, name, message)
        return response

    # --- what is published about the node

    def _publish_info(self) -> None:
        engine = self._loaded_engine()
        header = Header(stamp=self.get_clock().now().to_msg())
        labels = LabelInfo(
            header=header,
            class_map=[
                VisionClass(class_id=class_id, class_name=name)
                for class_id, name in engine.segmenter.class_names.items()
            ],
            threshold=float(engine.configuration.settings.confidence_threshold),
        )
        # Of the values in class_image: nav2's layer takes the ids of pixels from such a message.
        values = LabelInfo(
            header=header,
            class_map=[VisionClass(class_id=0, class_name=BACKGROUND)]
            + [
                VisionClass(class_id=each.class_id + 1, class_name=each.class_name)
                for each in labels.class_map
            ],
            threshold=labels.threshold,
        )
        for camera in self._cameras:
            camera.publish_info(
                labels,
                values,
                VisionInfo(
                    header=header,
                    method=f'Mask R-CNN {engine.segmenter.model_name} in {engine.segmenter.engine}',
                    database_location=camera.label_topic,
                    database_version=self._configurations,
                ),
            )

    def _publish_diagnostics(self) -> None:
        state = self._state()
        levels = {
            name: self.get_parameter(name).value
            for name in ('processed_rate_warn', 'processed_rate_error', 'age_warn', 'age_error')
        }
        status = [model_status(state)]
        for camera in self._cameras:
            if self._lifecycle == 'active':
                camera.listen_to_depth(self._enabled)  # also while no images come
            status.append(camera_status(state, camera, self._silence(camera), levels))
        self._diagnostics.publish(
            DiagnosticArray(header=Header(stamp=self.get_clock().now().to_msg()), status=status)
        )

    def _state(self) -> NodeState:
        model = {}
        engine = self._engine
        if engine is not None:
            model = {
                'model': engine.segmenter.model_name,
                'engine': engine.segmenter.engine,
                'refiner': engine.segmenter.refiner,
                'classes': str(len(engine.segmenter.class_names)),
            }
        return NodeState(
            self.get_fully_qualified_name(), self._lifecycle, self._enabled, self._problem, model
        )

    def _silence(self, camera: Camera) -> Silence | None:
        """Return why no image arrives, and log it; None while images arrive."""
        timeout = self.get_parameter('image_timeout').value
        if self._lifecycle != 'active' or camera.statistics.silence() < timeout:
            if camera in self._silent:
                self._silent.remove(camera)
                self.get_logger().info(f'images arrive on {camera.topic}')
            return None
        silence = camera.silence()
        text, since = self._warned.get(camera, ('', 0.0))
        if text != silence.text or time.monotonic() - since > REMINDER_PERIOD:
            self._warned[camera] = (silence.text, time.monotonic())
            self._silent.add(camera)
            self.get_logger().warning(
                f'no image on {camera.topic} for {timeout:g} s: {silence.text}'
            )
        return silence
