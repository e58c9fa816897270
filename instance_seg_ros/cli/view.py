# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""The command ``instance-seg view``: a source, a player and a page, until Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

from instance_seg_ros.cli.console import CommandError, Console
from instance_seg_ros.cli.view_sources import open_source
from instance_seg_ros.segmenter import Segmenter
from instance_seg_ros.tracking import InstanceTracker
from instance_seg_ros.viewing.board import Board
from instance_seg_ros.viewing.player import Player
from instance_seg_ros.viewing.server import ServerError, ViewServer
from instance_seg_ros.viewing.sources import CAMERA, Source

DONE = 0
_PLAYER = 'player'  # name of the thread that segments
_WAKING = 0.2  # seconds after which Ctrl-C is seen at the latest
_LAST_GRACE = 1.0  # seconds that the picture in hand has to end after Ctrl-C


def run_view(options: argparse.Namespace, console: Console, load: Callable[[], Segmenter]) -> int:
    """Serve the page until Ctrl-C.

    Args:
        options: of the command line.
        console: what is printed.
        load: makes the segmenter; called once the source is known to be there.

    Returns:
        The exit code.

    Raises:
        CommandError: the source cannot be read, or the page cannot be served.

    """
    with contextlib.ExitStack() as stack:
        source = open_source(options, stack, console)
        stack.callback(source.close)
        # Before the model, which takes longer: a port that is in use is found at once.
        board = Board(source.name)
        try:
            server = ViewServer(board, options.host, options.port)
        except ServerError as error:
            raise CommandError(str(error)) from None
        stack.callback(server.close)
        try:
            _announce(server, console)
            thread = threading.Thread(
                target=_play, args=(_player(options, source, board, load()), source, console)
            )
            thread.name, thread.daemon = _PLAYER, True
            thread.start()
            _wait_for_ever()
        except KeyboardInterrupt:
            # A second one must not break what ends now.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        board.close()
        _join(_PLAYER)
    # A thread that is still inside OpenCV would end the process by a crash.
    if any(each.name in (_PLAYER, CAMERA) for each in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(DONE)
    return DONE


def _player(
    options: argparse.Namespace, source: Source, board: Board, segmenter: Segmenter
) -> Player:
    board.describe(
        {'model': segmenter.model_name, 'engine': segmenter.engine, 'refiner': segmenter.refiner}
    )
    tracker = InstanceTracker() if options.track else None
    return Player(segmenter, source, board, tracker, options.alpha, options.jpeg_quality)


def _play(player: Player, source: Source, console: Console) -> None:
    try:
        player.run()
    except Exception as error:  # the page says it, too
        console.warn(f'{source.name}: ended by an error: {error}')


def _announce(server: ViewServer, console: Console) -> None:
    console.say(f'open {server.url} in a browser; Ctrl-C ends it', at_once=True)
    if not server.is_private:
        console.warn(
            'everyone who reaches this machine over the network can see the picture: there is no '
            f'password. Without --host, "ssh -L {server.port}:localhost:{server.port} USER@ROBOT" '
            'shows it only to you'
        )


def _wait_for_ever() -> None:
    # Not in one wait: the system may hand Ctrl-C to another thread, which does not wake this one.
    while True:
        time.sleep(_WAKING)


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(_LAST_GRACE)
