import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { UserError } from '../errors.js';

const REQUEST_TIMEOUT_MS = 30_000;

export interface RunningServer {
  /** with the port that was taken */
  url: string;
  /** Takes no more requests, finishes those under way, and ends. */
  close(): Promise<void>;
}

/** Serves an app over HTTP. @throws UserError where the address can't be listened on */
export async function startServer(app: Hono, host: string, port: number): Promise<RunningServer> {
  const server = createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: REQUEST_TIMEOUT_MS },
    getRequestListener(app.fetch),
  );
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(new UserError(`can't listen on ${host}:${port} (${error.message})`)),
    );
    server.listen(port, host, resolve);
  });
  return { url: urlOf(server), close: () => closeServer(server) };
}

function urlOf(server: Server): string {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server has no port');
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address;
  return `http://${host}:${address.port}/`;
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    // Answers under way tell their client that the connection ends.
    server.prependListener('request', (_, response) => response.setHeader('Connection', 'close'));
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeIdleConnections();
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    server.once('close', () => clearInterval(idle));
  });
}
