import type { EnvironmentContext } from '#environment/context.ts';
import { asking, buildContainerPrefix, buildTimeoutMs, engineStatus } from './engine.ts';
import { ownerOf } from './run-in-container.ts';
import { isAlive } from '#environment/process/work-directory.ts';

/** Removes the containers of builds whose process is gone, and those that no build can still be using. */
export async function sweepBuilds({
  images,
  cacheDir,
}: Pick<EnvironmentContext, 'images' | 'cacheDir'>): Promise<void> {
  if (images === null) return;
  const filters = { name: [`^/${buildContainerPrefix}`] };
  await asking('left-over builds were looked for', async () => {
    for (const { Id, Names, Created } of await images.docker.listContainers({ all: true, filters })) {
      const [owner, pid] = (Names[0] ?? '').replace(`/${buildContainerPrefix}`, '').split('-');
      const isOrphan = owner === ownerOf(cacheDir) && !isAlive(Number(pid));
      const isOver = Date.now() - Created * 1_000 > 2 * buildTimeoutMs;
      if (isOrphan || isOver) await remove(images.docker.getContainer(Id));
    }
  });
}

async function remove(container: { remove(options: object): Promise<unknown> }): Promise<void> {
  try {
    await container.remove({ force: true, v: true });
  } catch (error) {
    if (![404, 409].includes(engineStatus(error) ?? 0)) throw error;
  }
}
