# Copyright (c) 2026 the instance_seg_ros contributors. MIT licence, see LICENSE.
"""Which DDS participants run on this machine, seen from outside: Linux only, and read-only.

The ports of a domain are those of the RTPS standard, the same for Fast DDS and Cyclone DDS. Of the
processes of other users only the ports and the user are to be seen.
"""

import os
import pwd
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# It is looked at, and nothing is written to it.
PROC, SHARED_MEMORY = Path('/proc'), Path('/dev/shm')  # noqa: S108 # nosec B108
FIRST_PORT, PORTS_PER_DOMAIN, DOMAINS = 7400, 250, 233
FIRST_OWN_PORT = 10  # of a participant, above the domain's; two for each participant
LISTENING = '0A'
# The locks, which a process keeps open, of what Fast DDS shares from it: memory, and the ports that
# it listens on.
LOCK = re.compile(r'(/dev/shm/fast(?:dds|rtps)_(port)?\w+)_el(?: \(deleted\))?$')
REMOVED = ' (deleted)'
# They are there on every machine, and no camera.
TOOLS = ('ros2', 'ros2-daemon', '_ros2_daemon')


@dataclass(frozen=True)
class Participant:
    """A process that takes part in a domain; of other users' processes, all that a user has there.

    Attributes:
        domain: ROS_DOMAIN_ID.
        user: name of the user, or the number where it has no name here.
        pid: of the process; None where it is not to be seen from here.
        program: name of the program; empty where pid is None.
        multicast: whether it hears the announcements of the domain.
        unicast: whether it has UDP ports of its own.
        tcp: whether it listens on TCP; None where pid is None.
        memory: bytes of shared memory that Fast DDS has for what it sends; None where pid is None.
        memory_removed: whether what it shares is gone from /dev/shm while it uses it; False where
            pid is None.
        sees_our_memory: whether its /dev/shm is the one of this process; None where that is not to
            be seen.
    """

    domain: int
    user: str
    pid: int | None
    program: str
    multicast: bool
    unicast: bool
    tcp: bool | None
    memory: int | None
    memory_removed: bool
    sees_our_memory: bool | None

    @property
    def is_tool(self) -> bool:
        """Whether it is a part of the command line."""
        return self.program in TOOLS

    @property
    def large_data(self) -> bool:
        """Whether it uses the transports LARGE_DATA of Fast DDS: UDP for announcements only."""
        return self.multicast and not self.unicast and self.tcp is not False

    @property
    def restricted(self) -> bool:
        """Whether it does not hear the announcements of others, as with a discovery range."""
        return self.unicast and not self.multicast

    def describe(self) -> str:
        """Return its name for a message."""
        return f'{self.program} (process {self.pid})' if self.pid else f'a process of {self.user}'


@dataclass(frozen=True)
class _Socket:
    port: int
    uid: int
    inode: str


def participants(proc: Path = PROC) -> list[Participant]:
    """Return the DDS participants of this machine, as far as they can be seen from here.

    A container with a network of its own sees its own only. Nothing where there is no /proc.

    Args:
        proc: the folder /proc.
    """
    sockets = [
        socket
        for table in ('udp', 'udp6')
        for socket in _sockets(proc / 'net' / table)
        if _domain(socket.port) is not None
    ]
    listening = {
        socket.inode
        for table in ('tcp', 'tcp6')
        for socket in _sockets(proc / 'net' / table, LISTENING)
    }
    files = _open_files(proc)
    owners = {file: pid for pid, names in files.items() for file in names}
    with_tcp = {owners[name] for name in map(_file, listening) if name in owners}
    groups: dict[tuple[int, int, int | None], list[int]] = defaultdict(list)
    for socket in sockets:
        key = (_domain(socket.port) or 0, socket.uid, owners.get(_file(socket.inode)))
        groups[key].append((socket.port - FIRST_PORT) % PORTS_PER_DOMAIN)
    found = []
    for (domain, uid, pid), offsets in sorted(groups.items(), key=lambda item: str(item[0])):
        multicast, unicast = offsets.count(0), _pairs(offsets)
        if multicast or unicast:
            found.append(
                Participant(
                    domain=domain,
                    user=user_name(uid),
                    pid=pid,
                    program=_program(proc, pid),
                    multicast=multicast > 0,
                    unicast=unicast > 0,
                    tcp=None if pid is None else pid in with_tcp,
                    memory=None if pid is None else _memory(proc / str(pid), files[pid]),
                    memory_removed=pid is not None and _is_removed(proc / str(pid), files[pid]),
                    sees_our_memory=None if pid is None else _sees_our_memory(proc / str(pid)),
                )
            )
    return found


