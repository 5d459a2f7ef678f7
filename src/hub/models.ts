import { UserError } from '../errors.js';

/** One of the published Chinese CLIP models (https://arxiv.org/abs/2211.01335, table 1). */
export interface OfficialModel {
  name: string;
  /** rounded, as published */
  parameters: string;
  /** width of the joint embedding */
  embeddingSize: number;
  /** side of the input image in pixels */
  resolution: number;
  /** weights as the reference released them, a checkpoint of torch.save */
  releasedFile: string;
  /** without its owner, who is another at each source */
  repository: string;
}

export const officialModels: readonly OfficialModel[] = [
  model('RN50', '77M', 1024, 224, 'clip_cn_rn50.pt', 'chinese-clip-rn50'),
  model('ViT-B-16', '188M', 512, 224, 'clip_cn_vit-b-16.pt', 'chinese-clip-vit-base-patch16'),
  model('ViT-L-14', '406M', 768, 224, 'clip_cn_vit-l-14.pt', 'chinese-clip-vit-large-patch14'),
  model('ViT-L-14-336', '407M', 768, 336, 'clip_cn_vit-l-14-336.pt', 'chinese-clip-vit-large-patch14-336px'),
  model('ViT-H-14', '958M', 1024, 224, 'clip_cn_vit-h-14.pt', 'chinese-clip-vit-huge-patch14'),
];

/** All models share one vocabulary; repositories without vocab.txt borrow it from this one. */
export const vocabularyRepository = officialModel('ViT-B-16').repository;

/** @throws UserError listing the names, if there is no such model; case counts */
export function officialModel(name: string): OfficialModel {
  const found = officialModels.find((candidate) => candidate.name === name);
  if (found !== undefined) return found;
  const close = officialModels.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase());
  const hint = close === undefined ? '' : ` (did you mean ${close.name}?)`;
  const names = officialModels.map((candidate) => candidate.name).join(', ');
  throw new UserError(`there is no official model '${name}'${hint}: expected one of ${names}`);
}

function model(
  name: string,
  parameters: string,
  embeddingSize: number,
  resolution: number,
  releasedFile: string,
  repository: string,
): OfficialModel {
  return { name, parameters, embeddingSize, resolution, releasedFile, repository };
}
