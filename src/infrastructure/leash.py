"""Ties a child process to its parent: however the parent ends, the child gets a signal.

The request must be made in the child. Python's `preexec_fn` would make it between fork and exec,
where a parent with threads can deadlock, so this file is run as a small script that makes it and
then becomes the child's program. It imports little, because every start waits for it. Linux ties a
child to the *thread* that forked it: start leashed commands on a thread that stays.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
NOT_STARTED = 127


def leashed(
    command: Sequence[str], at_parents_death: signal.Signals, *, user: int | None = None
) -> list[str]:
    """Return the command that runs `command` (as the user with that id) until this process ends.

    The program is to be a path: after the change of user Python may not be able to search for it.
    """
    runs_as = "" if user is None else str(user)
    this_script = [sys.executable, "-I", "-S", __file__]
    return [*this_script, str(os.getpid()), str(int(at_parents_death)), runs_as, *command]


def _become(parent: int, death_signal: int, runs_as: str, command: list[str]) -> None:
    if runs_as:
        _give_up_root(int(runs_as))
    _ask_for_signal_at_parents_death(death_signal)
    if os.getppid() != parent:
        sys.exit("The process that started this one is already gone.")
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606 - there is no shell to mistrust


def _give_up_root(user: int) -> None:
    # Before the request below: the kernel forgets it when a process changes its user.
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)


def _ask_for_signal_at_parents_death(death_signal: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")


def _main(arguments: list[str]) -> None:
    parent, death_signal, runs_as, *command = arguments
    try:
        _become(int(parent), int(death_signal), runs_as, command)
    except OSError as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}.\n")
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    _main(sys.argv[1:])
