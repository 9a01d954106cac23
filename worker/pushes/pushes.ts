// Everything that pushes start: deliveries become runs, remotes are polled, git hosts are told.
import { type PollDeps, startPollingRemotes } from './poll-remotes.ts';
import { type ReportDeps, startReportingStatuses } from './report-statuses.ts';
import { type SettleDeps, startSettlingDeliveries } from './settle-deliveries.ts';

export function startPushes(deps: SettleDeps & PollDeps & ReportDeps): { stop(): Promise<void> } {
  const passes = [startSettlingDeliveries(deps), startPollingRemotes(deps), startReportingStatuses(deps)];
  return {
    async stop() {
      await Promise.all(passes.map((pass) => pass.stop()));
    },
  };
}
