import { spawnSync } from 'node:child_process';

/** Whether programs can be bound to cores here. */
export const hasTaskset = spawnSync('taskset', ['--version']).status === 0;

/** A command that runs another one on these cores (`0-1`, say) alone; the command itself where there is no taskset. */
export function boundToCores(cores: string, command: readonly string[]): string[] {
  return hasTaskset ? ['taskset', '-c', cores, ...command] : [...command];
}
