import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { packageRoot } from '../src/io/packageRoot.js';

export interface ServeMeasurement {
  requests: number;
  /** answers other than 200, and connections that failed */
  errors: number;
  seconds: number;
  requestsPerSecond: number;
  medianMilliseconds: number;
  p99Milliseconds: number;
  /** resident memory of the service after the warm-up, in the middle, and at the end */
  residentMegabytes: number[];
}

const CONCURRENT = 200;
/** Every so many requests are a picture to search with, one to show, and a text to embed; the others search by text. */
const KINDS = 8;

/**
 * Starts `cn-clip serve` on an index (a model and its pictures are given by it) and keeps 200 requests under way for
 * `seconds`, after a third of that as warm-up.
 */
export async function measureServe(index: string, seconds: number): Promise<ServeMeasurement> {
  const service = spawn(process.execPath, [
    join(packageRoot, 'bin', 'cn-clip.js'),
    'serve',
    index,
    '--port',
    '0',
  ]);
  try {
    const url = await urlOf(service);
    const picture = readFileSync(join(packageRoot, 'tests', 'fixtures', 'images', 'coffee.jpg'));
    await load(url, picture, seconds / 3);
    const residentMegabytes = [residentOf(service)];
    const first = await load(url, picture, seconds / 2);
    residentMegabytes.push(residentOf(service));
    const second = await load(url, picture, seconds / 2);
    residentMegabytes.push(residentOf(service));
    const times = [...first.times, ...second.times].sort((a, b) => a - b);
    return {
      requests: times.length,
      errors: first.errors + second.errors,
      seconds,
      requestsPerSecond: times.length / seconds,
      medianMilliseconds: times[Math.floor(times.length / 2)],
      p99Milliseconds: times[Math.floor(times.length * 0.99)],
      residentMegabytes,
    };
  } finally {
    service.kill('SIGTERM');
  }
}

function urlOf(service: ChildProcess): Promise<URL> {
  return new Promise((resolve, reject) => {
    let text = '';
    service.stdout!.on('data', (chunk) => {
      text += chunk;
      const found = /(http:\S+) serves/.exec(text);
      if (found) resolve(new URL(found[1]));
    });
    service.stderr!.on('data', (chunk) => process.stderr.write(chunk));
    service.on('exit', (code) => reject(new Error(`the service ended with ${code}`)));
  });
}

async function load(
  url: URL,
  picture: Buffer,
  seconds: number,
): Promise<{ times: number[]; errors: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  const end = performance.now() + 1000 * seconds;
  const times: number[] = [];
  let errors = 0;
  let sent = 0;
  const client = async () => {
    while (performance.now() < end) {
      const began = performance.now();
      const status = await send(url, agent, picture, sent++).catch(() => 0);
      times.push(performance.now() - began);
      if (status !== 200) errors++;
    }
  };
  await Promise.all(Array.from({ length: CONCURRENT }, client));
  agent.destroy();
  return { times, errors };
}

function send({ hostname, port }: URL, agent: Agent, picture: Buffer, number: number): Promise<number> {
  const text = JSON.stringify({ texts: [`第${number}只猫`] });
  const search = {
    method: 'GET',
    path: `/search?q=${encodeURIComponent(`第${number}只猫`)}`,
    type: '',
    body: undefined,
  };
  const kinds: Record<
    number,
    { method: string; path: string; type: string; body: Buffer | string | undefined }
  > = {
    0: { method: 'POST', path: '/search', type: 'image/jpeg', body: picture },
    1: { method: 'GET', path: `/images/${number % 8}`, type: '', body: undefined },
    2: { method: 'POST', path: '/embed/texts', type: 'application/json', body: text },
  };
  const { method, path, type, body } = kinds[number % KINDS] ?? search;
  return new Promise((resolve, reject) => {
    const headers = type === '' ? {} : { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body!) };
    const sending = request({ hostname, port, method, path, headers, agent }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode!));
      response.on('error', reject);
    });
    sending.on('error', reject);
    sending.end(body);
  });
}

/** Of another process, from Linux' /proc. */
function residentOf({ pid }: ChildProcess): number {
  const kilobytes = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))!;
  return Math.round(Number(kilobytes[1]) / 1024);
}
