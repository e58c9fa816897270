# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Networks in onnxruntime, on the first execution provider of a list that works."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from instance_seg_ros.errors import ModelError
from instance_seg_ros.onnxruntime_import import import_onnxruntime
from instance_seg_ros.settings import BF16, CPU_PROVIDER, F32, OPENVINO_PROVIDER
from instance_seg_ros.text_files import one_line

if TYPE_CHECKING:
    import onnxruntime

_Sessions = dict[str, 'onnxruntime.InferenceSession']

LOG = logging.getLogger(__name__)

# Operations with a body, whose layers a profile has as well.
_WITH_BODY = ('Scan', 'Loop', 'If')
# Where outputs that stay with the provider are kept.
_DEVICES = {'CUDAExecutionProvider': 'cuda', 'TensorrtExecutionProvider': 'cuda'}
# To search for the best method at every new size of an image would take seconds.
_OPTIONS = {'CUDAExecutionProvider': {'cudnn_conv_algo_search': 'HEURISTIC'}}


class Sessions:
    """Several networks that hand values on to each other. Threads may share them.

    Inputs and outputs are bound: what is not asked for as an array stays on the provider's device.

    Args:
        files: each network by its name: a path, or its bytes.
        name: what messages call the model.
        num_threads: of onnxruntime, 0 for all cores.
        providers: onnxruntime's execution providers, the preferred one first. One that is not
            there, or fails, is logged once, and the next one takes over.
        low_memory: give freed memory back to the system; slower.
        bf16: networks that OpenVINO's provider is to compute in bf16, where the processor has it.

    Raises:
        ModelError: onnxruntime is not installed, a file is no ONNX file, or no provider works.
        ValueError: the providers are no list of names.

    """

    def __init__(
        self,
        files: Mapping[str, Path | bytes],
        name: str,
        num_threads: int = 0,
        providers: Sequence[str] = (CPU_PROVIDER,),
        low_memory: bool = False,
        bf16: Collection[str] = (),
    ) -> None:
        if isinstance(providers, str) or not providers:
            raise ValueError(
                f'execution providers: {providers!r}: expected a list of names, at least one'
            )
        self._files, self._name = dict(files), name
        self._num_threads, self._low_memory = num_threads, low_memory
        self._bf16 = bf16
        self._lock = threading.Lock()
        self._left = list(providers)
        self._current = self._open_next('')

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return self._current[0]

    def inputs(self, network: str) -> dict[str, list[Any]]:
        """Return the shapes of a network's inputs by name; a free side is a text or None."""
        return {i.name: i.shape for i in self._current[1][network].get_inputs()}

    def outputs(self, network: str) -> dict[str, list[Any]]:
        """Return the shapes of a network's outputs by name."""
        return {o.name: o.shape for o in self._current[1][network].get_outputs()}

    def opened(self, network: str) -> onnxruntime.InferenceSession:
        """Return a network's session on the provider in use, to look at."""
        return self._current[1][network]

    def metadata(self, network: str) -> dict[str, str]:
        """Return what a network's file says of itself."""
        return dict(self._current[1][network].get_modelmeta().custom_metadata_map)

    def run(
        self,
        network: str,
        feed: Mapping[str, Any],
        arrays: Sequence[str] = (),
        on_device: Sequence[str] = (),
    ) -> list[Any]:
        """Run a network.

        Args:
            network: its name.
            feed: by the name of each input an array, or what another run left on the device.
            arrays: outputs to return as arrays.
            on_device: outputs to return for other runs, as they are.

        Returns:
            Both kinds of outputs, in this order.

        Raises:
            ModelError: it fails on this provider, and there is no other.

        """
        while True:
            provider, sessions = self._current
            try:
                return _run(sessions[network], provider, feed, arrays, on_device)
            except Exception as error:  # onnxruntime's own classes have no base of their own
                self._replace(sessions, one_line(error))
            try:  # what is left on the device that failed
                feed = {name: _array(value) for name, value in feed.items()}
            except Exception as error:
                raise ModelError(
                    f'{self._name}: {provider} failed in the middle of an image, which is lost '
                    f'with it: {one_line(error)}. The next image runs on {self.provider}'
                ) from None

    def layer_times(self, network: str, feed: Mapping[str, Any]) -> dict[str, float]:
        """Return the milliseconds of each layer of a network, in a session of its own.

        The layers in the body of a loop count as the loop.
        """
        with TemporaryDirectory() as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / 'profile')
            session = self._session(network, options, [self.provider])
            arrays = {key: _array(value) for key, value in feed.items()}
            # In its first run a session gets its memory, which takes large layers several times
            # as long as they take later.
            for _ in range(2):
                session.run(None, arrays)
            events = json.loads(Path(session.end_profiling()).read_text(encoding='utf-8'))
        return _layer_times_of_last_run(events)

    # ---- loading
    def _replace(self, failed: _Sessions, problem: str) -> None:
        """Go on to the next provider, once sessions have failed.

        Raises:
            ModelError: there is none.

        """
        with self._lock:
            provider, sessions = self._current
            if sessions is not failed:  # another thread was here before
                return
            if not self._left:
                raise ModelError(
                    f'{self._name}: {provider} failed in the middle of an image, and no other '
                    f'execution provider is left: {problem}'
                )
            self._current = self._open_next(f'{provider}: {problem}')

    def _open_next(self, problem: str) -> tuple[str, _Sessions]:
        """Load the networks in the first of the providers left that works."""
        while self._left:
            provider = self._left[0]
            sessions, reason = self._open(provider)
            if sessions is not None:
                if problem:
                    LOG.warning('%s: %s. It runs on %s now', self._name, problem, provider)
                # The one in use is taken from the list: it is not to be tried again.
                self._left.pop(0)
                return provider, sessions
            problem = f'{problem}; {reason}' if problem else reason
            self._left.pop(0)
        raise ModelError(f'{self._name}: no execution provider of onnxruntime works: {problem}')

    def _open(self, provider: str) -> tuple[_Sessions | None, str]:
        """Load the networks in a provider; None, and why, where another one may do better."""
        available = self._onnxruntime().get_available_providers()
        if provider not in available:
            return None, (
                f'{provider}: this onnxruntime has only {", ".join(available)}; '
                'onnxruntime-gpu has CUDAExecutionProvider'
            )
        try:
            sessions = {n: self._session(n, self._options(), self._left) for n in self._files}
        except ModelError as error:
            if len(self._left) == 1:
                raise
            return None, f'{provider}: {error}'
        if next(iter(sessions.values())).get_providers()[0] != provider:
            return None, f'{provider}: onnxruntime has it, but could not start it'
        return sessions, ''

    def _session(
        self, network: str, options: onnxruntime.SessionOptions, providers: Sequence[str]
    ) -> onnxruntime.InferenceSession:
        file = self._files[network]
        try:
            return self._onnxruntime().InferenceSession(
                file if isinstance(file, bytes) else str(file),
                options,
                providers=[(name, self._provider_options(name, network)) for name in providers],
                enable_fallback=0,
            )
        except Exception as error:
            what = f'the part {network}' if len(self._files) > 1 else 'it'
            where = '' if isinstance(file, bytes) else f' {file}'
            raise ModelError(
                f'{self._name}: onnxruntime cannot load {what}{where}: {one_line(error)}. Expected '
                'an ONNX file, not a web page or a git-LFS pointer'
            ) from None

    def _provider_options(self, provider: str, network: str) -> dict[str, str]:
        if provider != OPENVINO_PROVIDER:
            return _OPTIONS.get(provider, {})
        # Without the hint it takes bf16 on processors that have it.
        configuration = {
            'INFERENCE_PRECISION_HINT': BF16 if network in self._bf16 else F32,
            'INFERENCE_NUM_THREADS': str(self._num_threads or cv2.getNumberOfCPUs()),
        }
        return {'device_type': 'CPU', 'load_config': json.dumps({'CPU': configuration})}

    def _options(self) -> onnxruntime.SessionOptions:
        options = self._onnxruntime().SessionOptions()
        # With 0, onnxruntime binds its threads to cores, and complains where it may not.
        options.intra_op_num_threads = self._num_threads or cv2.getNumberOfCPUs()
        options.log_severity_level = 4  # failures raise exceptions, and are logged here
        # Threads that wait busily for the next image would take the cores from OpenCV.
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        options.enable_cpu_mem_arena = not self._low_memory
        # Patterns are kept for every size of an image.
        options.enable_mem_pattern = False
        return options

    def _onnxruntime(self) -> Any:
        try:
            return import_onnxruntime()
        except ImportError as error:
            raise ModelError(
                f'{self._name}: needs onnxruntime, which cannot be imported ({error}). '
                'pip install onnxruntime'
            ) from None


