#!/usr/bin/env bash
# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
# Runs a command with ROS 2 and the workspace sourced.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /ros2_ws/install/local_setup.bash
# Files and logs of a user that the image does not know, as `--user` gives one.
export HOME="${HOME:-/tmp}"
[ -w "$HOME" ] || export HOME=/tmp
exec "$@"
