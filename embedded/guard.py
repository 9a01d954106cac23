"""Keeps the embedded services alive while its parent lives, and stops them when it does not.

Commands arrive on stdin as JSON lines, events leave on stdout as JSON lines. The end of stdin means that the parent is
gone (or wants to stop): services are stopped in reverse order. Standard library only, Python 3.9 or later.

  {"op": "start", "service": {name, command, env, directory, uid, gid, stopSignal, stopSeconds, log}}
  {"op": "clear", "service": {...}}     stops what an earlier guard left of this service
  {"op": "temporary", "path": "..."}    a directory that is removed at the end

Events: ready or refused (another stack holds the lock), cleared {name}, started {name, pid}, exited {name, code, restarts}, hopeless {name, code, reason?}.
"""

import errno
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

RESTARTS_MAX = 5
RESTART_WINDOW_SECONDS = 60.0
LOG_BYTES_MAX = 16 * 1024 * 1024
LOCK_FD = 3


def emit(event, **fields):
    try:
        sys.stdout.write(json.dumps({"event": event, **fields}) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        # Nobody listens any more. The end of stdin, which stops everything, follows.
        sys.stdout = open(os.devnull, "w")


def die_with_parent(signal_number):
    """On Linux the kernel signals the services when this guard is killed itself. Returns the hook for the child."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    guard = os.getpid()

    def hook():
        prctl(1, signal_number, 0, 0, 0)  # PR_SET_PDEATHSIG; must follow the change of user, which clears it.
        if os.getppid() != guard:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


def processes_linux(directory):
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if os.readlink(f"/proc/{entry}/cwd") == directory:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    fields = stat.read().rpartition(b")")[2].split()
                if fields[0] != b"Z":
                    yield int(entry), os.path.basename(os.readlink(f"/proc/{entry}/exe")), fields[19]
        except OSError:
            continue  # It ended meanwhile, or belongs to somebody else.


def processes_portable(directory):
    listing = subprocess.run(["ps", "-axww", "-o", "pid=,lstart=,command="], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        words = line.split()
        if len(words) > 6 and any(word == directory or word.startswith(directory + "/") for word in words[6:]):
            yield int(words[0]), os.path.basename(words[6]), " ".join(words[1:6])


def leftovers(service):
    """Processes of this service that no guard watches, as (pid, start time): its program, at work in its directory."""
    directory = os.path.realpath(service["directory"])
    program = os.path.basename(os.path.realpath(service["command"][0]))
    find = processes_linux if os.path.isdir("/proc/self") else processes_portable
    return [(pid, started) for pid, name, started in find(directory) if name.split(" ")[0] == program]


def stop_leftovers(service):
    """A pid is signalled only while its start time is the one that was seen, so that a reused pid is left alone."""
    deadline = time.monotonic() + service["stopSeconds"]
    found = leftovers(service)
    signal_all(found, signal.Signals[service["stopSignal"]])
    while found:
        time.sleep(0.02)
        found = leftovers(service)
        if time.monotonic() > deadline:
            signal_all(found, signal.SIGKILL)


def signal_all(found, signal_number):
    for pid, _ in found:
        try:
            os.kill(pid, signal_number)
        except ProcessLookupError:
            continue


class Watched:
    """A running service and when it died before."""

    def __init__(self, service):
        self.service = service
        self.name = service["name"]
        self.process = None
        self.deaths = []
        self.start_at = 0.0

    def start(self):
        service = self.service
        stop_leftovers(service)
        switch = {"user": service["uid"], "group": service["gid"], "extra_groups": []} if "uid" in service else {}
        with open_log(service["log"]) as log:
            self.process = subprocess.Popen(
                service["command"],
                cwd=service["directory"],
                env=service["env"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.Signals[service["stopSignal"]]),
                **switch,
            )
        emit("started", name=self.name, pid=self.process.pid)

    def reap(self):
        """Notices a death and plans the next start. Returns False once starting again is hopeless."""
        code = self.process.poll() if self.process else None
        if code is None:
            return True
        self.process = None
        now = time.monotonic()
        self.deaths = [at for at in self.deaths if now - at < RESTART_WINDOW_SECONDS] + [now]
        if len(self.deaths) > RESTARTS_MAX:
            emit("hopeless", name=self.name, code=code)
            return False
        self.start_at = now + 0.1 * 2 ** (len(self.deaths) - 1)
        emit("exited", name=self.name, code=code, restarts=len(self.deaths))
        return True

    def stop(self, force):
        if self.process is None:
            stop_leftovers(self.service)
            return
        self.process.send_signal(signal.SIGKILL if force else signal.Signals[self.service["stopSignal"]])
        try:
            self.process.wait(self.service["stopSeconds"])
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        stop_leftovers(self.service)


def open_log(path):
    if os.path.exists(path) and os.path.getsize(path) > LOG_BYTES_MAX:
        os.replace(path, path + ".1")
    return open(path, "ab", buffering=0)


def take_lock():
    """The lock belongs to the open file, which the parent holds too: it is free once both are gone."""
    try:
        fcntl.flock(LOCK_FD, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True


class Guard:
    def __init__(self):
        self.services = []
        self.temporary = []
        self.buffer = b""
        self.hopeless = False
        self.ended = False
        self.forced = False
        self.wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        os.set_blocking(self.wake_read, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.end)
        signal.signal(signal.SIGQUIT, self.force)

    def end(self, *_):
        self.ended = True

    def force(self, *_):
        """SIGQUIT: the person does not want to wait. Also cuts short a stop that is under way."""
        self.ended = self.forced = True
        for watched in self.services:
            if watched.process:
                watched.process.kill()

    def run(self):
        while not self.ended and not self.hopeless:
            readable, _, _ = select.select([0, self.wake_read], [], [], self.seconds_to_next_start())
            if self.wake_read in readable:
                os.read(self.wake_read, 4096)
            if 0 in readable:
                self.read_commands()
            self.look_after_services()
        for watched in reversed(self.services):
            watched.stop(self.forced)
        for path in self.temporary:
            shutil.rmtree(path, ignore_errors=True)

    def seconds_to_next_start(self):
        waiting = [watched.start_at for watched in self.services if watched.process is None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None

    def read_commands(self):
        chunk = os.read(0, 65536)
        self.ended = self.ended or not chunk
        *lines, self.buffer = (self.buffer + chunk).split(b"\n")
        for line in lines:
            command = json.loads(line)
            if command["op"] == "temporary":
                self.temporary.append(command["path"])
            elif command["op"] == "clear":
                stop_leftovers(command["service"])
                emit("cleared", name=command["service"]["name"])
            else:
                self.services.append(Watched(command["service"]))

    def look_after_services(self):
        for watched in self.services:
            if watched.process is None and not self.ended and time.monotonic() >= watched.start_at:
                self.start(watched)
            elif not watched.reap():
                self.hopeless = True

    def start(self, watched):
        try:
            watched.start()
        except (OSError, subprocess.SubprocessError) as error:
            emit("hopeless", name=watched.name, code=None, reason=str(error))
            self.hopeless = True


def main():
    if "--lock" in sys.argv:
        if not take_lock():
            emit("refused")
            return 1
    emit("ready")
    guard = Guard()
    guard.run()
    return 2 if guard.hopeless else 0


if __name__ == "__main__":
    sys.exit(main())
