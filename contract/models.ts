// The model store: versions, promotion, champion.
import { z } from 'zod';
import { gateResults } from '#core/run.ts';
import { artifact } from './artifacts.ts';
import { downloadQuery } from './download.ts';
import { instant, ordinal, page, pageQuery, projectRef, uuid, whole } from './primitives.ts';
import { defineRoute } from './route.ts';

export const model = z
  .object({
    name: z.string(),
    project: z.string(),
    latestVersion: z.number().int().nullable(),
    /** Where each alias points; `production` is the champion. */
    aliases: z.record(z.string(), z.number().int()),
    createdAt: instant,
  })
  .meta({ id: 'Model' });
export type Model = z.output<typeof model>;

export const version = z
  .object({
    model: z.string(),
    version: z.number().int(),
    run: uuid,
    runLabel: z.string(),
    commit: z.string().nullable(),
    gateResult: z.enum(gateResults).nullable(),
    gateReport: z.unknown().nullable(),
    aliases: z.array(z.string()),
    createdAt: instant,
  })
  .meta({ id: 'ModelVersion' });
export type ModelVersion = z.output<typeof version>;

export const promotion = z
  .object({
    id: z.number().int(),
    model: z.string(),
    alias: z.string(),
    version: z.number().int(),
    previousVersion: z.number().int().nullable(),
    run: uuid,
    by: z.string(),
    reason: z.string().nullable(),
    /** The gate's report at the moment of promotion. */
    evidence: z.unknown(),
    at: instant,
  })
  .meta({ id: 'Promotion' });
export type Promotion = z.output<typeof promotion>;

export const modelName = z.string().min(1).max(128);
export const alias = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, dashes, for example production');

export const promoteBody = z
  .strictObject({
    version: z.number().int().min(1).max(2_147_483_647),
    alias: alias.default('production'),
    /** Needed when the project has no gate. */
    reason: z.string().min(1).max(2000).optional(),
    /** The version you saw behind the alias (null: none). Another one there refuses the promotion. */
    expectedChampion: z.number().int().min(1).nullable().optional(),
  })
  .meta({ id: 'Promote' });
export type Promote = z.input<typeof promoteBody>;

const byModel = z.object({ model: modelName });
const byVersion = z.object({ model: modelName, version: ordinal });

export const modelRoutes = {
  listModels: defineRoute({
    method: 'GET',
    path: '/models',
    permission: 'read',
    tag: 'models',
    summary: 'List models by name',
    query: z.object({ project: projectRef.optional(), ...pageQuery }),
    status: 200,
    answer: page(model),
    problems: ['not-found'],
  }),
  getModel: defineRoute({
    method: 'GET',
    path: '/models/:model',
    permission: 'read',
    tag: 'models',
    summary: 'Get a model',
    params: byModel,
    status: 200,
    answer: model,
    problems: ['not-found'],
  }),
  listVersions: defineRoute({
    method: 'GET',
    path: '/models/:model/versions',
    permission: 'read',
    tag: 'models',
    summary: 'List the versions of a model, newest first',
    params: byModel,
    query: z.object(pageQuery),
    status: 200,
    answer: page(version),
    problems: ['not-found'],
  }),
  getVersion: defineRoute({
    method: 'GET',
    path: '/models/:model/versions/:version',
    permission: 'read',
    tag: 'models',
    summary: 'Get a version',
    params: byVersion,
    status: 200,
    answer: version,
    problems: ['not-found'],
  }),
  listVersionFiles: defineRoute({
    method: 'GET',
    path: '/models/:model/versions/:version/files',
    permission: 'read',
    tag: 'models',
    summary: 'List the files of a version; paths are relative to the model',
    params: byVersion,
    status: 200,
    answer: whole(artifact),
    problems: ['not-found'],
  }),
  getVersionFile: defineRoute({
    method: 'GET',
    path: '/models/:model/versions/:version/files/*',
    permission: 'read',
    tag: 'models',
    summary: 'Download a file of a version',
    params: byVersion.extend({ '*': z.string().min(1).max(4096) }),
    query: downloadQuery,
    status: 200,
    rawAnswer: 'application/octet-stream',
    problems: ['not-found'],
  }),
  promote: defineRoute({
    method: 'POST',
    path: '/models/:model/promote',
    permission: 'promote',
    tag: 'models',
    summary: 'Promote a version',
    description: 'One transaction: compares the expected champion, checks the gate, pins everything, moves the alias.',
    params: byModel,
    body: promoteBody,
    status: 201,
    answer: promotion,
    problems: ['not-found', 'gate-failed', 'not-promotable', 'champion-moved', 'conflict', 'idempotency-conflict'],
    idempotent: true,
  }),
  getChampion: defineRoute({
    method: 'GET',
    path: '/models/:model/champion',
    permission: 'read',
    tag: 'models',
    summary: 'Get the version behind an alias, `production` when absent',
    params: byModel,
    query: z.object({ alias: alias.default('production') }),
    status: 200,
    answer: version,
    problems: ['not-found'],
  }),
  listPromotions: defineRoute({
    method: 'GET',
    path: '/models/:model/promotions',
    permission: 'read',
    tag: 'models',
    summary: 'List promotions, newest first',
    params: byModel,
    query: z.object(pageQuery),
    status: 200,
    answer: page(promotion),
    problems: ['not-found'],
  }),
};
