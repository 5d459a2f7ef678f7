import type { HubEnvironment } from './environment.js';
import type { Patience } from './request.js';
import type { RemoteFile } from './transfer.js';

/** The files of a repository at one commit. */
export interface Listing {
  repository: string;
  /** 40 or 64 hexadecimal digits */
  commit: string;
  names: string[];
  /** Where a listed file is, how long, and what its checksum. @throws UserError if the server does not say */
  locate(name: string): Promise<RemoteFile>;
}

export interface SourceOptions extends Patience {
  environment: HubEnvironment;
  warn: (message: string) => void;
}

/** A hub: lists what its main branch holds. @throws UserError if there is no such repository, or no way to it */
export type ListRepository = (repository: string, options: SourceOptions) => Promise<Listing>;
