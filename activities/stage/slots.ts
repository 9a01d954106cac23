// The slots and devices of one node, each handed out once. A launch holds its slot from its attempt on until it is
// removed, whoever watches it: launches found running at the start hold theirs before the node asks for work.

export interface Slots {
  /** The wanted number of devices for a launch that a permit of this node covers, or null when fewer are free. */
  take(launch: string, devices: number): string[] | null;
  /** The launch that was taken under a provisional name has its own. */
  rename(provisional: string, launch: string): void;
  /** A launch that runs without a permit, for example one found running at the start. */
  adopt(launch: string, devices: readonly string[]): void;
  /** The activity that took the launch ends, and its permit with it; what is left of the launch goes on holding a slot. */
  uncover(launch: string): void;
  free(launch: string): void;
  /** Launches that hold a slot without a permit. */
  uncovered(): string[];
  /** Permits for one Temporal worker to ask for a task; each is a slot that nothing else gets. */
  permits(): Permits;
}

export interface Permits {
  /** Resolves when a slot is free. @throws the signal's reason when it aborts first. */
  reserve(abort: AbortSignal): Promise<object>;
  release(): void;
  /** Takes back what the worker still held, once it has ended. */
  close(): void;
}

interface Holding {
  devices: readonly string[];
  /** A permit stands for it already. */
  covered: boolean;
}

interface Waiter {
  grant: () => void;
}

export function createSlots({ slots, devices }: { slots: number; devices: readonly string[] }): Slots {
  const held = new Map<string, Holding>();
  const waiters: Waiter[] = [];
  let permitted = 0;

  const isFree = (device: string) => ![...held.values()].some((holding) => holding.devices.includes(device));
  const freeSlots = () => slots - permitted - [...held.values()].filter(({ covered }) => !covered).length;
  const grantWaiting = () => {
    while (waiters.length > 0 && freeSlots() > 0) waiters.shift()?.grant();
  };

  return {
    take(launch, count) {
      const free = devices.filter(isFree).slice(0, count);
      if (free.length < count) return null;
      held.set(launch, { devices: free, covered: true });
      return free;
    },
    rename(provisional, launch) {
      const holding = held.get(provisional);
      held.delete(provisional);
      if (holding !== undefined) held.set(launch, holding);
    },
    adopt: (launch, of) => void held.set(launch, { devices: of, covered: false }),
    uncover(launch) {
      const holding = held.get(launch);
      if (holding !== undefined) holding.covered = false;
    },
    free(launch) {
      held.delete(launch);
      grantWaiting();
    },
    uncovered: () => [...held].flatMap(([launch, { covered }]) => (covered ? [] : [launch])),
    permits() {
      let mine = 0;
      const change = (by: number) => {
        mine += by;
        permitted += by;
        if (by < 0) grantWaiting();
      };
      return {
        async reserve(abort) {
          abort.throwIfAborted();
          await new Promise<void>((resolve, reject) => {
            const waiter: Waiter = {
              grant: () => {
                abort.removeEventListener('abort', giveUp);
                change(1);
                resolve();
              },
            };
            const giveUp = () => {
              waiters.splice(waiters.indexOf(waiter), 1);
              reject(abort.reason as Error);
            };
            abort.addEventListener('abort', giveUp, { once: true });
            waiters.push(waiter);
            grantWaiting();
          });
          return {};
        },
        release: () => change(-1),
        close: () => change(-mine),
      };
    },
  };
}
