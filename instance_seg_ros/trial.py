# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Unknown models are first loaded and run in a separate process, with limits.

cv2.dnn and onnxruntime trust the content of a file: a wrong number can crash the process, fill the
memory or run forever. In a short-lived process that becomes a :class:`ModelError`. A model that
passed is remembered by its digest, so that only its first start takes longer.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2

from instance_seg_ros.detection.loader import choose_engine, load_detector, may_fall_back
from instance_seg_ros.errors import ModelError
from instance_seg_ros.installed import user_cache_folder
from instance_seg_ros.known_models import sha256_of
from instance_seg_ros.model_folders import package_folders
from instance_seg_ros.models import SHIPPED_REFINER, ModelManifest, read_manifest
from instance_seg_ros.onnx_sessions import onnxruntime_version
from instance_seg_ros.settings import OPENCV, ModelSettings
from instance_seg_ros.text_files import one_line

try:
    import resource
except ImportError:  # Windows: only the limit on time
    resource = None  # type: ignore[assignment]

LOG = logging.getLogger(__name__)

LONGEST = 90.0  # seconds
_LONGEST_CPU = 40  # seconds of all cores together
_MOST_MEMORY = 4 << 30  # bytes beyond those of the libraries
# How messages begin that say what they are about.
_NAMED = ('model ', 'weights ', 'text graph ', 'refiner ', 'OpenCV ')
_REFINER = 'refiner'
_TRUST = 'If you trust the file, set trust_model to go without this trial'


def try_model(manifest: ModelManifest, settings: ModelSettings) -> ModelManifest:
    """Load a model's network and run it once in another process, unless it is known.

    Known are the models of this package, by their digests, and those that passed before.

    Args:
        manifest: its files.
        settings: which choose the engine.

    Returns:
        The manifest; without the engine that it prefers where the model passed in OpenCV only.

    Raises:
        ModelError: it cannot be used, or it ended that process.
    """
    if _has_record(manifest):
        return manifest
    try:
        _try_in(choose_engine(manifest, settings), manifest)
    except ModelError as error:
        if str(error).endswith(_TRUST) or not may_fall_back(manifest, settings):
            raise
        _try_in(OPENCV, manifest)
        LOG.warning('%s. It runs in OpenCV instead', error)
        return replace(manifest, engine='')
    return manifest


def try_refiner(path: Path) -> None:
    """Load a refiner's network and run it once in another process, unless it is known.

    Raises:
        ModelError: it cannot be used, or it ended that process.
    """
    try:
        digest = sha256_of(path)
    except OSError:
        return  # the loader reports what is wrong
    for folder in package_folders():
        record = folder / f'{SHIPPED_REFINER}.sha256'
        if record.is_file() and record.read_text('utf-8').split()[:1] == [digest]:
            return
    _try(f'refiner {path}', _REFINER, {'refiner': path}, {})


def _try_in(engine: str, manifest: ModelManifest) -> None:
    files = {role: path for role, path in manifest.files.items() if role != 'labels'}
    about = {'name': manifest.name, 'proposals': manifest.proposals}
    _try(f'model {manifest.name!r}', engine, files, about)


def _has_record(manifest: ModelManifest) -> bool:
    """Whether this package has the digests of its network, which the loader has checked."""
    roles = [role for role in manifest.files if role != 'labels']
    digests = [manifest.digests.get(role) for role in roles]
    if None in digests:
        return False
    return any(
        digests == [known.digests.get(role) for role in roles] for known in _known_manifests()
    )


def _known_manifests() -> Iterator[ModelManifest]:
    for folder in package_folders():
        for path in folder.glob('*.yaml'):
            with contextlib.suppress(ModelError):
                yield read_manifest(path)


