// What runs first in the container, as its process 1: it starts the command, passes on the request to end, and reports.
// POSIX shell and env(1) only, because an image of the user's need not have more. `io/` of the launch is /run/assay.

import { constants, type FileHandle, open } from 'node:fs/promises';

export const ioMount = '/run/assay';

/**
 * `output` is opened for reading too, so that the stage waits for a missing carrier instead of being killed by its
 * absence. `variables` puts NAME=value words in front of the command. A shell without a terminal starts background jobs
 * with interrupts ignored; env(1) of coreutils resets that, where another env(1) leaves it.
 *
 * The loop tells the end of the wait by the trap (143) from the end of the command. Afterwards helpers of the command
 * get a quarter of a second to end by themselves; what is left then is counted, and dies with this process. After a
 * request to end, what is left has its grace: a shell around the command dies of the request at once. It does not
 * end while nobody carries the output: `ending` can be opened only then.
 */
export const entrypointScript = `
exec 3<>${ioMount}/output 2>&3
. ${ioMount}/variables
exec 2>/dev/null
unset PWD OLDPWD SHLVL NVIDIA_VISIBLE_DEVICES
ulimit -S -n 65536 || ulimit -S -n $(ulimit -H -n)
asked= stopped=0
trap 'asked=1 stopped=1; kill -TERM -1; kill -CONT -1' TERM
reset=--default-signal=INT,QUIT
env $reset true || reset=
[ -z "$asked" ] || exit 143
(exec env $reset "$@") </dev/null >&3 2>&3 3>&- &
child=$!
while :; do
  asked=
  wait $child; code=$?
  [ -n "$asked" ] && [ $code = 143 ] || break
  kill -0 $child || { wait $child; again=$?; [ $again = 127 ] || code=$again; break; }
done
stop=$stopped tries=0
while :; do
  left=0
  for entry in /proc/[0-9]*; do
    [ $entry != /proc/1 ] && read -r line <$entry/stat || continue
    case "\${line##*) }" in [ZX]*) ;; *) left=$((left + 1)) ;; esac
  done
  [ $left = 0 ] && break
  [ $tries -ge 5 ] && [ $stopped = 0 ] && break
  tries=$((tries + 1)); sleep 0.05 || break
done
peak=0 cached=0 kills=0 cpu=0 root=/sys/fs/cgroup
if [ -r $root/memory.stat ]; then
  read -r peak <$root/memory.peak
  while read -r key n; do case $key in file) cached=$((cached + n)) ;; shmem) cached=$((cached - n)) ;; esac; done <$root/memory.stat
  while read -r key n; do case $key in oom_kill) kills=$n ;; esac; done <$root/memory.events
  while read -r key n; do case $key in usage_usec) cpu=$n ;; esac; done <$root/cpu.stat
elif [ -r $root/memory/memory.stat ]; then
  read -r peak <$root/memory/memory.max_usage_in_bytes
  while read -r key n; do case $key in total_cache) cached=$((cached + n)) ;; total_shmem) cached=$((cached - n)) ;; esac; done <$root/memory/memory.stat
  while read -r key n; do case $key in oom_kill) kills=$n ;; esac; done <$root/memory/memory.oom_control
  read -r n <$root/cpuacct/cpuacct.usage && cpu=$((n / 1000))
fi
printf 'code %s\\nstop %s\\nleft %s\\npeak %s\\ncached %s\\nkills %s\\ncpu %s\\nend\\n' $code $stop $left \${peak:-0} $cached $kills $cpu 1<>${ioMount}/report
printf x >${ioMount}/ending
exit $code
`;

/** What the entrypoint says of the end. The stage could have written it, so it only refines what the engine says. */
export interface Report {
  code: number;
  /** It was asked to end before the command ended. */
  wasStopped: boolean;
  leftoverProcesses: number;
  peakMemoryBytes: number;
  memoryKills: number;
  cpuSeconds: number;
}

const reportBytesMax = 4096;
const reportPattern =
  /^code (\d{1,3})\nstop ([01])\nleft (\d{1,9})\npeak (\d{1,15})\ncached (-?\d{1,15})\nkills (\d{1,9})\ncpu (\d{1,15})\nend\n/;

/** Null where there is none, or none that the entrypoint could have written. */
export async function readReport(path: string): Promise<Report | null> {
  const file = await openRegular(path);
  if (file === null) return null;
  try {
    const buffer = Buffer.alloc(reportBytesMax);
    const { bytesRead } = await file.read(buffer, 0, reportBytesMax, 0);
    return parseReport(buffer.toString('latin1', 0, bytesRead));
  } finally {
    await file.close();
  }
}

export function parseReport(text: string): Report | null {
  const fields = reportPattern.exec(text);
  if (fields === null) return null;
  const [code = 0, stop = 0, left = 0, peak = 0, cached = 0, kills = 0, cpu = 0] = fields.slice(1).map(Number);
  return {
    code,
    wasStopped: stop === 1,
    leftoverProcesses: left,
    // Without the page cache, which the kernel gives back before it kills.
    peakMemoryBytes: Math.max(0, peak - Math.max(0, cached)),
    memoryKills: kills,
    cpuSeconds: cpu / 1e6,
  };
}

/** A stage of a worker without root shares its user and may put anything in the report's place. */
async function openRegular(path: string): Promise<FileHandle | null> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
    (error: NodeJS.ErrnoException) => {
      if (['ENOENT', 'ELOOP', 'EACCES', 'ENXIO'].includes(error.code ?? '')) return null;
      throw error;
    },
  );
  if (file === null || (await file.stat()).isFile()) return file;
  await file.close();
  return null;
}
