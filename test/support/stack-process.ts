// A process of its own that holds the servers of an embedded stack, so that tests can kill it. Prints JSON lines.
import { readConfig } from '#config/config.ts';
import { startServices } from '#embedded/services.ts';

const print = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);

try {
  const services = await startServices(readConfig(), (said) => print({ said }));
  print({ ready: { ...services.database, ...services.temporal } });
  process.on('message', () => print({ pids: Object.fromEntries(services.pids()) }));
  process.once('SIGINT', () => void services.stop().then(() => process.exit(0)));
  services.failure.catch((error: unknown) => {
    print({ failed: String(error) });
    process.exit(1);
  });
} catch (error) {
  print({ refused: error instanceof Error ? error.message : String(error) });
  process.exit(1);
}
