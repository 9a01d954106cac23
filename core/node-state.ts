/** `active` takes stages. A person made it `draining`; Assay put it `aside` because launch after launch failed on it. */
export const nodeStates = ['active', 'draining', 'aside'] as const;
export type NodeState = (typeof nodeStates)[number];

/** A node is put aside when as many launches in a row failed by its infrastructure. */
export const failedLaunchesMax = 3;
