"""Carries the output of one container to the launch's log, and outlives the worker that asked for it.

    carry.py run DIRECTORY      reads the launch as JSON on standard input, prepares what the container mounts, carries
    carry.py resume DIRECTORY   goes on where a killed carrier stopped; does nothing while another one carries

Standard library only, Python 3.9 or newer. `io/` in DIRECTORY is what the container sees: `output`, which its entrypoint
holds open for reading too, so that a missing carrier makes the stage wait and never kills it; `variables`, which hands
the stage its environment and is gone afterwards, so that no secret is written to disk or shown by the engine; `report`;
`ending`, which the entrypoint cannot open while nobody carries, so that the container does not end before its output is.
`state/log.json` says that the output has ended.
"""

import errno
import fcntl
import json
import os
import select
import signal
import sys
import time

sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # Isolated mode leaves it out.

from supervision.command import give
from supervision.log import CHUNK_BYTES, Log
from supervision.processes import boot_id, read_all, read_bytes, start_of
from supervision.state import tell_ready, write_all, write_whole

REPORT_BYTES = 4096
HAND_OVER_SECONDS = 0.005
LOOK_SECONDS = 1.0
FINISH_SECONDS = 60.0


def close_inherited():
    for entry in os.listdir('/dev/fd'):
        if int(entry) > 2:
            try:
                os.close(int(entry))
            except OSError:
                continue  # The descriptor of the listing itself.


def lock(directory):
    """False while another carrier of this launch lives. The lock goes with its process, and is never inherited."""
    fd = os.open(directory + '/state/carrier.lock', os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def claim(directory, log_bytes):
    claimed = {'pid': os.getpid(), 'processStart': start_of(os.getpid()), 'bootId': boot_id(), 'logBytes': log_bytes}
    path = directory + '/state/supervisor.json'
    os.rename(write_whole(path, claimed, durable=False), path)


def prepare(directory, launch):
    """Makes what the container mounts. The report takes its room on disk now, so that a full disk does not lose it."""
    io = directory + '/io'
    for name in ('output', 'variables', 'ending'):
        os.mkfifo('%s/%s' % (io, name), 0o600)
    fd = os.open(io + '/report', os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, b' ' * REPORT_BYTES)
    finally:
        os.close(fd)
    if launch['user']:
        uid, gid = launch['user']['uid'], launch['user']['gid']
        for name in ('output', 'variables', 'ending', 'report'):
            os.chown('%s/%s' % (io, name), uid, gid)
        os.chown(launch['root'], uid, gid, follow_symlinks=False)
        for path in launch['writable']:
            give(path, uid, gid)


def quoted(text):
    return "'" + text.replace("'", "'\"'\"'") + "'"


def script_of(variables):
    """What the entrypoint reads: the variables go in front of the command, for env(1) to set."""
    words = (quoted('%s=%s' % pair) for pair in variables.items())
    return ('set -- %s "$@"\n' % ' '.join(words)).encode()


class Carrier:
    def __init__(self, directory, log_bytes):
        self.directory = directory
        self.log = Log(directory + '/log', log_bytes)
        self.source = os.open(directory + '/io/output', os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.fcntl(self.source, 1031, CHUNK_BYTES)  # F_SETPIPE_SZ, which the fcntl module names since 3.10 only.
        except OSError:
            pass  # Over the user's allowance: a pipe of the usual size works, only slower.
        # For writing too: with no writer left it would be readable for ever.
        self.ending = os.open(directory + '/io/ending', os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.script = None

    def resume(self):
        size = os.fstat(self.log.fd).st_size
        self.log.room = max(0, self.log.room - size)
        self.log.write(b'\n[assay] The carrier of this log ended and another goes on: output may be missing here.\n')
        if os.path.exists(self.directory + '/io/variables'):
            # They were lost with the carrier that had them: the entrypoint ends without a report, as if it had vanished.
            self.script = b'exit 255\n'

    def hand_over(self):
        """The script waits for the entrypoint to open its end: what is written before would be lost with its writer."""
        path = self.directory + '/io/variables'
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        os.set_blocking(fd, True)
        try:
            write_all(fd, self.script)
        except BrokenPipeError:
            pass  # The container is gone; its state tells.
        os.close(fd)
        os.unlink(path)
        self.script = None

    def carry(self):
        """Until every process of the container is gone, or the worker says so where no writer was seen to close."""
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        poll.register(self.ending, select.POLLIN)
        while True:
            events = dict(poll.poll((HAND_OVER_SECONDS if self.script else LOOK_SECONDS) * 1000))
            if self.script:
                self.hand_over()
            if self.ending in events:
                os.read(self.ending, CHUNK_BYTES)
            if events.get(self.source, 0) & select.POLLIN:
                self.log.pump(self.source)
            elif self.source in events or os.path.exists(self.directory + '/state/ended'):
                return self.drain()

    def drain(self):
        while self.log.pump(self.source):
            pass

    def finish(self):
        log_bytes, dropped_bytes = self.log.finish()
        ended = {'logBytes': log_bytes, 'logDroppedBytes': dropped_bytes}
        path = self.directory + '/state/log.json'
        until = time.monotonic() + FINISH_SECONDS
        while True:
            try:
                os.rename(write_whole(path, ended, durable=False), path)
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise
                print('The end of the log cannot be noted yet: %s' % error, file=sys.stderr)
                time.sleep(0.5)


def run(directory):
    launch = json.loads(read_all(0))
    if not lock(directory):
        raise SystemExit('This launch has a carrier already.')
    prepare(directory, launch)
    carrier = Carrier(directory, launch['logBytes'])
    carrier.script = script_of(launch['variables'])
    claim(directory, launch['logBytes'])
    tell_ready()
    carrier.carry()
    carrier.finish()


def resume(directory):
    if not lock(directory) or os.path.exists(directory + '/state/log.json'):
        tell_ready()
        return
    log_bytes = json.loads(read_bytes(directory + '/state/supervisor.json'))['logBytes']
    carrier = Carrier(directory, log_bytes)
    carrier.resume()
    claim(directory, log_bytes)
    tell_ready()
    carrier.carry()
    carrier.finish()


if __name__ == '__main__':
    close_inherited()
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    {'run': run, 'resume': resume}[sys.argv[1]](os.path.abspath(sys.argv[2]))
