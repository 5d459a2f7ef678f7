import { version } from '../io/version.js';
import type { Limits } from './app.js';
import { MAX_RESULTS } from './service.js';

/** The routes of the service as OpenAPI 3.1 describes them. */
export function openApi({ maxTexts, maxTextLength }: Limits) {
  const json = (schema: object) => ({ content: { 'application/json': { schema } } });
  const refused = {
    '4XX': { description: 'what is wrong with the request', ...json(object({ error: { type: 'string' } })) },
    '503': { description: 'too many requests at a time; Retry-After says when to try again' },
  };
  const answers = (description: string, schema: object) => ({
    responses: { '200': { description, ...json(schema) }, ...refused },
  });
  const features = object({ features: list(list({ type: 'number' })) });
  const results = object({
    results: list(
      object({ picture: { type: 'integer' }, name: { type: 'string' }, cosine: { type: 'number' } }),
    ),
  });
  const text = { type: 'string', minLength: 1, maxLength: maxTextLength };
  const picture = { 'image/*': { schema: { type: 'string', format: 'binary' } } };
  const k = {
    name: 'k',
    in: 'query',
    schema: { type: 'integer', minimum: 1, maximum: MAX_RESULTS, default: 20 },
  };
  return {
    openapi: '3.1.0',
    info: {
      title: 'cn-clip',
      version,
      description: 'Search in an index of pictures, and embeddings of its model.',
    },
    paths: {
      '/embed/texts': {
        post: {
          summary: 'unit features of texts',
          requestBody: { required: true, ...json(object({ texts: { ...list(text), maxItems: maxTexts } })) },
          ...answers('a row a text', features),
        },
      },
      '/embed/images': {
        post: {
          summary: 'unit features of a picture, or of several in base64',
          requestBody: {
            required: true,
            content: {
              ...picture,
              ...json(object({ images: { ...list({ type: 'string', format: 'byte' }), maxItems: maxTexts } }))
                .content,
            },
          },
          ...answers('a row a picture', features),
        },
      },
      '/search': {
        get: {
          summary: 'pictures nearest to a text',
          parameters: [{ name: 'q', in: 'query', required: true, schema: text }, k],
          ...answers('best first', results),
        },
        post: {
          summary: 'pictures nearest to a picture',
          parameters: [k],
          requestBody: { required: true, content: picture },
          ...answers('best first', results),
        },
      },
      '/images/{id}': {
        get: {
          summary: 'a picture of the index, made small',
          parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'integer', minimum: 0 } }],
          responses: { '200': { description: 'a JPEG file', content: { 'image/jpeg': {} } }, ...refused },
        },
      },
      '/health': {
        get: {
          summary: 'how many pictures there are',
          ...answers('it runs', object({ pictures: { type: 'integer' } })),
        },
      },
    },
  };
}

function object(properties: Record<string, object>) {
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
}

function list(items: object) {
  return { type: 'array', items };
}
