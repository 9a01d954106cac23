import { Connection } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureNamespace, searchAttributes } from '#worker/temporal/namespace.ts';
import { testTemporal } from '#test/support/temporal.ts';

let connection: Connection;
let namespace: string;

beforeAll(async () => {
  const server = await testTemporal();
  namespace = server.namespace;
  connection = await Connection.connect({ address: server.address });
});

afterAll(() => connection.close());

test('the namespace keeps histories for 30 days', async () => {
  const { config } = await connection.workflowService.describeNamespace({ namespace });
  expect(Number(config?.workflowExecutionRetentionTtl?.seconds)).toBe(30 * 86_400);
});

test('every search attribute is registered', async () => {
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
  expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining(Object.keys(searchAttributes)));
});

test('preparing the namespace again, also twice at once, changes nothing', async () => {
  const before = await connection.operatorService.listSearchAttributes({ namespace });
  await Promise.all([ensureNamespace(connection, namespace), ensureNamespace(connection, namespace)]);
  expect(await connection.operatorService.listSearchAttributes({ namespace })).toEqual(before);
});

test('another namespace is prepared while the server runs', async () => {
  await Promise.all([ensureNamespace(connection, 'another'), ensureNamespace(connection, 'another')]);
  const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace: 'another' });
  expect(customAttributes).toHaveProperty('AssayProject');
});
