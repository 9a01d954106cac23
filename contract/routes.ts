// Every route of the HTTP API below /api/v1. The server refuses to start when one of these is not served.
import { artifactRoutes } from './artifacts.ts';
import { codeRoutes } from './code.ts';
import { datasetRoutes } from './datasets.ts';
import { deliveryRoutes } from './deliveries.ts';
import { diffRoutes } from './diff.ts';
import { explainRoutes } from './explain.ts';
import { hookRoutes } from './hooks.ts';
import { lakeRoutes } from './lake.ts';
import { logRoutes } from './logs.ts';
import { metricRoutes } from './metrics.ts';
import { modelRoutes } from './models.ts';
import { nodeRoutes } from './nodes.ts';
import { poolRoutes } from './pools.ts';
import { projectRoutes } from './projects.ts';
import { proofRoutes } from './proof.ts';
import { quotaRoutes } from './quotas.ts';
import { reproduceRoutes } from './reproduce.ts';
import { resumeRoutes } from './resume.ts';
import { runRoutes } from './runs.ts';
import { scheduleRoutes } from './schedules.ts';
import { secretRoutes } from './secrets.ts';
import { tokenRoutes } from './tokens.ts';
import { verdictRoutes } from './verdicts.ts';

export const apiPrefix = '/api/v1';

export const routes = {
  ...tokenRoutes,
  ...projectRoutes,
  ...codeRoutes,
  ...runRoutes,
  ...resumeRoutes,
  ...diffRoutes,
  ...explainRoutes,
  ...reproduceRoutes,
  ...verdictRoutes,
  ...scheduleRoutes,
  ...logRoutes,
  ...metricRoutes,
  ...artifactRoutes,
  ...proofRoutes,
  ...modelRoutes,
  ...lakeRoutes,
  ...datasetRoutes,
  ...secretRoutes,
  ...hookRoutes,
  ...deliveryRoutes,
  ...nodeRoutes,
  ...poolRoutes,
  ...quotaRoutes,
};
