"""From a launch to the running command: limits, user, control group, exec."""

import json
import os
import resource
import signal

from supervision.processes import LINUX, PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, prctl, threads_of_user

OPEN_FILES = 65536


class LaunchError(Exception):
    """The platform could not start the command: nobody's code is at fault."""


class CommandError(Exception):
    """The command itself cannot be executed."""

    def __init__(self, number):
        super().__init__(os.strerror(number))
        self.errno = number


def drop_privileges(user):
    if not user:
        return
    import pwd

    try:
        groups = os.getgrouplist(pwd.getpwuid(user['uid']).pw_name, user['gid'])
    except KeyError:
        groups = [user['gid']]
    os.setgroups(groups)
    os.setgid(user['gid'])
    os.setuid(user['uid'])
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def lower(kind, wanted, hard=True):
    soft_now, hard_now = resource.getrlimit(kind)
    ceiling = wanted if hard_now == resource.RLIM_INFINITY else min(wanted, hard_now)
    resource.setrlimit(kind, (ceiling, ceiling if hard else hard_now))


def user_threads_max(launch):
    """A guard for the machine. The system counts it per user, all stages together, so the stage's own limit is watched
    and this one stays well above it."""
    uid = launch['user']['uid'] if launch['user'] else os.getuid()
    return threads_of_user(uid) + 2 * launch['limits']['pids']


def set_limits(limits, threads):
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, OPEN_FILES, hard=False)
    if threads is not None:
        lower(resource.RLIMIT_NPROC, threads)
    if limits['fileBytes'] is not None:
        lower(resource.RLIMIT_FSIZE, limits['fileBytes'])


def default_signals():
    # Python ignores two of these for itself and the supervisor the others: an ignored signal would stay so after exec.
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def prefer_as_victim():
    if LINUX:
        try:
            with open('/proc/self/oom_score_adj', 'w') as file:
                file.write('500')  # When the machine runs out, a stage goes before the platform does.
        except OSError:
            pass  # A preference only; some containers mount this read-only.


def become_command(launch, output, threads, supervisor):
    """Runs in the child, which has the go-ahead. Returns only by an exception."""
    null = os.open('/dev/null', os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    prefer_as_victim()
    set_limits(launch['limits'], threads)
    os.umask(0o022)
    drop_privileges(launch['user'])
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        raise LaunchError('The supervisor ended before the command started.')
    try:
        os.chdir(launch['workDir'])
    except OSError as error:
        raise LaunchError('The stage cannot enter its work directory %s: %s.' % (launch['workDir'], error.strerror))
    default_signals()
    try:
        os.execvpe(launch['command'][0], launch['command'], launch['variables'])
    except OSError as error:
        raise CommandError(error.errno)


def fork_command(launch, output, cgroup):
    """Starts the command in its own session, inside its control group from its first instruction. Returns its pid and
    the descriptor on which a failure to start arrives."""
    go_read, go_write = os.pipe()
    failure_read, failure_write = os.pipe()
    supervisor = os.getpid()
    threads = None if 'pids' in cgroup.paths else user_threads_max(launch)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(go_write)
            os.setsid()
            if os.read(go_read, 1):
                become_command(launch, output, threads, supervisor)
        except BaseException as error:
            command_errno = error.errno if isinstance(error, CommandError) else None
            report = {'commandErrno': command_errno, 'message': str(error)}
            os.write(failure_write, json.dumps(report).encode())
        os._exit(127)
    os.close(go_read)
    os.close(failure_write)
    cgroup.enter(pid, launch['limits'])
    try:
        os.write(go_write, b'g')
    except BrokenPipeError:
        pass  # The child is already gone; its status tells.
    os.close(go_write)
    return pid, failure_read


def give(path, uid, gid):
    """Makes the stage user the owner of a directory and of everything in it. Links are changed, never followed."""
    os.chown(path, uid, gid, follow_symlinks=False)
    for _, directories, files, fd in os.fwalk(path):
        for name in directories + files:
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
