# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The settings of the library. Each is described here, and only here.

The checks, the arguments and properties of the Segmenter, the options of the command line, the
parameters of the node, the launch arguments, config/seg.yaml and the tables of the documentation
all come from these classes. After a change run ``make generate``. The node's own settings are in
``instance_seg_ros.ros.settings``, in the same form.

Only the standard library is imported here: launch files and tools/generate.py read the settings
where neither NumPy, OpenCV nor ROS is installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from instance_seg_ros.schema import Applies, Group, check_settings, setting

MIN_IMAGE_SIDE = 34  # pixels; the network accepts smaller images, but its results are useless
EXACT = 'exact'
CPU_PROVIDER = 'CPUExecutionProvider'
OPENVINO_PROVIDER = 'OpenVINOExecutionProvider'
AUTO, OPENCV, ONNXRUNTIME = 'auto', 'opencv', 'onnxruntime'
F32, F16, BF16, INT8 = 'f32', 'f16', 'bf16', 'int8'


@dataclass(frozen=True)
class ModelSettings:
    """What is chosen when a model is loaded."""

    model: str | Path = setting(
        'auto',
        'Name of a model, path of its manifest (.yaml) or of its frozen graph (.pb), or auto: the '
        'COCO model where its files are installed, else the model that ships with the package',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    model_path: str | Path = setting(
        '',
        'Frozen graph (.pb), in place of the one that the model names',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    text_graph_path: str | Path = setting(
        '',
        'OpenCV text graph (.pbtxt), in place of the one that belongs to the frozen graph',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    labels_path: str | Path = setting(
        '',
        'Label file, one class name per line, in place of the one that belongs to the frozen graph',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    engine: str = setting(
        AUTO,
        'What runs the network: opencv, onnxruntime, or auto: onnxruntime where the model prefers '
        'it or this OpenCV cannot run it (4.10 to 5.0 can), else opencv',
        Group.MODEL,
        choices=(AUTO, OPENCV, ONNXRUNTIME),
        applies=Applies.AT_CONFIGURE,
    )
    providers: tuple[str, ...] = setting(
        (CPU_PROVIDER,),
        'Execution providers of onnxruntime for the network, the preferred one first',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    precision: str = setting(
        AUTO,
        'What onnxruntime computes the network in: f32; int8 (half the time on a processor, a '
        'little less accurate; needs a calibrated model); bf16 (OpenVINOExecutionProvider only); '
        'f16 (GPUs); or auto: f32',
        Group.MODEL,
        choices=(AUTO, F32, F16, BF16, INT8),
        applies=Applies.AT_CONFIGURE,
    )
    trust_model: bool = setting(
        False,
        'Load unknown networks without a trial in a separate process with limits on time and '
        'memory; a network that has passed its trial is known from then on',
        Group.MODEL,
        applies=Applies.AT_CONFIGURE,
    )
    refine_providers: tuple[str, ...] = setting(
        (CPU_PROVIDER,),
        'Execution providers of onnxruntime for a refiner network, the preferred one first',
        Group.REFINER,
        applies=Applies.AT_CONFIGURE,
    )
    speed_preset: str = setting(
        EXACT,
        'exact, balanced or fast: fewer proposals and a smaller input, as the model defines them',
        Group.SPEED,
        applies=Applies.AT_CONFIGURE,
    )
    num_threads: int = setting(
        0,
        'Threads of OpenCV and onnxruntime; OpenCV has one such number for the process',
        Group.SPEED,
        limits=(0, 1024),
        zero='all cores',
        applies=Applies.AT_CONFIGURE,
    )
    parallel_nets: int = setting(
        1,
        'Images in the box network at a time: 2 give more frames per second on several cores, '
        'but each frame is later, and a second network takes memory',
        Group.SPEED,
        limits=(1, 16),
        applies=Applies.AT_CONFIGURE,
    )
    low_memory: bool = setting(
        False,
        'Less memory for more time: OpenCV without Winograd convolutions (COCO model: 200 MB less, '
        '1.5 times the time), onnxruntime without memory arenas (60 MB less, 1.1 times the time)',
        Group.SPEED,
        applies=Applies.AT_CONFIGURE,
    )

    def __post_init__(self) -> None:
        """Check all values; raises ValueError with the name, the value and what was expected."""
        check_settings(self)


@dataclass(frozen=True)
class Settings:
    """What can change between two frames."""

    refiner: str = setting(
        'auto',
        'What sharpens the masks: gan (a network), the path of such a network (.onnx), smooth '
        '(follows the edges of the image), none (the plain resized mask), or auto: gan where it '
        'is installed, else smooth',
        Group.REFINER,
    )
    refine_passes: int = setting(
        2,
        'Most passes of a refiner network, each finer than the one before; only large instances '
        'get more than one',
        Group.REFINER,
        limits=(1, 8),
    )
    refine_budget_ms: float = setting(
        0.0,
        'Time limit of a refiner network for all instances of an image, best scores first; '
        'instances that it does not reach get fewer passes or are smoothed',
        Group.REFINER,
        unit='milliseconds',
        limits=(0, 60_000),
        zero='no limit',
    )
    confidence_threshold: float = setting(
        0.5, 'Instances with a lower score are dropped', Group.RESULTS, limits=(0, 1)
    )
    nms_threshold: float = setting(
        0.4,
        'Of two boxes of a class that overlap more than this (intersection over union), the one '
        'with the lower score is dropped',
        Group.RESULTS,
        limits=(0, 1),
    )
    mask_threshold: float = setting(
        0.5,
        'Pixels with at least this probability belong to the instance',
        Group.RESULTS,
        limits=(0, 1),
    )
    min_part: float = setting(
        0.05,
        "Parts of a mask with less than this share of its largest part's pixels are dropped, and "
        'holes with less are filled',
        Group.RESULTS,
        limits=(0, 1),
        zero='masks stay as they are',
    )
    classes: tuple[str, ...] = setting(
        (), 'Names of the classes to keep; empty: all', Group.RESULTS
    )
    class_thresholds: tuple[str, ...] = setting(
        (),
        'Thresholds of single classes in place of confidence_threshold, such as person:0.6',
        Group.RESULTS,
    )
    min_area: int = setting(
        0,
        'Instances with a smaller box are dropped',
        Group.RESULTS,
        unit='square pixels',
        limits=(0, 100_000_000),
    )
    max_instances: int = setting(
        100,
        'Most instances of an image; those with the best scores are kept',
        Group.RESULTS,
        limits=(1, 10_000),
    )
    input_max_side: int = setting(
        0,
        'Larger images are scaled down to this longer side for the network',
        Group.SPEED,
        unit='pixels',
        limits=(MIN_IMAGE_SIDE, 16_384),
        zero="the model's own",
    )
    tiles: str = setting(
        '1x1',
        'For small objects: also segment the image in overlapping tiles, columns x rows such as '
        '2x2; each tile takes as long as an image',
        Group.SPEED,
    )

    def __post_init__(self) -> None:
        """Check all values; raises ValueError with the name, the value and what was expected."""
        check_settings(self)
