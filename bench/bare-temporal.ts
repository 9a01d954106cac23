// Bare Temporal on the server of a stack: same SDK, same settings as the control worker's, nothing of Assay.
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';

export interface BareTemporal {
  /** Starts the workflow and waits for its end. */
  run: (activities: number) => Promise<void>;
  /** Event types of a closed execution, oldest first. */
  eventsOf: (workflowId: string) => Promise<string[]>;
  stop: () => Promise<void>;
}

const taskQueue = 'bench';

export async function startBareTemporal(temporal: { address: string; namespace: string }): Promise<BareTemporal> {
  const { address, namespace } = temporal;
  const logger = new DefaultLogger('ERROR');
  Runtime.install({ logger });
  const workflowsPath = fileURLToPath(new URL('./bare-workflow.ts', import.meta.url));
  const native = await NativeConnection.connect({ address });
  const worker = await Worker.create({
    connection: native,
    namespace,
    taskQueue,
    workflowBundle: await bundleWorkflowCode({ workflowsPath, logger }),
    activities: { nothing: () => Promise.resolve() },
    maxConcurrentWorkflowTaskPolls: 4,
    maxConcurrentActivityTaskPolls: 4,
  });
  const running = worker.run();
  const connection = await Connection.connect({ address });
  const client = new Client({ connection, namespace });
  return {
    run: (activities) => client.workflow.execute('bare', { workflowId: randomUUID(), taskQueue, args: [activities] }),
    async eventsOf(workflowId) {
      const { events } = await client.workflow.getHandle(workflowId).fetchHistory();
      return (events ?? []).map((event) => Object.keys(event).find((key) => key.endsWith('EventAttributes')) ?? '?');
    },
    async stop() {
      worker.shutdown();
      await running;
      await Promise.all([native.close(), connection.close()]);
    },
  };
}
