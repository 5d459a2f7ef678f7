import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type ClassResult,
  type Confusion,
  classResults,
  confusionMatrix,
  mostConfused,
  surestMistakes,
} from '../eval/classification/analysis.js';
import type { DatasetEvaluation, DatasetScore } from '../eval/classification/evaluate.js';
import {
  comparisonColumns,
  meanValue,
  percentInterval,
  type SummaryRow,
  summaryCells,
  summaryColumns,
} from '../eval/classification/summary.js';
import { writeText } from '../io/atomic.js';
import { confusionMatrixSvg } from './confusion.js';
import { type Html, html, page, table } from './html.js';
import { grouped } from './numbers.js';
import { pictureTag, type ReportPicture, reportPicture } from './picture.js';

/** What the report shows of a dataset. */
export interface DatasetReport {
  name: string;
  score: DatasetScore;
  classNames: readonly string[];
  classes: readonly ClassResult[];
  matrix: Uint32Array;
  confusions: readonly Confusion[];
  mistakes: readonly {
    picture: ReportPicture;
    image: string;
    actual: string;
    predicted: string;
    probability: number;
  }[];
}

export interface ClassificationReport {
  title: string;
  modelName: string;
  /** whose published results stand beside these */
  publishedModel: string | undefined;
  rows: readonly SummaryRow[];
  datasets: readonly DatasetReport[];
}

const SHOWN_MISTAKES = 12;
const SHOWN_CONFUSIONS = 8;
/** With more classes the best and the worst are shown, so many of each. */
const SHOWN_CLASSES = 15;
/** With more classes the matrix could not be read on a page. */
const MATRIX_CLASSES = 60;
const THUMBNAIL_SIDE = 112;

/** Gathers what the report shows of a result. */
export async function reportOf({ dataset, score, predictions }: DatasetEvaluation): Promise<DatasetReport> {
  const { name, folder, classNames, images, targets } = dataset;
  const matrix = confusionMatrix(predictions);
  const mistakes: DatasetReport['mistakes'][number][] = [];
  // One at a time: a decoded picture may be large.
  for (const { image, predicted, probability } of surestMistakes(predictions, SHOWN_MISTAKES)) {
    const path = join(folder, images[image]);
    mistakes.push({
      picture: await reportPicture(() => readFileSync(path), path, THUMBNAIL_SIDE),
      image: images[image],
      actual: targets[image].map((target) => classNames[target]).join('、'),
      predicted: classNames[predicted],
      probability,
    });
  }
  return {
    name,
    score,
    classNames,
    classes: classResults(predictions, classNames),
    matrix,
    confusions: mostConfused(matrix, classNames.length, SHOWN_CONFUSIONS),
    mistakes,
  };
}

/**
 * Writes the report of a zero-shot classification, one HTML file that needs nothing else: results beside published
 * ones, and for each dataset its classes, what is confused, and mistakes with pictures.
 */
export function writeClassificationReport(path: string, report: ClassificationReport): void {
  writeText(path, page(report.title, reportBody(report)));
}

function reportBody({ title, modelName, publishedModel, rows, datasets }: ClassificationReport): Html {
  return html`<header>
<h1>${title}</h1>
<p class="quiet">Model: ${modelName}. Every class is embedded as the mean of its prompts; a picture belongs to the class whose embedding is nearest.</p>
${tiles(rows)}
</header>
<section>
<h2>Results</h2>
<p class="quiet">In percent. Intervals are 95 % bootstrap intervals over the pictures.${
    publishedModel === undefined
      ? ''
      : html` Published results are those of the reference's authors for ${publishedModel}, with their own prompts; the difference is to the metric.`
  }</p>
${resultTable(rows)}
</section>
${datasets.map(datasetSection)}`;
}

function tiles(rows: readonly SummaryRow[]): Html {
  const images = rows.reduce((sum, { score }) => sum + score.images, 0);
  const mean = rows.length === 1 ? rows[0].score.metric : 'mean of the metrics';
  return html`<dl class="tiles"><div><dt>${mean}</dt><dd>${percent(meanValue(rows))} %</dd>
