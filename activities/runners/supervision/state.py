"""The files by which supervisor and worker know of each other. They only ever appear whole."""

import json
import os
import sys
import time

from supervision.processes import boot_id, start_of

EXIT_FILE_BYTES = 8192
EXIT_WRITE_SECONDS = 60.0


def write_all(fd, content):
    while content:
        content = content[os.write(fd, content) :]


def write_whole(path, value, durable):
    temporary = '%s.%d' % (path, os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, json.dumps(value).encode())
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    return temporary


def claim_of(pid, cgroup):
    """Pid, start and boot tell a supervisor from a later process of the same pid; the worker compares all three."""
    return {
        'pid': pid,
        'processStart': start_of(pid) if pid else None,
        'bootId': boot_id(),
        'startedAt': iso(time.time()),
        'cgroups': cgroup.paths,
        'unified': cgroup.unified,
    }


def is_alive(claimed):
    return claimed['pid'] is not None and claimed['bootId'] == boot_id() and claimed['processStart'] == start_of(claimed['pid'])


def claim(state, value):
    """True for exactly one caller per launch, ever: only that one may start the command or declare it dead."""
    temporary = write_whole(state + '/supervisor.json', value, durable=True)
    try:
        os.link(temporary, state + '/supervisor.json')
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


class ExitFile:
    """Takes its room on disk before the command starts, so that a stage that fills the disk can still be reported."""

    def __init__(self, state):
        self.path = state + '/exit.json'
        self.temporary = '%s.%d' % (self.path, os.getpid())
        self.fd = os.open(self.temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        if hasattr(os, 'posix_fallocate'):
            os.posix_fallocate(self.fd, 0, EXIT_FILE_BYTES)
        else:
            os.write(self.fd, b' ' * EXIT_FILE_BYTES)

    def write(self, value):
        content = json.dumps(value).encode()
        until = time.monotonic() + EXIT_WRITE_SECONDS
        while True:
            try:
                os.pwrite(self.fd, content, 0)
                os.ftruncate(self.fd, len(content))
                os.fsync(self.fd)
                os.rename(self.temporary, self.path)
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise
                print('The exit cannot be written yet: %s' % error, file=sys.stderr)
                time.sleep(0.5)


def iso(seconds):
    return time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds)) + '.%03dZ' % (seconds % 1 * 1000)


def blank_exit(reason, started_at, detail, killed=0):
    return {
        'reason': reason,
        'code': None,
        'signal': None,
        'outOfMemory': False,
        'startedAt': started_at,
        'finishedAt': iso(time.time()),
        'peakMemoryBytes': 0,
        'cpuSeconds': 0,
        'logBytes': 0,
        'logDroppedBytes': 0,
        'leftoverProcesses': killed,
        'detail': detail,
    }


def tell_ready():
    """The claim stands: the worker may go on, or go. Nothing is read or written there any more."""
    null = os.open('/dev/null', os.O_RDWR)
    try:
        os.write(1, b'ready\n')
    except BrokenPipeError:
        pass  # The worker is gone; its successor finds the claim.
    os.dup2(null, 0)
    os.dup2(null, 1)
