import { type ChildProcess, fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { packageRoot } from '../src/io/packageRoot.js';

/** One round of requests, and the memory that the service took after it. */
export interface ServeRound {
  requests: number;
  /** answers other than 200, and connections that failed */
  errors: number;
  requestsPerSecond: number;
  medianMilliseconds: number;
  p99Milliseconds: number;
  /** of the whole process */
  residentMegabytes: number;
  /** JavaScript objects, those included that are no longer used */
  heapMegabytes: number;
  /** contents of typed arrays and buffers */
  bufferMegabytes: number;
}

const CONCURRENT = 200;
/** Every so many requests are a picture to search with, one to show, and a text to embed; the others search by text. */
const KINDS = 8;

/**
 * Starts `cn-clip serve` on an index (a model and its pictures are given by it) and keeps 200 requests under way, in
 * rounds of `seconds`: memory that is lost grows from round to round. Round 0 has no requests, only the service as it starts.
 *
 * @param onRound told each round when it is over
 */
export async function measureServe(
  index: string,
  seconds: number,
  rounds: number,
  onRound: (round: ServeRound) => void,
): Promise<void> {
  const service = fork(join(packageRoot, 'bin', 'cn-clip.js'), ['serve', index, '--port', '0'], {
    execArgv: ['--import', new URL('reportMemory.js', import.meta.url).href],
    silent: true,
  });
  try {
    const url = await urlOf(service);
    const picture = readFileSync(join(packageRoot, 'tests', 'fixtures', 'images', 'coffee.jpg'));
    for (let round = 0; round <= rounds; round++) {
      const { times, errors, took } = await load(url, picture, round === 0 ? 0 : seconds);
      const { rss, heapUsed, external } = await memoryOf(service);
      const megabytes = (bytes: number) => Math.round(bytes / 1e6);
      times.sort((a, b) => a - b);
      onRound({
        requests: times.length,
        errors,
        requestsPerSecond: times.length / took,
        medianMilliseconds: times[Math.floor(times.length / 2)] ?? 0,
        p99Milliseconds: times[Math.floor(times.length * 0.99)] ?? 0,
        residentMegabytes: megabytes(rss),
        heapMegabytes: megabytes(heapUsed),
        bufferMegabytes: megabytes(external),
      });
    }
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

/** Asks reportMemory.ts. */
function memoryOf(service: ChildProcess): Promise<NodeJS.MemoryUsage> {
  return new Promise((resolve) => {
    service.once('message', (usage) => resolve(usage as NodeJS.MemoryUsage));
    service.send('memory');
  });
}

async function load(
  url: URL,
  picture: Buffer,
  seconds: number,
): Promise<{ times: number[]; errors: number; took: number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENT });
  const start = performance.now();
  const end = start + 1000 * seconds;
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
  return { times, errors, took: (performance.now() - start) / 1000 };
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
