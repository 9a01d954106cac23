import { asking, buildLabel, engineStatus, type ImageSettings } from './engine.ts';

const name = 'assay-build';

/**
 * The network of builds: packages come in by it, and containers on it reach neither each other nor those of anybody else.
 *
 * @returns its name.
 */
export async function buildNetwork({ docker, network }: ImageSettings): Promise<string> {
  if (network) return await network();
  return await asking('the network of builds was prepared', async () => {
    try {
      await docker.getNetwork(name).inspect();
    } catch (error) {
      if (engineStatus(error) !== 404) throw error;
      await createNetwork(docker);
    }
    return name;
  });
}

async function createNetwork(docker: ImageSettings['docker']): Promise<void> {
  try {
    await docker.createNetwork({
      Name: name,
      Driver: 'bridge',
      CheckDuplicate: true,
      Labels: { [buildLabel]: 'network' },
      Options: { 'com.docker.network.bridge.enable_icc': 'false' },
    });
  } catch (error) {
    // Another worker was faster.
    if (engineStatus(error) !== 409) throw error;
  }
}