def user_name(uid: int) -> str:
    """Return the name of a user, or the number where it has none on this machine."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def free_shared_memory(folder: Path = SHARED_MEMORY) -> tuple[int, int] | None:
    """Return the free bytes and all bytes of /dev/shm; None where there is none."""
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def ports(domain: int) -> str:
    """Return the UDP ports of a domain, first and last."""
    first = FIRST_PORT + PORTS_PER_DOMAIN * domain
    return f'{first} to {first + PORTS_PER_DOMAIN - 1}'


def _domain(port: int) -> int | None:
    domain = (port - FIRST_PORT) // PORTS_PER_DOMAIN
    return domain if 0 <= domain < DOMAINS else None


def _pairs(offsets: Iterable[int]) -> int:
    """Count the participants with both of their ports: a single port may be any program's."""
    own = set(offsets)
    return sum(offset >= FIRST_OWN_PORT and offset % 2 == 0 and offset + 1 in own for offset in own)


def _sockets(table: Path, state: str | None = None) -> list[_Socket]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return []
    found = []
    for line in lines:
        cells = line.split()
        if state is None or cells[3] == state:
            found.append(_Socket(int(cells[1].rpartition(':')[2], 16), int(cells[7]), cells[9]))
    return found


def _file(inode: str) -> str:
    return f'socket:[{inode}]'


def _open_files(proc: Path) -> dict[int, list[str]]:
    """Return what the processes have open, of those that may be looked at."""
    files = {}
    for folder in proc.iterdir() if proc.is_dir() else ():
        if folder.name.isdecimal():
            # Those of another user are closed to us, and a process may end at any moment.
            with suppress(OSError):
                files[int(folder.name)] = [
                    os.readlink(entry.path) for entry in os.scandir(folder / 'fd')
                ]
    return files


def _program(proc: Path, pid: int | None) -> str:
    """Return the name of the program: of an interpreter, that of the script."""
    try:
        words = (proc / str(pid) / 'cmdline').read_bytes().decode(errors='replace').split('\0')
    except OSError:
        return ''
    if 'ros2-daemon' in words:
        return 'ros2-daemon'
    names = [Path(word).name for word in words if word and not word.startswith('-')]
    if len(names) > 1 and names[0].startswith('python'):
        return names[1]
    return names[0] if names else ''


def _memory(process: Path, files: list[str]) -> int:
    """Return the bytes of the largest piece of memory that Fast DDS shares from a process."""
    sizes = [0]
    for lock in _locks(files):
        if lock[2]:
            continue  # a port has no memory for what is sent
        with suppress(OSError):
            # As the process sees it, which may be in a container.
            sizes.append(os.stat(f'{process}/root{lock[1]}').st_size)
    return max(sizes)


def _locks(files: list[str]) -> list[re.Match[str]]:
    return [lock for lock in map(LOCK.match, files) if lock]


def _is_removed(process: Path, files: list[str]) -> bool:
    """Whether somebody removed files that Fast DDS shares from a process, which still uses them."""
    own = {lock[1] for lock in _locks(files)}
    try:
        maps = (process / 'maps').read_text(errors='replace')
    except OSError:
        return False
    # A removed file may have a successor of the same name, made by a sender that looks for it.
    return any(
        line.endswith(REMOVED) and line.removesuffix(REMOVED).split(maxsplit=5)[-1] in own
        for line in maps.splitlines()
    )


def _sees_our_memory(process: Path) -> bool | None:
    try:
        return (process / 'root' / SHARED_MEMORY.relative_to('/')).samefile(SHARED_MEMORY)
    except OSError:
        return None
