import { createHash, type Hash } from 'node:crypto';
import { constants, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import { syncDirectory } from '../io/atomic.js';
import { exchange, type HubRequest, type Patience, TransientError, withRetries } from './request.js';

/** A file at a hub, with what its bytes are checked against. */
export interface RemoteFile {
  /** name in the repository, with slashes */
  name: string;
  request: HubRequest;
  size: number;
  /** SHA-256 of the bytes, or the SHA-1 that git gives a small file; also the name of its blob */
  checksum: string;
}

export interface TransferOptions extends Patience {
  /** told before each retry */
  warn: (message: string) => void;
  /** told how many bytes are there */
  onProgress?: (done: number) => void;
}

/**
 * Fetches a file to the path `blob`, where it appears whole and checked, or not at all. Until then its bytes are in
 * `BLOB.PID.incomplete`, which a later call goes on with, also when this process was killed.
 *
 * @throws UserError naming the file, if it can't be had or its bytes are wrong
 */
export async function fetchBlob(file: RemoteFile, blob: string, options: TransferOptions): Promise<void> {
  mkdirSync(dirname(blob), { recursive: true });
  const partial = claimPartial(file.name, blob);
  const handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
  try {
    await receiveAll(file, handle, options).catch((error: unknown) => {
      if (error instanceof WrongBytes) rmSync(partial, { force: true });
      throw error;
    });
    await handle.sync();
  } finally {
    await handle.close();
  }
  renameSync(partial, blob);
  syncDirectory(dirname(blob));
}

/** Bytes of a blob that earlier calls left, and that `fetchBlob` will not fetch again. */
export function partialSize(blob: string): number {
  return Math.max(0, ...partials(blob).map(({ size }) => size));
}

class WrongBytes extends UserError {}

async function receiveAll(file: RemoteFile, handle: FileHandle, options: TransferOptions): Promise<void> {
  const received = new ReceivedBytes(file, handle);
  await received.resume();
  await withRetries({ ...options, progress: () => received.size }, async () => {
    // An empty file, or one whose process ended between the last byte and the check.
    if (received.size < file.size) await receive(file, received, options);
  });
  received.check();
}

/** One request for what is missing yet. */
async function receive(
  file: RemoteFile,
  received: ReceivedBytes,
  { stallTimeout, onProgress }: TransferOptions,
): Promise<void> {
  const { name, size, request } = file;
  const headers = received.size > 0 ? { range: `bytes=${received.size}-` } : undefined;
  await exchange({ ...request, headers }, stallTimeout, async (response, alive) => {
    if (response.status === 206) {
      const range = response.headers.get('content-range') ?? '';
      if (!range.startsWith(`bytes ${received.size}-`)) {
        received.restart();
        throw new TransientError(`${name}: the server sent another part than was asked for ('${range}')`);
      }
    } else if (response.status === 416) {
      received.restart();
      throw new TransientError(`${name}: the server can't go on where the last connection ended`);
    } else if (response.status === 200) {
      // It may be that the server knows no ranges.
      received.restart();
    } else {
      throw new UserError(`${name}: the server answered ${response.status} instead of a file`);
    }
    for await (const chunk of response.body ?? []) {
      alive();
      await received.append(chunk);
      onProgress?.(received.size);
    }
    if (received.size < size) {
      throw new TransientError(`${name}: the connection ended after ${received.size} of ${size} bytes`);
    }
  });
}

/** The beginning of a file on disk, with its checksum so far. */
class ReceivedBytes {
  size = 0;
  private hash: Hash;

  constructor(
    private readonly file: RemoteFile,
    private readonly handle: FileHandle,
  ) {
    this.hash = newHash(file);
  }

  /** Takes what the partial file holds. */
  async resume(): Promise<void> {
    const { size } = await this.handle.stat();
    if (size > this.file.size) await this.handle.truncate(0);
    else if (size > 0) {
      for await (const chunk of this.handle.createReadStream({ start: 0, end: size - 1, autoClose: false })) {
        this.hash.update(chunk);
        this.size += chunk.length;
      }
    }
  }

  restart(): void {
    this.size = 0;
    this.hash = newHash(this.file);
  }

  async append(chunk: Uint8Array): Promise<void> {
    if (this.size + chunk.length > this.file.size) {
      throw new WrongBytes(
        `${this.file.name}: the server sends more than the ${this.file.size} bytes that it announced; they were removed`,
      );
    }
    for (let done = 0; done < chunk.length; ) {
      const { bytesWritten } = await this.handle.write(chunk, done, chunk.length - done, this.size + done);
      done += bytesWritten;
    }
    this.hash.update(chunk);
    this.size += chunk.length;
  }

  check(): void {
    const { name, checksum } = this.file;
    const found = this.hash.digest('hex');
    if (found === checksum) return;
    throw new WrongBytes(
      `${name}: the bytes have the checksum ${found}, expected ${checksum}; they were removed. Run the command again. ` +
        'If it happens again, the server or a proxy on the way changes the file: try another network, or HF_ENDPOINT',
    );
  }
}

function newHash({ checksum, size }: RemoteFile): Hash {
  if (checksum.length === 64) return createHash('sha256');
  return createHash('sha1').update(`blob ${size}\0`);
}

/**
 * The partial file to write to: that of a process which has ended, taken over by renaming it, which only one process can
 * do; else a new one.
 *
 * @throws UserError if a running process is fetching the same file
 */
function claimPartial(name: string, blob: string): string {
  const own = `${blob}.${process.pid}.incomplete`;
  const found = partials(blob).sort((a, b) => b.size - a.size);
  for (const { path, owner } of found) {
    if (path === own) return own;
    if (owner !== undefined && isRunning(owner)) {
      throw new UserError(
        `${name}: process ${owner} is fetching it already: wait for it, or remove ${path} if it does something else`,
      );
    }
  }
  for (const { path } of found) {
    try {
      renameSync(path, own);
      return own;
    } catch {
      // Another process was faster.
    }
  }
  return own;
}

/** Seconds after which a partial file of Python, which says nothing of its process, is taken to be left behind. */
const LEFT_BEHIND_SECONDS = 60;

function partials(blob: string): { path: string; size: number; owner: number | undefined }[] {
  const folder = dirname(blob);
  const pattern = new RegExp(`^${basename(blob)}(?:\\.(\\d+))?\\.incomplete$`);
  try {
    return readdirSync(folder).flatMap((entry) => {
      const match = pattern.exec(entry);
      if (match === null) return [];
      const path = join(folder, entry);
      const { size, mtimeMs } = statSync(path);
      if (match[1] === undefined && Date.now() - mtimeMs < LEFT_BEHIND_SECONDS * 1000) return [];
      return [{ path, size, owner: match[1] === undefined ? undefined : Number(match[1]) }];
    });
  } catch {
    // The folder is not there yet, or a file went while they were looked at.
    return [];
  }
}

function isRunning(process_: number): boolean {
  try {
    process.kill(process_, 0);
    return true;
  } catch (error) {
    // A process of someone else can't be signalled, but it is there.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
