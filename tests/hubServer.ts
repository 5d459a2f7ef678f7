import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface HubFile {
  bytes: Buffer;
  /** stored elsewhere, as large files are */
  isLarge: boolean;
}

export interface SeenRequest {
  at: 'hub' | 'store';
  method: string;
  path: string;
  authorization: string | undefined;
  range: string | undefined;
}

/** Takes over a request; false leaves it to the ordinary route. */
export type Intercept = (request: IncomingMessage, response: ServerResponse) => boolean;

export const small = (text: string): HubFile => ({ bytes: Buffer.from(text), isLarge: false });
export const large = (bytes: Uint8Array): HubFile => ({ bytes: Buffer.from(bytes), isLarge: true });

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
export const gitSha1 = (bytes: Uint8Array) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
export const commitOf = (repository: string) => createHash('sha1').update(repository).digest('hex');

/** The routes of the Hugging Face hub and of ModelScope, and on another port the store that large files are in. */
export class HubServer {
  readonly repositories = new Map<string, Record<string, HubFile>>();
  requests: SeenRequest[] = [];
  atHub: Intercept = () => false;
  atStore: Intercept = () => false;

  private constructor(
    private readonly hub: Server,
    private readonly store: Server,
  ) {
    hub.on('request', (request, response) => this.serve('hub', request, response));
    store.on('request', (request, response) => this.serve('store', request, response));
  }

  static async start(): Promise<HubServer> {
    const servers = [createServer(), createServer()];
    for (const server of servers) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
    return new HubServer(servers[0], servers[1]);
  }

  get url(): string {
    return addressOf(this.hub);
  }

  close(): void {
    for (const server of [this.hub, this.store]) {
      server.closeAllConnections();
      server.close();
    }
  }

  /** Requests for the content of a file at the store. */
  get stored(): SeenRequest[] {
    return this.requests.filter(({ at }) => at === 'store');
  }

  private serve(at: 'hub' | 'store', request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url: path = '' } = request;
    const { authorization, range } = request.headers;
    this.requests.push({ at, method, path, authorization, range });
    if ((at === 'hub' ? this.atHub : this.atStore)(request, response)) return;
    if (at === 'store') this.sendStored(request, response);
    else this.route(request, response);
  }

  private route(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', this.url);
    const path = decodeURIComponent(url.pathname);
    const [, revisionOf] = /^\/api\/models\/([^/]+\/[^/]+)\/revision\/main$/.exec(path) ?? [];
    const [, resolveOf, commit, resolved] =
      /^\/([^/]+\/[^/]+)\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(path) ?? [];
    const [, cacheOf, cached] = /^\/api\/resolve-cache\/([^/]+\/[^/]+)\/(.+)$/.exec(path) ?? [];
    const [, filesOf] = /^\/api\/v1\/models\/([^/]+\/[^/]+)\/repo\/files$/.exec(path) ?? [];
    const [, repoOf] = /^\/api\/v1\/models\/([^/]+\/[^/]+)\/repo$/.exec(path) ?? [];
    const repository = revisionOf ?? resolveOf ?? cacheOf ?? filesOf ?? repoOf ?? '';
    const name = resolved ?? cached ?? url.searchParams.get('FilePath') ?? '';
    const files = this.repositories.get(repository);
    const file = files?.[name];
    if (files !== undefined && revisionOf !== undefined) {
      const siblings = Object.keys(files).map((rfilename) => ({ rfilename }));
      sendJson(response, { sha: commitOf(repository), siblings });
    } else if (files !== undefined && filesOf !== undefined) {
      const listed = Object.entries(files).map(([Path, { bytes }]) => ({
        ...{ Path, Name: Path, Type: 'blob', Size: bytes.length, Sha256: sha256(bytes) },
      }));
      const folder = { Path: 'assets', Name: 'assets', Type: 'tree', Size: 0 };
      sendJson(response, { Code: 200, Data: { Files: [folder, ...listed] } });
    } else if (file === undefined || (commit ?? commitOf(repository)) !== commitOf(repository)) {
      response.writeHead(404).end('Entry not found');
    } else if (file.isLarge) {
      const headers = {
        location: `${addressOf(this.store)}/${repository}/${name}?signature=secret`,
        'x-repo-commit': commitOf(repository),
        'x-linked-etag': `"${sha256(file.bytes)}"`,
        'x-linked-size': file.bytes.length,
      };
      response.writeHead(302, repoOf === undefined ? headers : { location: headers.location }).end();
    } else if (resolveOf !== undefined) {
      response.writeHead(307, { location: `/api/resolve-cache/${repository}/${name}` }).end();
    } else {
      response.writeHead(200, { etag: `"${gitSha1(file.bytes)}"`, 'content-length': file.bytes.length });
      response.end(request.method === 'HEAD' ? undefined : file.bytes);
    }
  }

  private sendStored(request: IncomingMessage, response: ServerResponse): void {
    const bytes = this.storedFile(request);
    const [, start] = /^bytes=(\d+)-$/.exec(request.headers.range ?? '') ?? [];
    const rest = bytes.subarray(Number(start ?? 0));
    // The store's own ETag is not the hub's checksum.
    const headers = { etag: `"${sha256(Buffer.from('other'))}"`, 'content-length': rest.length };
    if (start === undefined) response.writeHead(200, headers);
    else {
      const range = `bytes ${start}-${bytes.length - 1}/${bytes.length}`;
      response.writeHead(206, { ...headers, 'content-range': range });
    }
    response.end(rest);
  }

  /** The content that a request to the store is about. */
  storedFile(request: IncomingMessage): Buffer {
    const [, owner, repository, name] = (request.url ?? '').split('?')[0].split('/');
    return this.repositories.get(`${owner}/${repository}`)![name].bytes;
  }
}

function addressOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendJson(response: ServerResponse, content: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}
