// What a stage's container may do: nothing that its stage did not ask for.

import { totalmem } from 'node:os';
import { join } from 'node:path';
import type { ContainerCreateOptions, MountSettings } from 'dockerode';
import type { Launch } from '#activities/runners/launch-state.ts';
import type { StageSpec } from '#activities/runners/runner.ts';
import type { NetworkSetting } from './networks/networks.ts';
import { entrypointScript, ioMount } from './entrypoint.ts';

export const labels = { launch: 'org.assay.launch', node: 'org.assay.node', image: 'org.assay.image' } as const;

export interface ContainerSetting {
  image: string;
  /** Whose containers these are: the same for all workers over one state directory. */
  node: string;
  user: { uid: number; gid: number };
  network: NetworkSetting;
}

const cpuPeriodUs = 100_000;
/** The entrypoint and the helper it waits with. */
const ownPids = 2;

export function containerOptions(spec: StageSpec, launch: Launch, setting: ContainerSetting): ContainerCreateOptions {
  const { memoryBytes, cpus, pids, fileBytes } = spec.limits;
  const [run, step, fence] = spec.name.split('.');
  return {
    name: spec.name,
    Image: setting.image,
    Entrypoint: ['/bin/sh', '-c', entrypointScript, 'assay'],
    Cmd: spec.command,
    // The variables are not here, because the engine writes these to its disk. This one keeps a runtime for NVIDIA from
    // handing out every device of the node where the image asks for them.
    Env: spec.devices.length === 0 ? ['NVIDIA_VISIBLE_DEVICES=void'] : [],
    User: `${setting.user.uid}:${setting.user.gid}`,
    WorkingDir: spec.files.workDir,
    Labels: {
      [labels.launch]: spec.name,
      [labels.node]: setting.node,
      'org.assay.run': run ?? '',
      'org.assay.step': step ?? '',
      'org.assay.fence': fence ?? '',
    },
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      Mounts: mountsOf(spec, launch),
      NetworkMode: setting.network.mode,
      ...(setting.network.dns.length > 0 && { Dns: setting.network.dns, DnsOptions: ['timeout:1', 'attempts:1'] }),
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges:true'],
      IpcMode: 'private',
      RestartPolicy: { Name: 'no' },
      LogConfig: { Type: 'none', Config: {} },
      // When the machine runs out of memory, a stage goes before the platform does.
      OomScoreAdj: 500,
      ...(memoryBytes !== null && { Memory: memoryBytes, MemorySwap: memoryBytes }),
      ...(cpus !== null && { CpuPeriod: cpuPeriodUs, CpuQuota: Math.max(1000, Math.floor(cpus * cpuPeriodUs)) }),
      PidsLimit: pids + ownPids,
      ShmSize: Math.floor((memoryBytes ?? totalmem()) / 2),
      Ulimits: [
        { Name: 'core', Soft: 0, Hard: 0 },
        ...(fileBytes === null ? [] : [{ Name: 'fsize', Soft: fileBytes, Hard: fileBytes }]),
      ],
      ...(spec.devices.length > 0 && {
        DeviceRequests: [{ Driver: 'nvidia', DeviceIDs: spec.devices, Capabilities: [['gpu']] }],
      }),
    },
  };
}

/** What the container has as /tmp; below the workspace, where what it takes is counted and removed. */
export function temporaryOf({ files }: StageSpec): string {
  return join(files.root, '.container-tmp');
}

/** Every directory at its own path, so that variables mean the same inside; /tmp on the disk, because a tmpfs is memory. */
function mountsOf(spec: StageSpec, launch: Launch): MountSettings[] {
  const { root, writable } = spec.files;
  const below = writable.filter((path) => path !== root);
  return [
    bind(temporaryOf(spec), '/tmp', false),
    bind(root, root, !writable.includes(root)),
    ...below.map((path) => bind(path, path, false)),
    bind(join(launch.directory, 'io'), ioMount, false),
  ];
}

function bind(source: string, target: string, readOnly: boolean): MountSettings {
  return {
    Type: 'bind',
    Source: source,
    Target: target,
    ReadOnly: readOnly,
    BindOptions: { Propagation: 'rprivate' },
  };
}