<small>${rows.length === 1 ? percentInterval(rows[0].score.valueInterval) : `${rows.length} datasets`}</small></div>
<div><dt>pictures</dt><dd>${grouped(images)}</dd></div></dl>`;
}

function resultTable(rows: readonly SummaryRow[]): Html {
  const compared = rows.some(({ comparison }) => comparison !== undefined);
  const [dataset, , ...columns] = [...summaryColumns, ...(compared ? comparisonColumns : [])];
  const lines = rows.map((row) => {
    const [name, metric, ...numbers] = summaryCells(row);
    return { heading: html`<a href="#${name}">${name}</a><small>${metric}</small>`, numbers };
  });
  // Where no results are published, their columns would only push the others off a phone.
  const isFilled = (_: unknown, i: number) => lines.some(({ numbers }) => (numbers[i] ?? '–') !== '–');
  return table(
    [dataset, ...columns.filter(isFilled)],
    lines.map(({ heading, numbers }) => ({ cells: [heading, ...numbers.filter(isFilled)] })),
  );
}

function datasetSection(dataset: DatasetReport): Html {
  const { name, score, classes, classNames, matrix, confusions, mistakes } = dataset;
  return html`<section id="${name}">
<h2>${name}</h2>
<p class="quiet">${grouped(score.images)} pictures of ${score.classes} classes: ${score.metric} ${percent(score.value)} %, top-1 ${percent(score.top1)} %.</p>
<h3>Classes</h3>
<p class="quiet">The share of a class's pictures that are recognized.</p>
${classBars(classes)}
${
  classNames.length > MATRIX_CLASSES
    ? ''
    : html`<h3>What is taken for what</h3>
<div class="scroll">${confusionMatrixSvg(matrix, classNames)}</div>`
}
${
  confusions.length === 0
    ? ''
    : html`<h3>Most confused</h3>
<div class="confusions">${table(
        ['Class', 'Taken for', 'Pictures'],
        confusions.map(({ actual, predicted, count }) => ({
          cells: [classNames[actual], classNames[predicted], count],
        })),
        { text: true },
      )}</div>`
}
${
  mistakes.length === 0
    ? html`<p>No picture is mistaken.</p>`
    : html`<h3>Mistakes</h3>
<p class="quiet">Those that the model is surest of, of as many classes as there are.</p>
<ul class="mistakes">
${mistakes.map(
  ({ picture, image, actual, predicted, probability }) =>
    html`<li>${pictureTag(picture, image)}<strong>${actual}</strong><span>taken for ${predicted}</span><small>${percent(probability)} %</small></li>\n`,
)}</ul>`
}
</section>`;
}

function classBars(classes: readonly ClassResult[]): Html {
  const shown = classes
    .filter(({ samples }) => samples > 0)
    .map((result) => ({ ...result, share: result.right / result.samples }))
    .sort((a, b) => b.share - a.share);
  const list = (some: typeof shown) => html`<ol class="bars">
${some.map(
  ({ name, share, right, samples }) =>
    html`<li><span class="name">${name}</span><span class="bar"><span style="width: ${(100 * share).toFixed(1)}%"></span></span><span class="value">${percent(share)} % <small>${right} of ${samples}</small></span></li>\n`,
)}</ol>`;
  if (shown.length <= 2 * SHOWN_CLASSES) return list(shown);
  return html`<div class="grid"><div class="card"><small>best ${SHOWN_CLASSES} of ${shown.length}</small>
${list(shown.slice(0, SHOWN_CLASSES))}</div>
<div class="card"><small>worst ${SHOWN_CLASSES}</small>
${list(shown.slice(-SHOWN_CLASSES))}</div></div>`;
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
