"""The process table, and what may be asked of it: descendants, launch marks, memory."""

import ctypes
import os
import signal
import sys

LINUX = sys.platform == 'linux'
MARKER = 'ASSAY_LAUNCH'
PAGE_BYTES = os.sysconf('SC_PAGE_SIZE')
TICKS_PER_SECOND = os.sysconf('SC_CLK_TCK')

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


class Process:
    """One line of the process table. Zombies have `alive` false: they hold nothing but their exit status."""

    __slots__ = ('parent', 'group', 'alive', 'cpu_seconds', 'resident_bytes', 'threads', 'started')

    def __init__(self, parent, group, alive, cpu_seconds, resident_bytes, threads, started):
        self.parent, self.group, self.alive, self.cpu_seconds = parent, group, alive, cpu_seconds
        self.resident_bytes, self.threads, self.started = resident_bytes, threads, started


def read_all(fd):
    parts = []
    while True:
        part = os.read(fd, 65536)
        if not part:
            return b''.join(parts)
        parts.append(part)


def read_bytes(path):
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def read_process(pid):
    """The process of that id, or None when there is none. Field numbers are those of proc(5), less 3."""
    try:
        fields = read_bytes('/proc/%s/stat' % pid).rpartition(b')')[2].split()
    except OSError:
        return None
    return Process(
        parent=int(fields[1]),
        group=int(fields[2]),
        alive=fields[0] not in (b'Z', b'X'),
        cpu_seconds=sum(int(fields[at]) for at in (11, 12, 13, 14)) / TICKS_PER_SECOND,
        resident_bytes=int(fields[21]) * PAGE_BYTES,
        threads=int(fields[17]),
        started=fields[19].decode(),
    )


def process_table():
    if not LINUX:
        return process_table_by_ps()
    found = ((int(entry), read_process(entry)) for entry in os.listdir('/proc') if entry.isdigit())
    return {pid: process for pid, process in found if process}


def ps(*arguments):
    import subprocess  # Only where there is no /proc: the import alone costs more than the rest of the start.

    return subprocess.run(('/bin/ps', *arguments), stdout=subprocess.PIPE, check=False).stdout.decode(errors='replace')


def process_table_by_ps():
    table = {}
    for line in ps('-Ao', 'pid=,ppid=,pgid=,rss=,stat=,time=').splitlines():
        pid, parent, group, resident_kib, state, spent = line.split(None, 5)
        cpu_seconds = 0.0
        for part in spent.strip().replace('-', ':').split(':'):
            cpu_seconds = cpu_seconds * 60 + float(part)
        alive, resident_bytes = state[0] != 'Z', int(resident_kib) * 1024
        table[int(pid)] = Process(int(parent), int(group), alive, cpu_seconds, resident_bytes, 1, None)
    return table


def descendants(roots):
    """pid -> Process of everything below `roots`. Complete on Linux, where orphans come to the subreaper."""
    table = process_table()
    children = {}
    for pid, process in table.items():
        children.setdefault(process.parent, []).append(pid)
    found, open_pids = {}, list(roots)
    while open_pids:
        for pid in children.get(open_pids.pop(), ()):
            if pid not in found:
                found[pid] = table[pid]
                open_pids.append(pid)
    return found


def marked(name):
    """pid -> Process of what carries the launch's name in its environment, wherever it was reparented to."""
    mark = '%s=%s' % (MARKER, name)
    table = process_table()
    if LINUX:
        found = [pid for pid in table if mark.encode() in environment_of(pid)]
    else:
        lines = (line.split() for line in ps('-AEwwo', 'pid=,command=').splitlines())
        found = [int(words[0]) for words in lines if mark in words]
    return {pid: table[pid] for pid in found if pid in table and table[pid].alive and pid != os.getpid()}


def environment_of(pid):
    try:
        return read_bytes('/proc/%d/environ' % pid).split(b'\0')
    except OSError:
        return ()  # Ended meanwhile, or another user's, which a launch of ours cannot be.


def proportional_bytes(pids):
    """Memory with each shared page divided among its sharers: forked workers are not counted twice."""
    total = 0
    for pid in pids:
        try:
            for line in read_bytes('/proc/%d/smaps_rollup' % pid).splitlines():
                if line.startswith(b'Pss:'):
                    total += int(line.split()[1]) * 1024
        except OSError:
            process = read_process(pid)
            total += process.resident_bytes if process else 0
    return total


def send(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # Ended meanwhile, which is what the signal is for.


def kill(processes):
    """Kills by group where it can: the system does that in one step, which processes that keep forking cannot outrun."""
    own = os.getpgrp()
    for group in {process.group for process in processes.values()} - {own}:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue  # Ended meanwhile.
    send([pid for pid, process in processes.items() if process.group == own], signal.SIGKILL)


def threads_of_user(uid):
    total = 0
    for pid, process in process_table().items():
        try:
            total += process.threads if not LINUX or os.stat('/proc/%d' % pid).st_uid == uid else 0
        except FileNotFoundError:
            continue  # Ended meanwhile.
    return total


def prctl(option, value):
    if not LINUX:
        return
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'prctl %d: %s' % (option, os.strerror(ctypes.get_errno())))


def start_of(pid):
    """When that process started, in the system's own words; None when it is gone. Compared, never computed with."""
    if LINUX:
        process = read_process(pid)
        return process.started if process and process.alive else None
    return ' '.join(ps('-o', 'lstart=', '-p', str(pid)).split()) or None


def boot_id():
    return read_bytes('/proc/sys/kernel/random/boot_id').decode().strip() if LINUX else ''
