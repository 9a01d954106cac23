// Quotas: what a project or a user may use at once, who is admitted next, and the words for what waits.

export const quotaKinds = ['project', 'user'] as const;
export type QuotaKind = (typeof quotaKinds)[number];

/** The name of the quota that holds for every project or user without one of its own. */
export const everyone = '*';

/** `runs` that are under way, `stages` that run or wait for a slot, `devices` that those stages ask for. */
export const quotaLimits = ['runs', 'stages', 'devices'] as const;
export type QuotaLimit = (typeof quotaLimits)[number];

/** Null sets no limit. */
export type Limits = Record<QuotaLimit, number | null>;
export type Amounts = Partial<Record<QuotaLimit, number>>;

export interface Subject {
  kind: QuotaKind;
  name: string;
}

export type Quota = Subject & Limits;

/** One that wants to be admitted, and whom it is charged to. */
export interface Applicant {
  project: string;
  owner: string;
  /** 1 is served first. */
  priority: number;
  /** Since when it waits; comparable within one list. */
  since: number;
  wants: Amounts;
}

export interface Usage {
  project: string;
  owner: string;
  amounts: Amounts;
}

/** Why an applicant waits. */
export interface Shortage {
  subject: Subject;
  limit: QuotaLimit;
  used: number;
  allowed: number;
  wanted: number;
}

export interface Ledger {
  /** Null when it may be admitted. */
  shortageOf(applicant: Applicant): Shortage | null;
  charge(usage: Usage): void;
  /** What the user has under way, for taking turns. */
  heldBy(owner: string): number;
}

const none: Limits = { runs: null, stages: null, devices: null };

/** A row of its own takes the place of the default as a whole. */
export function limitsOf(quotas: readonly Quota[], { kind, name }: Subject): Limits {
  const find = (wanted: string) => quotas.find((quota) => quota.kind === kind && quota.name === wanted);
  return find(name) ?? find(everyone) ?? none;
}

export function createLedger(quotas: readonly Quota[], usages: readonly Usage[]): Ledger {
  const accounts = new Map<string, { limits: Limits; used: Record<QuotaLimit, number> }>();
  const held = new Map<string, number>();

  const accountOf = (subject: Subject) => {
    const key = `${subject.kind} ${subject.name}`;
    const account = accounts.get(key) ?? {
      limits: limitsOf(quotas, subject),
      used: { runs: 0, stages: 0, devices: 0 },
    };
    accounts.set(key, account);
    return account;
  };
  const ledger: Ledger = {
    shortageOf(applicant) {
      for (const subject of subjectsOf(applicant)) {
        const { limits, used } = accountOf(subject);
        for (const limit of quotaLimits) {
          const allowed = limits[limit];
          const wanted = applicant.wants[limit] ?? 0;
          if (allowed !== null && wanted > 0 && used[limit] + wanted > allowed)
            return { subject, limit, used: used[limit], allowed, wanted };
        }
      }
      return null;
    },
    charge(usage) {
      for (const subject of subjectsOf(usage)) {
        const { used } = accountOf(subject);
        for (const limit of quotaLimits) used[limit] += usage.amounts[limit] ?? 0;
      }
      const { runs = 0, stages = 0 } = usage.amounts;
      held.set(usage.owner, (held.get(usage.owner) ?? 0) + runs + stages);
    },
    heldBy: (owner) => held.get(owner) ?? 0,
  };
  for (const usage of usages) ledger.charge(usage);
  return ledger;
}

function subjectsOf({ project, owner }: Pick<Usage, 'project' | 'owner'>): Subject[] {
  return [
    { kind: 'project', name: project },
    { kind: 'user', name: owner },
  ];
}

/**
 * Admits by priority; among equals the user with the least under way comes first, then the one that waits longest. One
 * that has to wait for devices lets nobody of its project or user pass who wants some too, so that small ones do not
 * keep a large one waiting for ever; one that asks for more than is allowed at all holds nobody up.
 */
export function admit<A extends Applicant>(applicants: readonly A[], ledger: Ledger, max: number): A[] {
  const groups = [...Map.groupBy(applicants, ({ project, owner }) => `${project} ${owner}`).values()].map((group) =>
    group.toSorted((a, b) => a.priority - b.priority || a.since - b.since),
  );
  const admitted: A[] = [];
  const reserved = new Set<string>();
  const isReserved = (applicant: A) =>
    (applicant.wants.devices ?? 0) > 0 &&
    subjectsOf(applicant).some(({ kind, name }) => reserved.has(`${kind} ${name}`));
  while (admitted.length < max) {
    const group = groups
      .filter(({ length }) => length > 0)
      .reduce<A[] | null>(
        (best, other) => (best === null || comesBefore(other[0] as A, best[0] as A, ledger) ? other : best),
        null,
      );
    const applicant = group?.shift();
    if (group === null || applicant === undefined) break;
    const shortage = ledger.shortageOf(applicant);
    if (shortage === null && !isReserved(applicant)) {
      ledger.charge({ ...applicant, amounts: applicant.wants });
      admitted.push(applicant);
    } else if (shortage?.limit === 'devices' && shortage.wanted <= shortage.allowed) {
      reserved.add(`${shortage.subject.kind} ${shortage.subject.name}`);
    } else if (shortage !== null && shortage.limit !== 'devices') {
      // The others of the group want the same.
      group.length = 0;
    }
  }
  return admitted;
}

function comesBefore(a: Applicant, b: Applicant, ledger: Ledger): boolean {
  return (a.priority - b.priority || ledger.heldBy(a.owner) - ledger.heldBy(b.owner) || a.since - b.since) < 0;
}

/** For example `waits for quota: project digits has 4 of 4 runs`. */
export function shortageSentence({ subject, limit, used, allowed, wanted }: Shortage): string {
  const who = `${subject.kind} ${subject.name}`;
  if (wanted > allowed)
    return `waits for quota: it asks for ${wanted} ${wanted === 1 ? limit.slice(0, -1) : limit}, and ${who} may have ${allowed}`;
  return `waits for quota: ${who} has ${used} of ${allowed} ${limit}`;
}
