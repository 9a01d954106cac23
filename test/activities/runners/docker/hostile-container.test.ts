// A stage that attacks: the engine, the node, other stages and its own limits.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dockerEngine } from '#test/support/docker.ts';
import { logOf, type SpecChanges } from '#test/activities/runners/runner-contract.ts';
import { until } from '#test/activities/runners/until.ts';
import { createRunnerOfTest, type RunnerOfTest } from './runner-of-test.ts';

const docker = await dockerEngine();
let under: RunnerOfTest;

async function run(code: string, changes: SpecChanges = {}) {
  const handle = await under.python(code, changes);
  const exit = await handle.wait();
  return { handle, exit, log: await logOf(handle) };
}

describe.skipIf(docker === null)('a hostile stage in a container (skipped: no Docker engine)', () => {
  beforeAll(async () => {
    if (docker !== null) under = await createRunnerOfTest(docker);
  });

  afterAll(() => under.close());

  it('finds no engine, no terminal, no device of the node and no right to anything', async () => {
    const { log } = await run(`
import os, re
status = open("/proc/self/status").read()
for name in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp"): print(name, re.search(name + r":\\s+(\\S+)", status)[1])
print("sockets", [p for p in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock") if os.path.exists(p)])
print("devices", sorted(set(os.listdir("/dev")) - {"core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"}))
print("ids", os.getuid() > 0, os.getgid() > 0, os.getgroups() == [] or 0 not in os.getgroups())
`);
    expect(log.split('\n')).toEqual([
      'CapEff 0000000000000000',
      'CapBnd 0000000000000000',
      'NoNewPrivs 1',
      'Seccomp 2',
      'sockets []',
      'devices []',
      'ids True True True',
      '',
    ]);
  });

  it('writes nowhere but into its own directories and /tmp', async () => {
    const { log } = await run(`
import os
for folder, _, _ in os.walk("/"):
    if folder.startswith(("/proc", "/sys", "/dev")): continue
    try:
        with open(folder + "/.probe", "w"): pass
        os.unlink(folder + "/.probe")
        print(folder)
    except OSError: pass
`);
    const places = log.trim().split('\n');
    const [work = ''] = places.filter((path) => path.endsWith('/work'));
    expect(places.filter((path) => path !== '/tmp' && !path.startsWith('/tmp/') && path !== work)).toEqual([]);
    expect(places).toContain('/tmp');
  });

  it('becomes nobody else by a program with the set-user-id bit', async () => {
    const { log } = await run(`
import os, shutil, subprocess
shutil.copy("/bin/sh", "sh"); os.chmod("sh", 0o4755)
print(subprocess.run(["./sh", "-c", "id -u"], capture_output=True).stdout.decode().strip() == str(os.getuid()))
print(subprocess.run(["/usr/bin/su", "-c", "id -u"], capture_output=True, stdin=subprocess.DEVNULL).returncode != 0)
print(subprocess.run(["/usr/bin/unshare", "-Ur", "id", "-u"], capture_output=True).returncode != 0)
`);
    expect(log).toBe('True\nTrue\nTrue\n');
  });

  it('sees neither the processes nor the files of another stage, nor those of the worker', async () => {
    const other = await under.start(['/bin/sleep', '60'], { variables: { ASSAY_TOKEN: 'token-of-another' } });
    const { log } = await run(`
import os
pids = [entry for entry in os.listdir("/proc") if entry.isdigit()]
print(len(pids))
for pid in pids:
    try: print("token-of-another" in open("/proc/%s/environ" % pid, errors="replace").read())
    except OSError: print(False)
print(os.path.exists(${JSON.stringify(join(under.base, other.name))}), os.path.exists(${JSON.stringify(under.stateDir)}))
os.symlink(${JSON.stringify(under.stateDir)}, "link")
print(os.path.exists("link"))
`);
    const lines = log.trim().split('\n');
    expect(Number(lines[0])).toBeLessThan(4);
    expect(lines.slice(1, -2).every((line) => line === 'False')).toBe(true);
    expect(lines.slice(-2)).toEqual(['False False', 'False']);
    await other.remove();
  });

  it('that forks without end stays within its processes, can be ended, and leaves none', async () => {
    const bomb = 'import os\nwhile True:\n    try: os.fork()\n    except OSError: open("full", "w").close()\n';
    const handle = await under.python(bomb, { limits: { pids: 40 }, graceMs: 300 });
    await until(async () => (await readdir(join(under.base, handle.name, 'work'))).includes('full'));
    const info = await docker?.getContainer(handle.name).inspect();
    const listed = await docker?.getContainer(handle.name).top();
    expect(listed?.Processes.length).toBeLessThanOrEqual(42);
    await handle.signal('terminate');
    expect((await handle.wait()).reason).toBe('signalled');
    await expect(stat(`/proc/${info?.State.Pid}`)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('that kills, stops or replaces what it can gets no success and no other worker by it', async () => {
    const { exit } = await run(`
import os, signal
for number in (signal.SIGKILL, signal.SIGSTOP): os.kill(1, number)
report = open("/run/assay/report", "r+")
report.write("code 0\\nstop 0\\nleft 0\\npeak 1\\ncached 0\\nkills 0\\ncpu 1\\nend\\n")
report.close()
os._exit(4)
`);
    expect(exit).toMatchObject({ reason: 'exited', code: 4 });
    const stopping = await run('import os, signal, time\nos.kill(1, signal.SIGTERM)\ntime.sleep(60)');
    expect(stopping.exit).toMatchObject({ reason: 'vanished', code: null });
  });

  it('keeps the shared memory it may have, which is half of its memory', async () => {
    const { log } = await run('import os; s = os.statvfs("/dev/shm"); print(s.f_frsize * s.f_blocks)', {
      limits: { memoryBytes: 200_000_000 },
    });
    expect(Number(log)).toBeGreaterThan(99_000_000);
    expect(Number(log)).toBeLessThan(101_000_000);
  });

  it('that tears at the pipes of its log harms its own log at most', async () => {
    const { exit, handle } = await run(`
import os
for name in ("output", "report"):
    for act in (os.unlink, lambda path: os.rename(path, path + ".x"), lambda path: os.symlink("/etc/shadow", path + ".y")):
        try: act("/run/assay/" + name)
        except OSError: pass
os.write(1, b"still here\\n")
`);
    // A worker without root shares its user with the stage, whose report may then be gone: that is no success.
    expect(['exited', 'vanished']).toContain(exit.reason);
    if (process.getuid?.() === 0) expect(exit).toMatchObject({ reason: 'exited', code: 0 });
    expect(await logOf(handle)).toContain('still here');
    expect(await readFile(join(under.stateDir, handle.name, 'state/exit.json'), 'utf8')).toContain(exit.startedAt);
  });
});
