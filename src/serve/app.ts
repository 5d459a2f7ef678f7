import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { z } from 'zod';
import type { ServeConfig } from '../config/search.js';
import { messageOf, UserError } from '../errors.js';
import { packageRoot } from '../io/packageRoot.js';
import { openApi } from './openapi.js';
import { MAX_RESULTS, type SearchService } from './service.js';

export type Limits = Pick<ServeConfig, 'host' | 'maxQueue' | 'maxBodyBytes' | 'maxTexts' | 'maxTextLength'>;

/** Nothing but what the service itself serves, no inline script or style. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** A body that is too large by this factor at most is read to its end, and not kept. */
const DRAINED = 16;

const assets = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/client.js': ['client.js', 'text/javascript; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
} as const;

/** The routes of `cn-clip serve`; /openapi.json describes them. */
export function createApp(service: SearchService, limits: Limits): Hono {
  const app = new Hono();
  let active = 0;
  app.use(async (c, next) => {
    requireLocalName(c, limits.host);
    c.header('Content-Security-Policy', POLICY);
    c.header('X-Content-Type-Options', 'nosniff');
    c.header('Referrer-Policy', 'no-referrer');
    // Refused before its body is read, so that what waits takes bounded memory.
    if (active >= limits.maxQueue) {
      return c.json({ error: 'too many requests at a time: try again' }, 503, { 'Retry-After': '1' });
    }
    active++;
    try {
      await next();
    } finally {
      active--;
    }
  });
  app.use(
    bodyLimit({
      maxSize: limits.maxBodyBytes,
      onError: async (c) => {
        // A client that is still sending would not see the answer.
        const length = Number(c.req.header('content-length'));
        if (length <= DRAINED * limits.maxBodyBytes) await c.req.raw.body?.pipeTo(new WritableStream());
        return refuse(413, `a request may have ${limits.maxBodyBytes} bytes`);
      },
    }),
  );
  app.onError((error, c) => {
    if (error instanceof HTTPException) return c.json({ error: error.message }, error.status);
    if (error instanceof UserError) return c.json({ error: error.message }, 422);
    process.stderr.write(`${c.req.method} ${c.req.path}: ${messageOf(error)}\n`);
    return c.json({ error: 'an error of the service' }, 500);
  });
  app.notFound((c) => c.json({ error: 'there is nothing here: /openapi.json has the routes' }, 404));

  for (const [route, [file, type]] of Object.entries(assets)) {
    const content = readFileSync(join(packageRoot, 'web', file), 'utf8');
    app.get(route, (c) => c.body(content, 200, { 'Content-Type': type }));
  }
  const description = openApi(limits);
  app.get('/openapi.json', (c) => c.json(description));
  app.get('/health', (c) => c.json({ pictures: service.index.pictures.length }));

  const textsSchema = z.strictObject({
    texts: z.array(z.string().min(1).max(limits.maxTextLength)).min(1).max(limits.maxTexts),
  });
  app.post('/embed/texts', async (c) => {
    const { texts } = await jsonBody(c, textsSchema);
    const features = await Promise.all(texts.map((text) => service.embedText(text)));
    return c.json({ features: features.map((feature) => Array.from(feature)) });
  });

  const imagesSchema = z.strictObject({ images: z.array(z.base64()).min(1).max(limits.maxTexts) });
  app.post('/embed/images', async (c) => {
    const pictures = isJson(c)
      ? (await jsonBody(c, imagesSchema)).images.map((text) => Buffer.from(text, 'base64'))
      : [await pictureBody(c)];
    const features: number[][] = [];
    // One after the other: pictures of one request should not hold all memory decoded.
    for (const bytes of pictures) features.push(Array.from(await service.embedPicture(bytes)));
    return c.json({ features });
  });

  app.get('/search', async (c) => {
    const query = z.string().min(1).max(limits.maxTextLength).safeParse(c.req.query('q'));
    if (!query.success) refuse(400, `q: expected a text of 1 to ${limits.maxTextLength} characters`);
    const k = resultCount(c);
    return c.json({ results: await service.nearest(await service.embedText(query.data), k) });
  });
  app.post('/search', async (c) => {
    const k = resultCount(c);
    const feature = await service.embedPicture(await pictureBody(c));
    return c.json({ results: await service.nearest(feature, k) });
  });

  app.get('/images/:id', async (c) => {
    const id = c.req.param('id');
    if (!/^\d{1,9}$/.test(id)) refuse(400, 'expected the number of a picture');
    if (Number(id) >= service.index.pictures.length) refuse(404, `there is no picture ${id}`);
    try {
      const jpeg = await service.show(Number(id));
      return c.body(new Uint8Array(jpeg), 200, { 'Content-Type': 'image/jpeg', 'Cache-Control': 'no-cache' });
    } catch (error) {
      // The message would tell paths of this machine.
      if (error instanceof UserError) refuse(404, `picture ${id} is gone or damaged`);
      throw error;
    }
  });
  return app;
}

function refuse(status: 400 | 403 | 404 | 413 | 415, message: string): never {
  throw new HTTPException(status, { message });
}

/** A page elsewhere could have its name resolve to this machine, and so read what is served to this machine alone. */
function requireLocalName(c: Context, host: string): void {
  if (!isLoopback(host)) return;
  const { hostname } = new URL(c.req.url);
  if (!isLoopback(hostname.replace(/^\[|\]$/g, ''))) refuse(403, 'this service is for its own machine');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function isJson(c: Context): boolean {
  return /^application\/json\b/i.test(c.req.header('content-type') ?? '');
}

async function jsonBody<S extends z.ZodType>(c: Context, schema: S): Promise<z.infer<S>> {
  if (!isJson(c)) refuse(415, 'expected Content-Type: application/json');
  let value: unknown;
  try {
    value = JSON.parse(await c.req.text());
  } catch (error) {
    if (error instanceof HTTPException) throw error;
    refuse(400, 'the body is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) refuse(400, z.prettifyError(parsed.error));
  return parsed.data;
}

async function pictureBody(c: Context): Promise<Uint8Array> {
  if (!/^image\/|^application\/octet-stream\b/i.test(c.req.header('content-type') ?? '')) {
    refuse(415, 'expected a picture, Content-Type: image/…');
  }
  return new Uint8Array(await c.req.arrayBuffer());
}

function resultCount(c: Context): number {
  const k = c.req.query('k') ?? '20';
  if (!/^\d{1,3}$/.test(k) || Number(k) < 1 || Number(k) > MAX_RESULTS) {
    refuse(400, `k: expected 1 to ${MAX_RESULTS}`);
  }
  return Number(k);
}
