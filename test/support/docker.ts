// The Docker engine of this machine, for the tests that need one.
import Docker from 'dockerode';

/** Python 3.11 on Debian; made once by hand, because an engine without a registry can not pull. */
export const testBaseImage = process.env.ASSAY_TEST_BASE_IMAGE ?? 'assay-test-python:3.11';

/** Null when no engine answers or it lacks the base image; the tests then say `skipped: no Docker engine`. */
export async function dockerEngine(): Promise<Docker | null> {
  const docker = new Docker();
  try {
    await docker.getImage(testBaseImage).inspect();
    return docker;
  } catch (error) {
    const { code, statusCode } = error as { code?: string; statusCode?: number };
    if (statusCode === 404 || ['ENOENT', 'ECONNREFUSED', 'EACCES'].includes(code ?? '')) return null;
    throw error;
  }
}
