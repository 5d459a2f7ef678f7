import type { Command } from 'commander';

/** A command as the list of commands shows it. Its file, and with it all that it runs, is loaded when it is made. */
export interface ListedCommand {
  name: string;
  /** what follows the name, as commander writes it */
  usage: string;
  description: string;
  make: () => Promise<Command>;
}

/** The commands of cn-clip, in the order of its help. */
export const commands: readonly ListedCommand[] = [
  {
    name: 'quickstart',
    usage: '[options]',
    description: 'build Emoji-CN, pretrain a small model in two stages, evaluate it and write an HTML report',
    make: async () => (await import('./quickstart.js')).quickstartCommand(),
  },
  {
    name: 'pretrain',
    usage: '[options]',
    description: 'pretrain in two stages: first the text tower against a locked image tower, then both',
    make: async () => (await import('./pretrain.js')).pretrainCommand(),
  },
  {
    name: 'finetune',
    usage: '[options]',
    description: 'train a given model on further data, validating it on the way',
    make: async () => (await import('./finetune.js')).finetuneCommand(),
  },
  {
    name: 'train-report',
    usage: '<run>',
    description: 'write the report of a training run, report.html, from what lies in its folder',
    make: async () => (await import('./trainReport.js')).trainReportCommand(),
  },
  {
    name: 'eval',
    usage: '[options] <dataset>',
    description: 'evaluate a model on a dataset by its name, with eval-retrieval or eval-elevater',
    make: async () => (await import('./eval.js')).evalCommand(),
  },
  {
    name: 'eval-retrieval',
    usage: '[options]',
    description: 'text→image and image→text recall over the full pool, from models or from feature files',
    make: async () => (await import('./evalRetrieval.js')).evalRetrievalCommand(),
  },
  {
    name: 'eval-elevater',
    usage: '[options]',
    description:
      'zero-shot classification of the ELEVATER datasets, ImageNet-1K, Emoji-CN, and others in their form',
    make: async () => (await import('./evalElevater.js')).evalElevaterCommand(),
  },
  {
    name: 'classify',
    usage: '[options]',
    description: "zero-shot classification of one's own pictures: a folder for each class, or a labels file",
    make: async () => (await import('./classify.js')).classifyCommand(),
  },
  {
    name: 'similarity',
    usage: '[options] <image> <texts...>',
    description: 'cosine of pictures and texts, and the probability of each text among those given',
    make: async () => (await import('./similarity.js')).similarityCommand(),
  },
  {
    name: 'index',
    usage: '[options] <dir>',
    description:
      'embed the pictures of a folder (or dataset) for search and serve; goes on where it was stopped',
    make: async () => (await import('./indexPictures.js')).indexCommand(),
  },
  {
    name: 'search',
    usage: '[options] <index> <query>',
    description: 'find the pictures of an index that fit a text or a picture',
    make: async () => (await import('./search.js')).searchCommand(),
  },
  {
    name: 'serve',
    usage: '[options] <index>',
    description: 'search an index in the browser and over HTTP (/openapi.json describes the routes)',
    make: async () => (await import('./serve.js')).serveCommand(),
  },
  {
    name: 'download',
    usage: '[options] [model]',
    description:
      'fetch an official model with its vocabulary into the Hugging Face cache; without a name: list them',
    make: async () => (await import('./download.js')).downloadCommand(),
  },
  {
    name: 'convert',
    usage: '[options] <in> <out>',
    description: 'write a checkpoint in another form, with the same bits',
    make: async () => (await import('./convert.js')).convertCommand(),
  },
  {
    name: 'interpolate',
    usage: '[options] <a> <b>',
    description: 'write checkpoints between two: weights (1 − alpha) · A + alpha · B (WiSE-FT)',
    make: async () => (await import('./interpolate.js')).interpolateCommand(),
  },
  {
    name: 'export',
    usage: '',
    description: 'write a model for other runtimes',
    make: async () => (await import('./export.js')).exportCommand(),
  },
  {
    name: 'extract-features',
    usage: '[options]',
    description: 'write normalised features of pictures and texts, as the reference does',
    make: async () => (await import('./extractFeatures.js')).extractFeaturesCommand(),
  },
  {
    name: 'benchmark',
    usage: '[options]',
    description: 'latency and throughput of each tower over batch sizes, precisions and providers',
    make: async () => (await import('./benchmark.js')).benchmarkCommand(),
  },
  {
    name: 'doctor',
    usage: '[options]',
    description: 'list engines, providers and libraries that are here or missing, and what adds each',
    make: async () => (await import('./doctor.js')).doctorCommand(),
  },
  {
    name: 'data',
    usage: '',
    description: 'build, convert and check data sets, build vocabularies',
    make: async () => (await import('./data.js')).dataCommand(),
  },
];
