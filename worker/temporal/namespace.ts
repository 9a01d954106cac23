// Prepares a Temporal server for Assay: its namespace with the retention we promise, and the search attributes.
import { type Connection, isGrpcServiceError } from '@temporalio/client';
import { SearchAttributeType } from '@temporalio/common';
import { encodeSearchAttributeIndexedValueType } from '@temporalio/common/lib/search-attributes.js';
import { msToTs } from '@temporalio/common/lib/time.js';
import { untilItWorks } from '#worker/wait.ts';

const retention = '30 days';
const visibleTimeoutMs = 30_000;
const grpcNotFound = 5;
const grpcAlreadyExists = 6;

/** What an operator can search runs by in the Temporal UI. A SQL visibility store has room for ten keywords. */
export const searchAttributes: Readonly<Record<string, SearchAttributeType>> = {
  AssayProject: SearchAttributeType.KEYWORD,
  AssayExperiment: SearchAttributeType.KEYWORD,
  AssayRun: SearchAttributeType.KEYWORD,
  AssayRunId: SearchAttributeType.KEYWORD,
  AssayOwner: SearchAttributeType.KEYWORD,
  AssayStatus: SearchAttributeType.KEYWORD,
  AssayCommit: SearchAttributeType.KEYWORD,
  AssayModel: SearchAttributeType.KEYWORD,
  AssayGate: SearchAttributeType.KEYWORD,
  AssayTags: SearchAttributeType.KEYWORD_LIST,
};

/** Safe to repeat, also by several processes at once. Resolves when the server shows what was registered. */
export async function ensureNamespace(connection: Connection, namespace: string): Promise<void> {
  if (!(await namespaceExists(connection, namespace))) await registerNamespace(connection, namespace);
  const missing = await missingAttributes(connection, namespace);
  if (missing.length === 0) return;
  await connection.operatorService.addSearchAttributes({
    namespace,
    searchAttributes: Object.fromEntries(
      missing.map(([name, type]) => [name, encodeSearchAttributeIndexedValueType(type) ?? 0]),
    ),
  });
  await untilIt(
    'shows its search attributes',
    async () => (await missingAttributes(connection, namespace)).length === 0,
  );
}

async function registerNamespace(connection: Connection, namespace: string): Promise<void> {
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      description: 'Runs of Assay',
      workflowExecutionRetentionPeriod: msToTs(retention),
    });
  } catch (error) {
    if (!hasCode(error, grpcAlreadyExists)) throw error;
  }
  await untilIt(`shows the namespace ${namespace}`, () => namespaceExists(connection, namespace));
}

async function namespaceExists(connection: Connection, namespace: string): Promise<boolean> {
  try {
    // This call goes through the cache that every other call goes through; describing reads past it.
    await connection.workflowService.countWorkflowExecutions({ namespace });
    return true;
  } catch (error) {
    if (hasCode(error, grpcNotFound)) return false;
    throw error;
  }
}

async function missingAttributes(connection: Connection, namespace: string) {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  return Object.entries(searchAttributes).filter(([name]) => !(name in customAttributes));
}

function hasCode(error: unknown, code: number): boolean {
  return isGrpcServiceError(error) && error.code === code;
}

async function untilIt(does: string, isSo: () => Promise<boolean>): Promise<void> {
  await untilItWorks('Temporal', visibleTimeoutMs, async () => {
    if (!(await isSo())) throw new Error(`It never ${does}.`);
  });
}
