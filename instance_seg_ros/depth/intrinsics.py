# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The pinhole camera that a depth image was taken with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from instance_seg_ros.depth.images import DepthError

# Of focal lengths and principal points, pixels. Places beyond them would not be finite.
SHORTEST, FARTHEST = 1e-2, 1e7


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion: of a rectified image.

    Attributes:
        fx, fy: focal lengths, pixels.
        cx, cy: principal point, pixels.
        width, height: of the image that these hold for, pixels.

    Raises:
        DepthError: a focal length or size is not above 0, or a value is beyond any camera.

    Examples:
        >>> Intrinsics(fx=600, fy=600, cx=319.5, cy=239.5, width=640, height=480).cx
        319.5
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        """Check that a point can be computed with it."""
        values = self.fx, self.fy, self.cx, self.cy
        if not (
            all(abs(value) <= FARTHEST for value in values)
            and min(self.fx, self.fy) >= SHORTEST
            and min(self.width, self.height) > 0
        ):
            raise DepthError(
                f'the camera info has fx {self.fx:g}, fy {self.fy:g}, cx {self.cx:g}, cy '
                f'{self.cy:g} and a size of {self.width} x {self.height}: expected focal lengths '
                'and a size above 0. Is the camera calibrated?'
            )

    @classmethod
    def from_projection(cls, p: ArrayLike, width: int, height: int) -> Intrinsics:
        """Read the 3 x 4 projection matrix P of a sensor_msgs/CameraInfo, row by row.

        Raises:
            DepthError: it has not 12 numbers, or they are those of no camera.

        Examples:
            >>> p = [600.0, 0, 319.5, 0, 0, 600.0, 239.5, 0, 0, 0, 1, 0]  # message.p
            >>> Intrinsics.from_projection(p, 640, 480).fy
            600.0
        """
        numbers = np.ravel(p)
        if len(numbers) != 12:
            raise DepthError(
                f'the projection matrix has {len(numbers)} numbers: expected the 12 of P, row by '
                'row'
            )
        fx, fy, cx, cy = (float(numbers[i]) for i in (0, 5, 2, 6))
        return cls(fx, fy, cx, cy, width, height)

    def cropped_to(self, x: int, y: int, width: int, height: int) -> Intrinsics:
        """Return the same camera for a part of its image, in pixels.

        Examples:
            >>> Intrinsics(600, 600, 319.5, 239.5, 640, 480).cropped_to(100, 0, 400, 300)
            Intrinsics(fx=600, fy=600, cx=219.5, cy=239.5, width=400, height=300)
        """
        return Intrinsics(self.fx, self.fy, self.cx - x, self.cy - y, width, height)

    def scaled_to(self, width: int, height: int) -> Intrinsics:
        """Return the same camera for an image of another size, such as a binned one.

        Examples:
            >>> Intrinsics(600, 600, 319.5, 239.5, 640, 480).scaled_to(320, 240)
            Intrinsics(fx=300.0, fy=300.0, cx=159.5, cy=119.5, width=320, height=240)
        """
        x, y = width / self.width, height / self.height
        # Pixel centres are at whole numbers: the image begins at -0.5.
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return Intrinsics(self.fx * x, self.fy * y, cx, cy, width, height)
