// A route that does not say who may call it keeps the server from starting.
import type { FastifyInstance, RouteOptions } from 'fastify';
import type { RouteContract } from '#contract/route.ts';
import { routes } from '#contract/routes.ts';
import { type Permission, permissions } from '#core/role.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    permission?: Permission | 'public' | 'signature';
    contract?: RouteContract;
  }
}

/** Checked when the app is ready, so that no later route escapes. */
export function denyByDefault(app: FastifyInstance): void {
  const registered: RouteOptions[] = [];
  app.addHook('onRoute', (route) => void registered.push(route));
  app.addHook('onReady', async () => {
    const open = registered.filter((route) => !isPermission(route.config?.permission));
    if (open.length > 0) throw new Error(`Routes without a permission: ${open.map(spelling).join(', ')}.`);
    const served = new Set(registered.map((route) => route.config?.contract));
    const missing = Object.entries(routes).filter(([, contract]) => !served.has(contract));
    if (missing.length > 0)
      throw new Error(`Routes of the contract without code: ${missing.map(([name]) => name).join(', ')}.`);
  });
}

function isPermission(value: unknown): boolean {
  return value === 'public' || value === 'signature' || permissions.some((known) => known === value);
}

function spelling(route: RouteOptions): string {
  return `${String(route.method)} ${route.url}`;
}
