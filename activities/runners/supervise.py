"""Runs one stage, outlives the worker that asked for it, and writes down how the stage ended.

    supervise.py run DIRECTORY      reads the launch as JSON on standard input
    supervise.py sweep DIRECTORY    buries a launch whose supervisor is gone without having written its exit

Standard library only, Python 3.9 or newer. DIRECTORY holds `log`, `stats.json` and `state/`, in which files only ever
appear whole: `supervisor.json` claims the launch (linked, so exactly one claimant wins), `exit.json` ends it.
The launch is never written to disk: its variables hold secrets.
"""

import json
import os
import signal
import sys
import time

sys.path.append(os.path.dirname(os.path.abspath(__file__)))  # Isolated mode leaves it out.

from supervision.cgroup import Cgroup
from supervision.command import give
from supervision.processes import LINUX, PR_SET_CHILD_SUBREAPER, kill, marked, prctl, read_all, read_bytes
from supervision.stage import KILL_SECONDS, Stage
from supervision.state import ExitFile, blank_exit, claim, claim_of, is_alive, iso, tell_ready


def close_inherited():
    for entry in os.listdir('/dev/fd'):
        if int(entry) > 2:
            try:
                os.close(int(entry))
            except OSError:
                continue  # The descriptor of the listing itself.


def catch_signals():
    """Returns the descriptor on which the numbers of the signals arrive, none of them lost from here on."""
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    return wake


def run(directory):
    close_inherited()
    launch = json.loads(read_all(0))
    wake = catch_signals()
    state = directory + '/state'
    exit_file = ExitFile(state)
    cgroup = Cgroup.make(launch['name']) if LINUX and launch['cgroups'] else Cgroup({}, False)
    if not claim(state, claim_of(os.getpid(), cgroup)):
        os.unlink(exit_file.temporary)
        return
    tell_ready()
    try:
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        if launch['user']:
            os.chown(launch['root'], launch['user']['uid'], launch['user']['gid'], follow_symlinks=False)
            for path in launch['writable']:
                give(path, launch['user']['uid'], launch['user']['gid'])
        ended = supervise(directory, launch, cgroup, wake)
    except OSError as error:
        ended = blank_exit('launch-failed', iso(time.time()), 'The stage could not be started: %s.' % error)
    exit_file.write(ended)
    cgroup.remove()


def supervise(directory, launch, cgroup, wake):
    stage = Stage(directory, launch, cgroup, wake)
    try:
        return stage.run()
    except OSError:
        stage.kill_all()
        raise


def sweep(directory):
    state, name = directory + '/state', os.path.basename(directory)
    now = iso(time.time())
    if claim(state, claim_of(None, Cgroup({}, False))):
        ExitFile(state).write(blank_exit('vanished', now, 'The supervisor never started.'))
        return
    claimed = json.loads(read_bytes(state + '/supervisor.json'))
    if os.path.exists(state + '/exit.json') or is_alive(claimed):
        return
    existing = {controller: path for controller, path in claimed['cgroups'].items() if os.path.isdir(path)}
    killed = kill_orphans(name, Cgroup(existing, claimed['unified']))
    text = 'The supervisor of the stage ended without reporting. Processes of the stage killed afterwards: %d.'
    ExitFile(state).write(blank_exit('vanished', claimed['startedAt'], text % killed, killed))


def kill_orphans(name, cgroup):
    killed, until = set(), time.monotonic() + KILL_SECONDS
    cgroup.stop_forks()
    while time.monotonic() < until:
        orphans = {**marked(name), **cgroup.processes()}
        if not orphans:
            break
        kill(orphans)
        killed.update(orphans)
        time.sleep(0.005)
    cgroup.remove()
    return len(killed)


if __name__ == '__main__':
    {'run': run, 'sweep': sweep}[sys.argv[1]](os.path.abspath(sys.argv[2]))
