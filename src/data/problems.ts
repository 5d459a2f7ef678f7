/** What can be wrong with a dataset. Errors make it unclean: a command would stop at them, or do without the picture. */
export const problemKinds = {
  files: { severity: 'error', title: 'files that are missing, empty or can not be opened' },
  imageLine: { severity: 'error', title: 'images without a readable id' },
  imageId: { severity: 'error', title: 'image ids that occur twice' },
  textLine: { severity: 'error', title: 'texts that are damaged or lack a field' },
  textId: { severity: 'error', title: 'text ids that occur twice' },
  join: { severity: 'error', title: 'image ids in texts that no image has' },
  picture: { severity: 'error', title: 'broken pictures' },
  samePicture: { severity: 'remark', title: 'pictures with the same bytes as an earlier one' },
  sameText: { severity: 'remark', title: 'texts that are the same as an earlier one' },
  samePair: { severity: 'remark', title: 'images that one text names twice' },
  cutText: { severity: 'remark', title: 'texts that lose their end' },
  emptyText: { severity: 'remark', title: 'texts without a word' },
  imageWithoutText: { severity: 'remark', title: 'images without a text' },
  textWithoutImage: { severity: 'remark', title: 'texts without an image' },
} as const satisfies Record<string, { severity: 'error' | 'remark'; title: string }>;

export type ProblemKind = keyof typeof problemKinds;

/** All problems of one kind. */
export interface ProblemList {
  kind: ProblemKind;
  severity: 'error' | 'remark';
  title: string;
  count: number;
  /** the first ones, each with its place */
  listed: string[];
}

/** How many of each kind are kept; the others are counted only, so that memory is bounded. */
const MAX_LISTED = 1000;

/** Collects what is wrong, instead of ending at the first. */
export class Problems {
  readonly #lists = new Map<ProblemKind, ProblemList>();

  /** @param message with file and line, or what else tells the place */
  add(kind: ProblemKind, message: string): void {
    let list = this.#lists.get(kind);
    if (list === undefined) {
      list = { kind, ...problemKinds[kind], count: 0, listed: [] };
      this.#lists.set(kind, list);
    }
    list.count++;
    if (list.listed.length < MAX_LISTED) list.listed.push(message);
  }

  count(kind: ProblemKind): number {
    return this.#lists.get(kind)?.count ?? 0;
  }

  /** The kinds that occurred, in the order of problemKinds: errors first. */
  lists(): ProblemList[] {
    return (Object.keys(problemKinds) as ProblemKind[]).flatMap((kind) => this.#lists.get(kind) ?? []);
  }

  /** Whether there is no error; remarks may be. */
  get isClean(): boolean {
    return this.lists().every(({ severity }) => severity !== 'error');
  }
}
