"""A stage from its first instruction to the end of its last process."""

import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

from supervision.command import fork_command
from supervision.log import CHUNK_BYTES, Log
from supervision.processes import LINUX, descendants, kill, proportional_bytes, read_all, send
from supervision.state import iso, write_whole

DETAIL_CHARACTERS = 1000  # Six bytes each at most, so that the exit fits into its file.
WATCH_SECONDS = 0.2  # where nothing but the watching enforces a limit
SAMPLE_SECONDS = 1.0
SETTLE_SECONDS = 0.25  # helpers of the command, such as resource trackers, end by themselves within it
KILL_SECONDS = 10.0
DRAIN_SECONDS = 1.0


class Stage:
    def __init__(self, directory, launch, cgroup, wake):
        self.directory, self.launch, self.cgroup, self.wake = directory, launch, cgroup, wake
        self.limits = launch['limits']
        self.log = Log(directory + '/log', self.limits['logBytes'])
        self.main = self.status = None
        self.known = set()
        self.stop_at = self.settle_at = None
        self.out_of_memory = False
        self.peak_bytes = self.leftover = 0
        self.detail = None
        watched = 'pids' not in cgroup.paths or (self.limits['memoryBytes'] and 'memory' not in cgroup.paths)
        self.sample_seconds = WATCH_SECONDS if watched else SAMPLE_SECONDS

    def descendants(self):
        found = descendants({os.getpid(), *self.known})
        if not LINUX:
            self.known = set(found)  # Without a subreaper orphans leave the tree: those once seen are remembered.
        return {pid: process for pid, process in found.items() if process.alive}

    def reap(self):
        """Collects what ended. True while any descendant is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                # A living descendant hangs below a child of the subreaper: no child, no descendant.
                return not LINUX and bool(self.descendants())
            if pid == 0:
                return True
            if pid == self.main:
                self.status = status

    def stop(self, grace_seconds):
        if self.stop_at is None and grace_seconds > 0:
            pids = self.descendants()
            send(pids, signal.SIGTERM)
            send(pids, signal.SIGCONT)
        until = time.monotonic() + grace_seconds
        self.stop_at = until if self.stop_at is None else min(self.stop_at, until)

    def kill_all(self):
        # The kill comes before the end of forks: a shell that cannot fork would exit with a code of its own.
        kill(self.descendants())
        try:
            self.cgroup.stop_forks()
        except OSError as error:
            print('Forks go on while the stage is killed: %s' % error, file=sys.stderr)
        until = time.monotonic() + KILL_SECONDS
        while self.reap():
            kill(self.descendants())
            if time.monotonic() > until:
                self.detail = self.detail or '%d processes could not be killed.' % len(self.descendants())
                return
            time.sleep(0.002)

    def sample(self):
        own = self.cgroup.processes() if self.cgroup.paths else self.descendants()
        resident = sum(process.resident_bytes for process in own.values())
        memory = self.cgroup.memory_bytes() if 'memory' in self.cgroup.paths else resident
        limit = self.limits['memoryBytes']
        if limit and 'memory' not in self.cgroup.paths and memory > limit and LINUX:
            memory = proportional_bytes(own)
        self.peak_bytes = max(self.peak_bytes, memory)
        self.enforce(memory, sum(process.threads for process in own.values()))
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_seconds = ended.ru_utime + ended.ru_stime + sum(process.cpu_seconds for process in own.values())
        self.write_stats({'memoryBytes': memory, 'cpuSeconds': round(cpu_seconds, 3)})

    def enforce(self, memory, threads):
        limit = self.limits['memoryBytes']
        if 'memory' in self.cgroup.paths:
            self.out_of_memory = self.out_of_memory or self.cgroup.memory_kills() > 0
        elif limit and memory > limit:
            self.out_of_memory = True
        if 'pids' not in self.cgroup.paths and threads > self.limits['pids']:
            self.detail = 'The stage had %d processes and threads, its limit is %d.' % (threads, self.limits['pids'])
            self.stop(0)
        if self.out_of_memory:
            self.stop(0)

    def write_stats(self, stats):
        try:
            path = self.directory + '/stats.json'
            os.rename(write_whole(path, stats, durable=False), path)
        except OSError as error:
            print('Statistics are not written: %s' % error, file=sys.stderr)

    def run(self):
        """Starts the command and returns when it and everything it left behind is gone."""
        source, output = open_output()
        started = time.time()
        self.main, failure = fork_command(self.launch, output, self.cgroup)
        os.close(output)
        self.loop(source)
        until = time.monotonic() + DRAIN_SECONDS
        while self.log.pump(source) and time.monotonic() < until:
            pass
        return self.describe(started, json.loads(read_all(failure) or b'null'))

    def loop(self, source):
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        poll.register(source, select.POLLIN)
        sample_at, any_left = time.monotonic() + WATCH_SECONDS, True
        while True:
            for fd, _ in poll.poll(self.patience_ms(sample_at)):
                if fd == self.wake:
                    any_left = self.on_signals(os.read(self.wake, 512))
                elif self.log.pump(source) == 0:
                    poll.unregister(source)
            now = time.monotonic()
            if self.status is not None and not self.go_on_without_command(any_left, now):
                return
            if self.stop_at is not None and now >= self.stop_at:
                self.kill_all()
                return
            if now >= sample_at:
                self.sample()
                sample_at = time.monotonic() + self.sample_seconds
                any_left = any_left if LINUX else self.reap()

    def patience_ms(self, sample_at):
        due = min(at for at in (sample_at, self.stop_at, self.settle_at) if at is not None)
        return max(0, (due - time.monotonic()) * 1000 + 1)

    def on_signals(self, numbers):
        if signal.SIGUSR1 in numbers:
            self.stop(0)
        elif signal.SIGTERM in numbers:
            self.stop(self.launch['graceMs'] / 1000)
        return self.reap()

    def go_on_without_command(self, any_left, now):
        """After the command ended: a moment for its helpers to end too, then the rest is killed."""
        if not any_left:
            return False
        if self.stop_at is not None:
            return True
        if self.settle_at is None:
            self.settle_at = now + SETTLE_SECONDS
        if now < self.settle_at:
            return True
        self.leftover = len(self.descendants())
        self.kill_all()
        return False

    def describe(self, started, failure):
        if 'memory' in self.cgroup.paths:
            self.out_of_memory = self.out_of_memory or self.cgroup.memory_kills() > 0
        code, number = exit_of(self.status)
        reason = 'signalled' if number else 'exited'
        if failure:
            code, number, reason = self.explain(failure)
        if self.out_of_memory:
            reason = 'out-of-memory'
        if number == signal.SIGXFSZ and self.limits['fileBytes'] is not None:
            self.detail = 'The stage wrote a file larger than its limit of %d bytes.' % self.limits['fileBytes']
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        log_bytes, dropped_bytes = self.log.finish()
        return {
            'reason': reason,
            'code': code,
            'signal': name_of(number) if number else None,
            'outOfMemory': self.out_of_memory,
            'startedAt': iso(started),
            'finishedAt': iso(time.time()),
            'peakMemoryBytes': max(self.peak_bytes, used.ru_maxrss * (1024 if LINUX else 1)),
            'cpuSeconds': round(used.ru_utime + used.ru_stime, 3),
            'logBytes': log_bytes,
            'logDroppedBytes': dropped_bytes,
            'leftoverProcesses': self.leftover,
            'detail': self.detail and self.detail[:DETAIL_CHARACTERS],
        }

    def explain(self, failure):
        """A command that cannot be executed ends as it would in a shell, with 127 or 126; all else is the platform's."""
        self.detail = failure['message']
        if failure['commandErrno'] is None:
            return None, None, 'launch-failed'
        self.detail = '%s: %s' % (self.launch['command'][0], failure['message'])
        self.log.write(('[assay] %s\n' % self.detail).encode())
        return 127 if failure['commandErrno'] == errno.ENOENT else 126, None, 'exited'


def open_output():
    """The pipe that takes both outputs of the stage: where they are read, where they are written."""
    source, output = os.pipe()
    os.set_blocking(source, False)
    if LINUX:
        try:
            fcntl.fcntl(output, 1031, CHUNK_BYTES)  # F_SETPIPE_SZ, which the fcntl module names since 3.10 only.
        except OSError:
            pass  # Over the user's allowance: a pipe of the usual size works, only slower.
    return source, output


def exit_of(status):
    if status is None:
        return None, signal.SIGKILL
    code = os.waitstatus_to_exitcode(status)
    return (code, None) if code >= 0 else (None, -code)


def name_of(number):
    try:
        return signal.Signals(number).name
    except ValueError:
        return 'SIG%d' % number
