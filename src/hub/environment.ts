import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { UserError } from '../errors.js';

/** What environment variables say about hubs, with the meaning that Python's huggingface_hub gives them. */
export interface HubEnvironment {
  /** folder of all cached repositories */
  cache: string;
  /** address of the Hugging Face hub or a mirror, without a slash at its end */
  endpoint: string;
  /** goes to the endpoint and to no other host */
  token: string | undefined;
  /** no connection may be made */
  offline: boolean;
  modelscopeEndpoint: string;
}

/** @throws UserError if an address is none */
export function hubEnvironment(env: NodeJS.ProcessEnv = process.env): HubEnvironment {
  const cacheHome = env.XDG_CACHE_HOME || join(homedir(), '.cache');
  const home = env.HF_HOME || join(cacheHome, 'huggingface');
  return {
    cache: path(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    endpoint: address(env, 'HF_ENDPOINT', 'https://huggingface.co'),
    token: env.HF_TOKEN?.trim() || tokenFile(path(home)),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ''),
    modelscopeEndpoint: address(env, 'MODELSCOPE_ENDPOINT', 'https://modelscope.cn'),
  };
}

function path(text: string): string {
  return resolve(text.replace(/^~(?=$|[/\\])/, homedir()));
}

function address(env: NodeJS.ProcessEnv, variable: string, standard: string): string {
  const text = env[variable] || standard;
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) {
    throw new UserError(`${variable} is '${text}', expected an address such as ${standard}`);
  }
  return text.replace(/\/+$/, '');
}

/** What `huggingface-cli login` left. */
function tokenFile(home: string): string | undefined {
  try {
    return readFileSync(join(home, 'token'), 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}