def _try(name: str, kind: str, files: dict[str, Path], about: dict[str, Any]) -> None:
    passed = _memory_of(kind, [*map(_digest, files.values()), str(about.get('proposals'))])
    if passed is not None and passed.is_file():
        return
    started = time.monotonic()
    paths = {role: str(path) for role, path in files.items()}
    problem = _run({'kind': kind, 'files': paths, **about})
    if problem is None:  # not tried: the next start tries it
        return
    if problem:
        raise ModelError(problem if problem.startswith(_NAMED) else f'{name}: {problem}')
    LOG.info('%s is unknown, passed its trial in %.1f s', name, time.monotonic() - started)
    if passed is not None:
        try:
            passed.parent.mkdir(parents=True, exist_ok=True)
            passed.touch()
        except OSError as error:  # a read-only home: it is tried each time
            LOG.debug('%s: %s', passed, error.strerror)


def _run(task: dict[str, Any]) -> str | None:
    """Return what is wrong, '' if nothing is, None where no process can be started."""
    if not sys.executable:  # Python within another program
        LOG.warning('there is no python to start a process with: a model is used without its trial')
        return None
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_import_path()), **_FEW_THREADS)
    try:
        done = subprocess.run(
            [sys.executable, '-c', 'from instance_seg_ros.trial import main; main()'],
            input=json.dumps(task).encode('utf-8', 'surrogateescape'),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f'loading and running it once took more than {LONGEST:g} s in a process. {_TRUST}'
    except OSError as error:
        LOG.warning(
            'no process can be started (%s): a model is used without its trial', error.strerror
        )
        return None
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
        return str(answer['problem'])
    except (ValueError, IndexError, TypeError, KeyError):
        return f'loading and running it once {_end_of(done.returncode)}. {_TRUST}'


# A thread for each of many cores would reserve memory beyond the limit.
_FEW_THREADS = {'MALLOC_ARENA_MAX': '2', 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'}


def _import_path() -> list[str]:
    package = str(Path(__file__).resolve().parent.parent)
    return [package, *(path for path in sys.path if path and path != package)]


def _end_of(code: int) -> str:
    if code >= 0:
        return f'ended a process with exit code {code}'
    if -code in (signal.SIGXCPU, signal.SIGKILL):
        return f'took more than {_LONGEST_CPU} s of a processor, or too much memory'
    return f'ended a process by {signal.Signals(-code).name}'


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise ModelError(f'{path}: {error.strerror}') from None


def _memory_of(kind: str, parts: list[str]) -> Path | None:
    """Return the file that says that these passed, with these libraries; None without a place."""
    from instance_seg_ros import __version__

    folder = user_cache_folder()
    if folder is None:
        return None
    libraries = [cv2.__version__]
    if kind != OPENCV:  # which is not to import the other one
        libraries.append(onnxruntime_version())
    text = json.dumps([__version__, *libraries, kind, *parts])
    name = hashlib.sha256(text.encode()).hexdigest()
    return folder / 'tried' / name


# ---- in the other process
def main() -> None:
    """Read a task from stdin, do it within limits, and print what is wrong as JSON."""
    task = json.loads(sys.stdin.buffer.read())
    _limit()
    try:
        _do(task)
        problem = ''
    except ModelError as error:
        problem = str(error)
    except Exception as error:  # anything that a library raises
        problem = f'cannot be used ({type(error).__name__}: {one_line(error)})'
    print('\n' + json.dumps({'problem': problem}), flush=True)
    os._exit(0)  # no destructors of what may be broken


def _do(task: dict[str, Any]) -> None:
    files = {role: Path(path) for role, path in task['files'].items()}
    cv2.setNumThreads(2)
    if task['kind'] == _REFINER:
        from instance_seg_ros.refinement.refiner import MaskRefiner

        MaskRefiner(files['refiner'], num_threads=2)
        return
    manifest = ModelManifest(
        **{
            'name': task['name'],
            'weights': None,
            'text_graph': None,
            'labels': Path(),
            'proposals': task['proposals'],
            **files,
        }
    )
    load_detector(manifest, ModelSettings(engine=task['kind'], num_threads=2))


def _limit() -> None:
    if resource is None:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _lower(resource.RLIMIT_CPU, _LONGEST_CPU)
    try:
        pages = int(Path('/proc/self/statm').read_text().split()[0])
    except (OSError, ValueError):
        return
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + _MOST_MEMORY)


def _lower(limit: int, value: int) -> None:
    _, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value if hard < 0 else min(value, hard), hard))
