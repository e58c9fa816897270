# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What every training has: steps and schedule, averaged weights, checkpoints, interrupts, logs,
the curve and the options for all of these. A task (``task.Task``) says the rest.
"""
