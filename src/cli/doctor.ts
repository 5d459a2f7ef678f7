import { Command } from 'commander';
import { doctorSchema } from '../config/doctor.js';
import { addSettings, resolveSettings } from '../config/options.js';
import { type Diagnosis, diagnose, type Finding } from '../engine/diagnosis.js';

export function doctorCommand(): Command {
  const command = new Command('doctor');
  return addSettings(command, doctorSchema).action(async (flags: Record<string, unknown>) => {
    const { json } = resolveSettings(doctorSchema, undefined, flags);
    const diagnosis = await diagnose();
    process.stdout.write(json ? `${JSON.stringify(diagnosis, null, 2)}\n` : `${asTables(diagnosis)}\n`);
  });
}

function asTables({ versions, machine, engines, libraries }: Diagnosis): string {
  const { platform, threads, memoryGiB, freeMemoryGiB } = machine;
  return [
    ...Object.entries(versions).map(([name, version]) => `${name.padEnd(28)}${version}`),
    `${'machine'.padEnd(28)}${platform}, ${threads} threads, ${memoryGiB} GiB of memory, ${freeMemoryGiB} free`,
    '',
    'engines and providers',
    ...engines.flatMap(lines),
    '',
    'libraries',
    ...libraries.flatMap(lines),
  ].join('\n');
}

function lines({ name, isThere, detail, remedy }: Finding): string[] {
  const line = `  ${isThere ? 'yes' : 'no '}  ${name.padEnd(36)} ${detail}`;
  return remedy === undefined ? [line] : [line, `       ${''.padEnd(36)} add: ${remedy}`];
}
