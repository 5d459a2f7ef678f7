import type { RetrievalResult } from '../eval/retrieval.js';
import { directions, measures, type RetrievalSummary } from '../eval/retrievalSummary.js';
import { arrows, recallColumns, recallRows } from '../eval/retrievalTable.js';
import { writeText } from '../io/atomic.js';
import { lineChart } from './chart.js';
import { type Html, html, page, type TableRow, table } from './html.js';
import { grouped, percent } from './numbers.js';
import { pictureCard, queryCard } from './queries.js';
import type { RetrievalExamples } from './retrievalExamples.js';

export interface RetrievalReport {
  summary: RetrievalSummary;
  result: RetrievalResult;
  /** absent where there are no pictures: an evaluation of feature files */
  examples?: RetrievalExamples;
}

/** The recall curve ends at this k. */
const CURVE_END = 50;

/**
 * Writes the report of a retrieval evaluation, one HTML file that needs nothing else: recall with intervals beside
 * chance and the published result, the recall curve, and the best and worst queries.
 *
 * @throws UserError where a picture is no PNG, JPEG or WebP; the file is then not written
 */
export function writeRetrievalReport(path: string, report: RetrievalReport): void {
  const { model, dataset, split } = report.summary;
  const text = page(`Retrieval: ${[dataset, split].join(' ').trim()}, ${model}`, reportBody(report));
  writeText(path, text);
}

function reportBody({ summary, result, examples }: RetrievalReport): Html {
  const { model, dataset, split, setup, publishedModel } = summary;
  const isPublished = directions.some((direction) => summary[direction].published !== undefined);
  return html`<header>
<h1>Retrieval: ${dataset} ${split}</h1>
<p class="quiet">Model: ${model}. Every query is ranked against the whole pool.</p>
${tiles(summary)}
</header>
<section>
<h2>Recall</h2>
<p class="quiet">Recall@k: the share of queries, in percent, with a right answer among the first k; mean is that of the three. Intervals are 95 % bootstrap intervals over the queries. Chance is what a random order reaches.${
    isPublished ? ` Published is the result of the reference's authors for ${publishedModel}, ${setup}.` : ''
  }</p>
${recallTable(summary)}
</section>
<section>
<h2>Recall by k</h2>
<div class="single">${recallCurve(result)}</div>
</section>
${examples === undefined ? '' : exampleSections(examples)}`;
}

function tiles(summary: RetrievalSummary): Html {
  const items = directions.map((direction) => {
    const { r1, r10, medianRank, pool } = summary[direction];
    return html`<div><dt>${arrows[direction]}, R@1</dt><dd>${percent(r1)} %</dd>
<small>R@10 ${percent(r10)} %, median rank ${medianRank === null ? '–' : grouped(medianRank)} of ${grouped(pool)}</small></div>
`;
  });
  return html`<dl class="tiles">${items}</dl>`;
}

function recallTable(summary: RetrievalSummary): Html {
  // The rest stands in the tiles and below the direction, so that the table fits a phone.
  const columns = recallColumns.slice(0, measures.length);
  const rows = directions.flatMap((direction) =>
    recallRows(summary, direction).map(({ label, cells, isResult }): TableRow => {
      const { queries, pool } = summary[direction];
      const heading = isResult
        ? html`${label}<small>${grouped(queries)} queries, pool of ${grouped(pool)}</small>`
        : label;
      const values = cells.slice(0, columns.length).map((cell) => cell.replace(' …', '\u00a0…'));
      return { cells: [heading, ...values], secondary: !isResult };
    }),
  );
  return table(['Direction', ...columns], rows);
}

function recallCurve(result: RetrievalResult): Html {
  const series = directions.map((direction) => {
    const { ranks, scores } = result[direction];
    const scored = ranks.filter((rank) => !Number.isNaN(rank)).sort();
    const points = [];
    let hits = 0;
    for (let k = 1; k <= Math.min(CURVE_END, scores.poolSize); k++) {
      while (hits < scored.length && scored[hits] <= k) hits++;
      points.push({ x: k, y: (100 * hits) / scored.length });
    }
    return { name: arrows[direction], points };
  });
  return lineChart({ title: 'Recall@k in percent', xLabel: 'k', series });
}

function exampleSections({ textToImage, imageToText }: RetrievalExamples): Html {
  return html`<section>
<h2>Texts and their pictures</h2>
<p class="quiet">The pictures that the model ranks first for a caption. A thick border and ✓ mark the right ones.</p>
${exampleList('Found most clearly', textToImage.best.map(queryCard))}
${exampleList('Found last', textToImage.worst.map(queryCard))}
</section>
<section>
<h2>Pictures and their texts</h2>
<p class="quiet">The captions that the model ranks first for a picture. ✓ marks the right ones.</p>
${exampleList('Found most clearly', imageToText.best.map(pictureCard))}
${exampleList('Found last', imageToText.worst.map(pictureCard))}
</section>`;
}

function exampleList(title: string, cards: readonly Html[]): Html {
  return html`<h3>${title}</h3>
${cards.length === 0 ? html`<p>None.</p>` : html`<div class="grid">\n${cards}</div>`}`;
}
