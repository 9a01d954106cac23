// The HTTP API without a port: everything it needs is passed in. Which route exists is said in contract/, who may call it
// too; here is only how it is answered.
import helmet from '@fastify/helmet';
import Fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify';
import { serializerCompiler, validatorCompiler } from 'fastify-type-provider-zod';
import { newId } from '#db/ids.ts';
import { createAccess } from './access.ts';
import { createCliPackage } from './cli-package/cli-package.ts';
import type { ApiDeps } from './deps.ts';
import { authenticate } from './plugins/authenticate.ts';
import { checkHost } from './plugins/check-host.ts';
import { closeGracefully } from './plugins/close-gracefully.ts';
import { denyByDefault } from './plugins/deny-by-default.ts';
import { collectOpenApi, serveReference } from './plugins/reference.ts';
import { checkRequestBodies } from './plugins/request-bodies.ts';
import { registerProblems } from './problems.ts';
import { artifactRoutes } from './routes/artifacts.ts';
import { cliPackageRoutes } from './routes/cli-package.ts';
import { codeRoutes } from './routes/code.ts';
import { datasetRoutes } from './routes/datasets.ts';
import { deliveryRoutes } from './routes/deliveries.ts';
import { diffRoutes } from './routes/diff.ts';
import { explainRoutes } from './routes/explain.ts';
import { healthRoutes } from './routes/health.ts';
import { hookRoutes } from './routes/hooks.ts';
import { lakeRoutes } from './routes/lake.ts';
import { logRoutes } from './routes/logs.ts';
import { metricRoutes } from './routes/metrics.ts';
import { modelRoutes } from './routes/models.ts';
import { nodeRoutes } from './routes/nodes.ts';
import { poolRoutes } from './routes/pools.ts';
import { projectRoutes } from './routes/projects.ts';
import { proofRoutes } from './routes/proof.ts';
import { quotaRoutes } from './routes/quotas.ts';
import { reproduceRoutes } from './routes/reproduce.ts';
import { resumeRoutes } from './routes/resume.ts';
import { runControlRoutes } from './routes/run-control.ts';
import { runDataRoutes } from './routes/run-data.ts';
import { runEventRoutes } from './routes/run-events.ts';
import { runRoutes } from './routes/runs.ts';
import { scheduleRoutes } from './routes/schedules.ts';
import { secretRoutes } from './routes/secrets.ts';
import { tokenRoutes } from './routes/tokens.ts';
import { createRunChanges } from './run-changes.ts';

const bodyBytesMax = 1024 * 1024;
/** Paths of artifacts are parameters of URLs. */
const urlPartMax = 8192;

/** Ready to `listen` or `inject`. Closing it ends event streams first. */
export async function buildApp(deps: ApiDeps): Promise<FastifyInstance> {
  const app: FastifyInstance = Fastify({
    ...(deps.log === undefined ? { logger: false } : { loggerInstance: deps.log }),
    // Errors are logged where they are handled; a line per request says nothing more.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: newId,
    requestIdHeader: false,
    trustProxy: false,
    // While it stops, the server answers what still reaches it; it is gone once nothing does.
    return503OnClosing: false,
    bodyLimit: bodyBytesMax,
    // A slow body is cut off by Node after five minutes without it being whole; uploads may take longer.
    requestTimeout: 0,
    routerOptions: { maxParamLength: urlPartMax },
  });
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  registerProblems(app);
  denyByDefault(app);
  await app.register(helmet, {
    contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
    strictTransportSecurity: deps.facts.publicUrl.startsWith('https:'),
  });
  // Before what may refuse, so that a refusal names the version too.
  await cliPackageRoutes(app, createCliPackage(deps.facts.cacheDir));
  closeGracefully(app);
  checkHost(app, deps.facts);
  await authenticate(app, deps);
  checkRequestBodies(app);
  await collectOpenApi(app);
  serveReference(app);
  registerRoutes(app, deps);
  await app.ready();
  return app;
}

function registerRoutes(app: FastifyInstance, deps: ApiDeps): void {
  const log: FastifyBaseLogger = app.log;
  const access = createAccess(deps.connection);
  const stopping = new AbortController();
  const streams = { changes: createRunChanges(deps.connection.pool, log), stopping: stopping.signal };
  app.addHook('preClose', async () => {
    stopping.abort();
    await streams.changes.close();
  });
  healthRoutes(app, deps);
  tokenRoutes(app, deps, access);
  projectRoutes(app, deps, access);
  codeRoutes(app, deps, access);
  runRoutes(app, deps, access);
  runControlRoutes(app, deps, access);
  resumeRoutes(app, deps, access);
  diffRoutes(app, deps, access);
  explainRoutes(app, deps, access);
  reproduceRoutes(app, deps, access);
  runEventRoutes(app, deps, access, streams);
  logRoutes(app, deps, access, streams);
  metricRoutes(app, deps, access);
  artifactRoutes(app, deps, access);
  runDataRoutes(app, deps, access);
  proofRoutes(app, deps, access);
  scheduleRoutes(app, deps, access);
  modelRoutes(app, deps, access);
  lakeRoutes(app, deps);
  datasetRoutes(app, deps);
  secretRoutes(app, deps, access);
  hookRoutes(app, deps, access);
  deliveryRoutes(app, deps, access);
  nodeRoutes(app, deps);
  poolRoutes(app, deps);
  quotaRoutes(app, deps);
}
