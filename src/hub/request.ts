import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf, UserError } from '../errors.js';

/** How patient requests are. */
export interface Patience {
  /** failures in a row, without progress between them, after which one gives up */
  retries: number;
  /** milliseconds before the first retry; each further one waits twice as long */
  retryDelay: number;
  /** milliseconds without a byte after which a connection counts as dead */
  stallTimeout: number;
}

export const defaultPatience: Patience = { retries: 5, retryDelay: 1000, stallTimeout: 30_000 };

export interface HubRequest {
  url: string;
  method?: 'GET' | 'HEAD';
  headers?: Record<string, string>;
  /** sent as Bearer to the origin of `url`, not to where it redirects */
  token?: string;
  /** redirects that are the answer and not followed */
  stopAt?: (redirect: Headers, to: URL) => boolean;
}

/** A failure that may pass: trying again makes sense. */
export class TransientError extends Error {
  override name = 'TransientError';

  /** @param delay milliseconds that the server asks to wait */
  constructor(
    message: string,
    readonly delay?: number,
  ) {
    super(message);
  }
}

/** Repeats what fails with a TransientError, with growing pauses. */
export interface RetryOptions extends Patience {
  /** how far the work has come: getting further than ever before renews the patience */
  progress?: () => number;
  /** told before each pause */
  warn: (message: string) => void;
}

/** @throws UserError with the last failure, when patience is at its end */
export async function withRetries<T>(options: RetryOptions, attempt: () => Promise<T>): Promise<T> {
  const { retries, retryDelay, progress = () => 0, warn } = options;
  let furthest = progress();
  for (let failures = 0; ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      if (progress() > furthest) failures = 0;
      furthest = Math.max(furthest, progress());
      if (failures >= retries) {
        throw new UserError(`${error.message} (tried ${failures + 1} times): try again later`);
      }
      const delay = error.delay ?? retryDelay * 2 ** failures;
      warn(`${error.message}; trying again in ${Math.ceil(delay / 1000)} s`);
      await sleep(delay);
    }
  }
}

/**
 * Sends a request and hands the answer to `use`, which may read its body. Redirects are followed. When no byte comes for
 * a while, the connection is given up: `use` calls `alive` for each piece that it gets.
 *
 * @throws UserError if the server can't be found, refuses, or has no such file
 * @throws TransientError if the connection broke or stalled, or the server has a passing problem
 */
export async function exchange<T>(
  request: HubRequest,
  stallTimeout: number,
  use: (response: Response, alive: () => void) => Promise<T>,
): Promise<T> {
  const dead = new AbortController();
  const timer = setTimeout(() => dead.abort(), stallTimeout);
  let url = request.url;
  try {
    const { response, at } = await follow(request, dead.signal, (next) => {
      url = next;
      timer.refresh();
    });
    url = at;
    try {
      requireSuccess(response, request, url);
      return await use(response, () => timer.refresh());
    } finally {
      if (!response.bodyUsed) await response.body?.cancel();
    }
  } catch (error) {
    const { host } = new URL(url);
    if (dead.signal.aborted) throw new TransientError(`${host} sent nothing for ${stallTimeout / 1000} s`);
    throw explained(error, host);
  } finally {
    clearTimeout(timer);
  }
}

/** Reads a JSON answer of at most 8 MiB, with retries. @throws UserError as `exchange`, or if it is none */
export async function getJson(request: HubRequest, options: RetryOptions): Promise<unknown> {
  const text = await withRetries(options, () =>
    exchange(request, options.stallTimeout, async (response, alive) => {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of response.body ?? []) {
        alive();
        chunks.push(chunk);
        size += chunk.length;
        if (size > 1 << 23)
          throw new UserError(`${request.url}: the answer is longer than any list of files`);
      }
      return Buffer.concat(chunks).toString('utf8');
    }),
  );
  try {
    return JSON.parse(text);
  } catch {
    throw new UserError(`${request.url}: the answer is not JSON: is this the address of a model hub?`);
  }
}

const MAX_REDIRECTS = 5;

async function follow(
  { url, method, headers, token, stopAt }: HubRequest,
  signal: AbortSignal,
  onHop: (url: string) => void,
): Promise<{ response: Response; at: string }> {
  const { origin } = new URL(url);
  let at = url;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop++) {
    onHop(at);
    const authorization: Record<string, string> =
      token !== undefined && new URL(at).origin === origin ? { authorization: `Bearer ${token}` } : {};
    const response = await fetch(at, {
      method,
      // Compressed bytes would be neither the size nor the range that was asked for.
      headers: { 'accept-encoding': 'identity', 'user-agent': 'cn-clip', ...headers, ...authorization },
      redirect: 'manual',
      signal,
    });
    const location = response.headers.get('location');
    if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return { response, at };
    if (!URL.canParse(location, at))
      throw new UserError(`${at} redirects to '${location}', which is no address`);
    const next = new URL(location, at);
    if (stopAt?.(response.headers, next)) return { response, at };
    await response.body?.cancel();
    if (next.protocol !== 'https:' && next.protocol !== new URL(url).protocol) {
      throw new UserError(`${at} redirects to ${next.origin}, which is not encrypted: refused`);
    }
    at = next.href;
  }
  throw new UserError(`${url} redirects more than ${MAX_REDIRECTS} times`);
}

function requireSuccess(response: Response, { url: first, token }: HubRequest, url: string): void {
  const { status } = response;
  if (response.ok || (status >= 300 && status < 400) || status === 416) return;
  const where = withoutQuery(url);
  const isElsewhere = new URL(first).origin !== new URL(url).origin;
  // Where files are stored, addresses expire: the hub gives a new one.
  if (status >= 500 || status === 408 || status === 429 || (status === 403 && isElsewhere)) {
    const seconds = Number(response.headers.get('retry-after'));
    const delay = seconds > 0 ? Math.min(seconds, 60) * 1000 : undefined;
    throw new TransientError(`${where}: the server answered ${status}`, delay);
  }
  if (status === 401 || status === 403) {
    const todo =
      token === undefined
        ? 'if it is right, accept the terms on its page and set HF_TOKEN to a token of your account'
        : 'if it is right, the token (HF_TOKEN, or the file token in HF_HOME) gives no access to it';
    throw new UserError(
      `${where}: access refused (${status}). The repository is private or gated, or its name is wrong: ${todo}`,
    );
  }
  if (status === 404) throw new UserError(`${where}: not found (404): there is no such repository or file`);
  throw new UserError(`${where}: the server answered ${status} ${response.statusText}`.trim());
}

/** Signatures in queries of storage addresses are nobody's business. */
function withoutQuery(url: string): string {
  const { origin, pathname, searchParams } = new URL(url);
  const path = searchParams.get('FilePath');
  return `${origin}${pathname}${path === null ? '' : ` (${path})`}`;
}

/** An error of fetch, which hides what happened in `cause`. */
function explained(error: unknown, host: string): unknown {
  if (!(error instanceof TypeError) || !['fetch failed', 'terminated'].includes(error.message)) return error;
  const { cause } = error;
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  const reason = messageOf(cause) || code;
  if (code === 'ENOTFOUND' || code === 'ECONNREFUSED' || /CERT|SSL|TLS|VERIFY/.test(code)) {
    return new UserError(
      `${host} can't be reached (${reason}): check the connection, name a mirror in HF_ENDPOINT, ` +
        'or try --source modelscope',
    );
  }
  return new TransientError(`the connection to ${host} broke (${reason})`);
}
