import { describe, expect, test } from 'vitest';
import { workspaceOf } from '#activities/stage/workspace.ts';
import type { ProjectConfig } from '#core/project.ts';

const launch = `01a20950-425a-7000-9d41-6700f0af3ef0.${'long-stage-name-'.repeat(2)}.12`;
const stage = { checkpoints: null };
const config = { models: [] } as unknown as ProjectConfig;

describe("a stage's directories", () => {
  test('are the same for the same launch and others for another', () => {
    const space = workspaceOf('/home/someone/.assay/node/work', launch, config, stage);
    expect(workspaceOf('/home/someone/.assay/node/work', launch, config, stage)).toEqual(space);
    const other = workspaceOf('/home/someone/.assay/node/work', `${launch}3`, config, stage);
    expect(other.directories.tmp).not.toBe(space.directories.tmp);
  });

  test('leave room for a Unix socket below TMPDIR', () => {
    const { tmp } = workspaceOf('/home/someone-with-a-long-name/.assay/node/work', launch, config, stage).directories;
    expect(`${tmp}/pymp-xxxxxxxx/listener-xxxxxxxx`.length).toBeLessThan(104);
  });
});
