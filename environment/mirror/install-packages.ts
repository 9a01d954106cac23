// Installs the packages of an environment from files: those of the mirror where they are kept, else those that the index
// has now, which are kept on the way. Which of the two it was, is told.
import { DomainError } from '#core/errors.ts';
import type { EnvironmentContext } from '#environment/context.ts';
import { bringWheel, syncPackages, syncWheels, type Watching } from '#environment/venv.ts';
import { wheelPath } from '#environment/uv/built-wheels.ts';
import { isFile } from '#environment/sources/tree.ts';
import type { Interpreter } from '#environment/python/interpreters.ts';
import { isFrozen, type Lock, type LockedWheel } from '#environment/lock.ts';
import { gatherWheels, NotGatheredError } from './gather-wheels.ts';
import { trimWheels } from './trim-wheels.ts';
import type { GatheredWheel, WheelStore } from './wheel-store.ts';

export interface PackagesRequest extends Watching {
  environmentKey: string;
  lock: Lock;
  interpreter: Interpreter;
  store?: WheelStore | undefined;
}

export interface InstalledPackages {
  /** Where the files came from. */
  from: 'mirror' | 'index';
  /** How many wheels are kept; null when they are not. */
  wheels: number | null;
  /** Why they are not, or why the mirror was not used. */
  notes: string[];
}

/** @throws DomainError environment-unresolvable when a package cannot be had as it was locked. */
export async function installPackages(
  context: EnvironmentContext,
  request: PackagesRequest,
  target: string,
): Promise<InstalledPackages> {
  const { lock, store, environmentKey } = request;
  if (store === undefined) {
    await syncPackages(context, lock, target, request);
    return { from: 'index', wheels: null, notes: [] };
  }
  const kept = await store.wheelsOf(environmentKey);
  const lost = kept === null ? [] : await bringAll(context, store, kept);
  if (kept !== null && lost.length === 0) {
    await syncWheels(context, kept, target, request);
    await trimWheels(context.cacheDir);
    return { from: 'mirror', wheels: kept.length, notes: [] };
  }
  return await installFromIndex(context, { ...request, store }, target, lost);
}

async function installFromIndex(
  context: EnvironmentContext,
  request: PackagesRequest & { store: WheelStore },
  target: string,
  notes: string[],
): Promise<InstalledPackages> {
  const { lock, store, environmentKey, onLine } = request;
  let gathered: GatheredWheel[];
  try {
    gathered = await gatherWheels(context, request);
  } catch (error) {
    if (!(error instanceof NotGatheredError)) throw error;
    const note = notKept(error);
    onLine?.(note);
    await syncPackages(context, lock, target, {
      ...request,
      fetchWheel: (wheel, path) => store.fetch(wheel, path),
    });
    return { from: 'index', wheels: null, notes: [...notes, note] };
  }
  // Keeping reads the files while uv unpacks them.
  const [installed, keeping] = await Promise.allSettled([
    syncWheels(context, gathered, target, request),
    store.keep(environmentKey, gathered),
  ]);
  if (installed.status === 'rejected') throw installed.reason;
  if (keeping.status === 'rejected') throw keeping.reason;
  await trimWheels(context.cacheDir);
  return { from: 'index', wheels: gathered.length, notes };
}

/** What could not be brought, in words. Trouble of the store itself is thrown. */
async function bringAll(
  context: EnvironmentContext,
  store: WheelStore,
  wheels: readonly LockedWheel[],
): Promise<string[]> {
  const lost: string[] = [];
  for (const wheel of wheels) {
    const path = wheelPath(context, wheel);
    if (await isFile(path)) continue;
    try {
      await bringWheel(wheel, path, (one, partial) => store.fetch(one, partial));
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      lost.push(`The kept wheel ${wheel.filename} can not be used. ${error.message}`);
    }
  }
  return lost;
}

const tried = new Set<string>();

/**
 * For an environment that is here already and was made before its wheels could be kept: tried once per process. Answers
 * why they are still not kept.
 */
export async function keepWheels(
  context: EnvironmentContext,
  request: PackagesRequest & { store: WheelStore },
): Promise<string[]> {
  const { store, environmentKey, lock } = request;
  if (isFrozen(lock.text) || tried.has(environmentKey)) return [];
  tried.add(environmentKey);
  if ((await store.wheelsOf(environmentKey)) !== null) return [];
  try {
    await store.keep(environmentKey, await gatherWheels(context, request));
    return [];
  } catch (error) {
    if (error instanceof NotGatheredError || error instanceof DomainError) return [notKept(error)];
    throw error;
  }
}

function notKept({ message }: Error): string {
  return `The wheels are not kept beyond this node: ${message.replace(/\.$/, '')}.`;
}
