import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { admit, type Applicant, createLedger, limitsOf, type Quota, shortageSentence } from '#core/quota.ts';

const quota = (kind: Quota['kind'], name: string, limits: Partial<Quota>): Quota => ({
  runs: null,
  stages: null,
  devices: null,
  ...limits,
  kind,
  name,
});

const applicant = (owner: string, since: number, more: Partial<Applicant> = {}): Applicant => ({
  project: 'digits',
  owner,
  since,
  priority: 3,
  wants: { runs: 1 },
  ...more,
});

describe('a quota', () => {
  it('of its own takes the place of the default as a whole', () => {
    const quotas = [quota('user', '*', { runs: 2, devices: 1 }), quota('user', 'ada', { runs: 9 })];
    expect(limitsOf(quotas, { kind: 'user', name: 'ada' })).toMatchObject({ runs: 9, devices: null });
    expect(limitsOf(quotas, { kind: 'user', name: 'grace' })).toMatchObject({ runs: 2, devices: 1 });
    expect(limitsOf(quotas, { kind: 'project', name: 'ada' })).toEqual({ runs: null, stages: null, devices: null });
  });

  it('of a default is not shared', () => {
    const ledger = createLedger([quota('user', '*', { runs: 1 })], []);
    const admitted = admit([applicant('ada', 1), applicant('ada', 2), applicant('grace', 3)], ledger, 9);
    expect(admitted.map(({ owner }) => owner)).toEqual(['ada', 'grace']);
  });

  it('says who has how much of it', () => {
    const ledger = createLedger(
      [quota('project', 'digits', { runs: 4 })],
      [{ project: 'digits', owner: 'ada', amounts: { runs: 4 } }],
    );
    const shortage = ledger.shortageOf(applicant('grace', 1));
    expect(shortage && shortageSentence(shortage)).toBe('waits for quota: project digits has 4 of 4 runs');
  });

  it('says that it is too small for what is asked', () => {
    const shortage = createLedger([quota('user', 'ada', { devices: 4 })], []).shortageOf(
      applicant('ada', 1, { wants: { stages: 1, devices: 8 } }),
    );
    expect(shortage && shortageSentence(shortage)).toBe(
      'waits for quota: it asks for 8 devices, and user ada may have 4',
    );
  });
});

describe('admission', () => {
  it('goes by priority, then to the user with the least under way, then to the longest wait', () => {
    const ledger = createLedger([quota('project', 'digits', { runs: 5 })], []);
    const applicants = [
      ...[1, 2, 3, 4].map((since) => applicant('ada', since)),
      applicant('grace', 5),
      applicant('linus', 6, { priority: 1 }),
    ];
    const admitted = admit(applicants, ledger, 9);
    expect(admitted.map(({ owner, since }) => `${owner} ${since}`)).toEqual([
      'linus 6',
      'ada 1',
      'grace 5',
      'ada 2',
      'ada 3',
    ]);
  });

  it('keeps devices for one that waits for many, and lets those pass that want none', () => {
    const ledger = createLedger(
      [quota('project', 'digits', { devices: 8 })],
      [{ project: 'digits', owner: 'ada', amounts: { stages: 1, devices: 1 } }],
    );
    const many = applicant('ada', 1, { wants: { stages: 1, devices: 8 } });
    const few = applicant('ada', 2, { wants: { stages: 1, devices: 1 } });
    const without = applicant('ada', 3, { wants: { stages: 1 } });
    expect(admit([few, many, without], ledger, 9)).toEqual([without]);
  });

  it('is not held up by one that asks for more than it may ever have', () => {
    const ledger = createLedger([quota('project', 'digits', { devices: 4 })], []);
    const never = applicant('ada', 1, { wants: { stages: 1, devices: 8 } });
    const few = applicant('ada', 2, { wants: { stages: 1, devices: 1 } });
    expect(admit([never, few], ledger, 9)).toEqual([few]);
  });

  it('never exceeds a limit and leaves no room unused, whatever applies', () => {
    const owners = fc.constantFrom('ada', 'grace', 'linus');
    const projects = fc.constantFrom('digits', 'pets');
    const applicants = fc.array(
      fc.record({ project: projects, owner: owners, priority: fc.integer({ min: 1, max: 5 }), since: fc.nat() }),
      { maxLength: 40 },
    );
    const limit = fc.option(fc.integer({ min: 0, max: 9 }));
    fc.assert(
      fc.property(applicants, limit, limit, (given, perProject, perUser) => {
        const quotas = [quota('project', '*', { runs: perProject }), quota('user', '*', { runs: perUser })];
        const all = given.map((one) => ({ ...one, wants: { runs: 1 } }));
        const ledger = createLedger(quotas, []);
        const admitted = admit(all, ledger, all.length);
        for (const [kind, allowed] of [
          ['project', perProject],
          ['owner', perUser],
        ] as const) {
          const counts = Map.groupBy(admitted, (one) => one[kind]);
          for (const { length } of counts.values()) expect(length).toBeLessThanOrEqual(allowed ?? all.length);
        }
        const left = all.filter((one) => !admitted.includes(one));
        expect(left.every((one) => ledger.shortageOf(one) !== null)).toBe(true);
      }),
    );
  });
});
