"""A control group per launch, of either version, where the system lets us make one."""

import os
import sys
import time

from supervision.processes import read_bytes, read_process


def own_cgroups():
    """controller -> (this process's directory, mount point); the unified hierarchy is under the empty name."""
    mounts, found = {}, {}
    for line in read_bytes('/proc/self/mountinfo').decode().splitlines():
        left, _, right = line.partition(' - ')
        kind, _, options = right.split(' ')[:3]
        root, point = left.split(' ')[3:5]
        if kind == 'cgroup2':
            mounts[''] = (root, point)
        elif kind == 'cgroup':
            mounts.update({option: (root, point) for option in options.split(',')})
    for line in read_bytes('/proc/self/cgroup').decode().splitlines():
        _, controllers, path = line.split(':', 2)
        for controller in controllers.split(','):
            root, point = mounts.get(controller, (None, None))
            if root is not None and '..' not in path and (root == '/' or path == root or path.startswith(root + '/')):
                below = path if root == '/' else path[len(root) :]
                found[controller] = ((point + below).rstrip('/'), point)
    return found


def made_directory(path):
    try:
        os.mkdir(path)
    except FileExistsError:
        return True
    except OSError:
        return False  # Not ours to write: the caller watches instead.
    return True


class Cgroup:
    """Where the system lets us make one: counts and limits in the kernel. `paths` is empty where it does not."""

    def __init__(self, paths, unified):
        self.paths, self.unified = paths, unified
        self.made = set(paths.values())

    @staticmethod
    def make(name):
        own = own_cgroups()
        directory, point = own.get('', (None, None))
        # Next to ourselves when below is impossible: a unified group with processes cannot hand out controllers.
        for parent in (directory, os.path.dirname(directory) if directory != point else None) if directory else ():
            path = '%s/assay-%s' % (parent, name) if parent else None
            if path and made_directory(path):
                if os.path.exists(path + '/memory.max') and os.path.exists(path + '/pids.max'):
                    return Cgroup(dict.fromkeys(('memory', 'pids', 'cpu'), path), True)
                os.rmdir(path)
        paths = {}
        for controller in ('memory', 'pids', 'cpu'):
            path = '%s/assay-%s' % (own[controller][0], name) if controller in own else None
            if path and made_directory(path):
                paths[controller] = path
        return Cgroup(paths, False)

    def write(self, controller, file, value, optional=False):
        path = '%s/%s' % (self.paths[controller], file)
        if optional and not os.path.exists(path):
            return
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)

    def number(self, controller, file, keys):
        """The sum of the named lines of a file of `key value` lines."""
        rows = (line.split() for line in read_bytes('%s/%s' % (self.paths[controller], file)).splitlines())
        return sum(int(row[1]) for row in rows if row[0].decode() in keys)

    def limit(self, limits):
        memory, cpus = limits['memoryBytes'], limits['cpus']
        if memory and 'memory' in self.paths:
            self.write('memory', 'memory.max' if self.unified else 'memory.limit_in_bytes', memory)
            swap = ('memory.swap.max', 0) if self.unified else ('memory.memsw.limit_in_bytes', memory)
            self.write('memory', *swap, optional=True)
        if self.unified:
            self.write('memory', 'memory.oom.group', 1, optional=True)
        if 'pids' in self.paths:
            self.write('pids', 'pids.max', limits['pids'])
        if cpus and 'cpu' in self.paths:
            quota = max(1000, int(cpus * 100000))
            if self.unified:
                self.write('cpu', 'cpu.max', '%d 100000' % quota, optional=True)
            else:
                self.write('cpu', 'cpu.cfs_quota_us', quota, optional=True)

    def enter(self, pid, limits):
        """Puts a process that has not started its command yet under the limits. Refused: nothing but watching is left."""
        try:
            self.limit(limits)
            for controller in self.paths:
                self.write(controller, 'cgroup.procs', pid)
        except OSError as error:
            print('The control group is not usable, memory is watched instead: %s' % error, file=sys.stderr)
            self.paths = {}

    def processes(self):
        """pid -> Process of everything inside."""
        pids = {int(pid) for path in set(self.paths.values()) for pid in read_bytes(path + '/cgroup.procs').split()}
        found = ((pid, read_process(pid)) for pid in pids)
        return {pid: process for pid, process in found if process and process.alive}

    def memory_bytes(self):
        """Without the page cache, which the kernel gives back before it kills."""
        keys = ('anon', 'shmem') if self.unified else ('total_rss', 'total_shmem')
        return self.number('memory', 'memory.stat', keys)

    def memory_kills(self):
        return self.number('memory', 'memory.events' if self.unified else 'memory.oom_control', ('oom_kill',))

    def stop_forks(self):
        if 'pids' in self.paths:
            self.write('pids', 'pids.max', 0)
        if self.unified and self.paths:
            self.write('pids', 'cgroup.kill', 1, optional=True)

    def remove(self):
        for path in self.made:
            for _ in range(50):
                try:
                    os.rmdir(path)
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.002)  # Busy for a moment after its last process was killed.
                else:
                    break