def onnxruntime_version() -> str:
    """Return the version of onnxruntime, '' where it is not installed."""
    try:
        return str(import_onnxruntime().__version__)
    except ImportError:
        return ''


def _run(
    session: onnxruntime.InferenceSession,
    provider: str,
    feed: Mapping[str, Any],
    arrays: Sequence[str],
    on_device: Sequence[str],
) -> list[Any]:
    binding = session.io_binding()
    for name, value in feed.items():
        if isinstance(value, np.ndarray):
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        else:
            binding.bind_ortvalue_input(name, value)
    for name in arrays:
        binding.bind_output(name)
    for name in on_device:
        binding.bind_output(name, _DEVICES.get(provider, 'cpu'))
    session.run_with_iobinding(binding)
    outputs = binding.get_outputs()
    return [_array(output) for output in outputs[: len(arrays)]] + outputs[len(arrays) :]


def _array(value: Any) -> NDArray[Any]:
    return value if isinstance(value, np.ndarray) else value.numpy()


def _layer_times_of_last_run(events: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the milliseconds of each layer in the last run that a profile is of."""
    last_run = max(event['ts'] for event in events if event['name'] == 'model_run')
    layers = [
        event
        for event in events
        if event['name'].endswith('_kernel_time') and event['ts'] >= last_run
    ]
    loops = [event for event in layers if event['args'].get('op_name') in _WITH_BODY]
    times: dict[str, float] = {}
    for event in layers:
        if not any(_is_within(event, loop) for loop in loops):
            layer = event['name'].removesuffix('_kernel_time')
            times[layer] = times.get(layer, 0.0) + event['dur'] / 1e3
    return times


def _is_within(event: Mapping[str, Any], loop: Mapping[str, Any]) -> bool:
    start, end = loop['ts'], loop['ts'] + loop['dur']
    return event is not loop and start <= event['ts'] and event['ts'] + event['dur'] <= end


__all__ = ['Sessions', 'onnxruntime_version']
