// Roles and what they may do. Deny by default: a permission that is not listed for a role is refused.

export const roles = ['ml', 'platform', 'observer', 'business', 'stage'] as const;
/** `stage` is the role of the token a running stage gets; it is never given to a person. */
export type Role = (typeof roles)[number];

export const permissions = [
  'read', // projects, runs, models, lake and what hangs on them
  'run', // submit, cancel, resume, resolve runs; send code
  'data', // append to the lake, add datasets
  'promote', // move an alias, create a version by hand
  'schedules', // create, change, pause, trigger and delete what recurs
  'secrets', // set and delete secrets of a project
  'projects', // create and change projects
  'tokens', // issue and revoke tokens
  'operate', // look at nodes, quotas, system facts
  'capacity', // drain nodes, set quotas
  'log', // what training code reports about its own run
] as const;
export type Permission = (typeof permissions)[number];

const granted = {
  ml: ['read', 'run', 'data', 'promote', 'schedules', 'secrets', 'projects'],
  platform: [...permissions],
  observer: ['read', 'operate'],
  business: ['read'],
  stage: ['read', 'log'],
} as const satisfies Record<Role, readonly Permission[]>;

export function roleMay(role: Role, permission: Permission): boolean {
  return (granted[role] as readonly Permission[]).includes(permission);
}
