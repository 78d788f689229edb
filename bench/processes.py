"""What Linux tells of a process: processor time, memory, open files, connections."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
PARENT, USER, SYSTEM, ENDED_USER, ENDED_SYSTEM = 1, 11, 12, 13, 14  # fields behind the name
ESTABLISHED = "01"
KILOBYTES = re.compile(r"^(Rss|Pss|Pss_Anon):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True)
class Memory:
    """In bytes: what is resident, and its share of that, pages of several processes in parts.

    `anonymous` is the part of the share that is of no file, and of no memory shared on purpose.
    """

    rss: int
    pss: int
    anonymous: int


def processor_seconds(pid: int) -> float:
    """User and system time of a process, of the children it has waited for, and of those alive."""
    own = _fields(pid)
    return sum(
        int(own[field]) for field in (USER, SYSTEM, ENDED_USER, ENDED_SYSTEM)
    ) / TICKS_A_SECOND + sum(map(processor_seconds, children(pid)))


def children(pid: int) -> list[int]:
    """Those that are alive."""
    return [child for child, parent in _parents() if parent == pid]


def parent(pid: int) -> int:
    """Whose child it is."""
    return int(_fields(pid)[PARENT])


def memory(pid: int) -> Memory:
    """Of this process alone, not of its children."""
    rollup = (PROC / str(pid) / "smaps_rollup").read_text()
    kilobytes = {name: int(number) for name, number in KILOBYTES.findall(rollup)}
    return Memory(
        rss=kilobytes["Rss"] * 1024,
        pss=kilobytes["Pss"] * 1024,
        anonymous=kilobytes["Pss_Anon"] * 1024,
    )


def memory_of_all(pid: int) -> int:
    """The anonymous bytes of a process and its children, of those that live long enough."""
    total = 0
    for one in (pid, *children(pid)):
        try:
            total += memory(one).anonymous
        except (FileNotFoundError, ProcessLookupError, KeyError):
            continue  # it ended meanwhile
    return total


def open_files(pid: int) -> int:
    """How many handles it has: files, sockets, pipes."""
    return len(os.listdir(PROC / str(pid) / "fd"))


def connections(pid: int, ports: Mapping[str, int]) -> dict[str, int]:
    """How many it has to the servers on these ports of this machine, by the server's name."""
    its_own = set(_sockets(pid))
    remote = [port for inode, port in _established(pid) if inode in its_own]
    return {name: remote.count(port) for name, port in ports.items()}


def _fields(pid: int) -> list[str]:
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _parents() -> Iterator[tuple[int, int]]:
    for name in os.listdir(PROC):
        if name.isdigit():
            try:
                yield int(name), parent(int(name))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile


def _sockets(pid: int) -> Iterator[str]:
    folder = PROC / str(pid) / "fd"
    for handle in os.listdir(folder):
        try:
            target = os.readlink(folder / handle)
        except FileNotFoundError:
            continue  # it was closed meanwhile
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _established(pid: int) -> Iterator[tuple[str, int]]:
    """The inode of a socket, and the port at its other end."""
    for line in (PROC / str(pid) / "net" / "tcp").read_text().splitlines()[1:]:
        _, _, remote, state, *_, inode = line.split()[:10]
        if state == ESTABLISHED:
            yield inode, int(remote.rpartition(":")[2], 16)
