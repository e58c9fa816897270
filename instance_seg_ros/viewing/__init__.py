# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""What is found, live in a browser: sources of frames, the loop over them, the page's server."""
