import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { averaged, lineChart } from '../src/report/chart.js';
import { writeClassificationReport } from '../src/report/classificationReport.js';
import { confusionMatrixSvg } from '../src/report/confusion.js';
import { html, table } from '../src/report/html.js';
import { type PretrainReport, writePretrainReport } from '../src/report/pretrainReport.js';
import { formatTick, makeScale, type ScaleKind } from '../src/report/scale.js';

const folder = mkdtempSync(join(tmpdir(), 'cn-clip-report-'));
after(() => rmSync(folder, { recursive: true }));

/** One transparent pixel. */
const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);
const JPEG = Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 0x4a, 0x46, 0x49, 0x46, 0, 1]);
const HOSTILE = `<script src="https://example.org/x.js"></script>'"&<img onerror=alert(1)>`;

function sampleReport(): PretrainReport {
  const metrics = (count: number) =>
    Array.from({ length: count }, (_, i) => ({
      step: i + 1,
      loss: 4 / (i + 1),
      learningRate: 1e-4,
      imageToTextAccuracy: i / count,
      textToImageAccuracy: i / count,
      logitScale: 2.66,
      samplesPerSecond: 100 + i,
    }));
  const recall = { recallAt1: 8, recallAt5: 20.25, recallAt10: 30, meanRecall: 19.4 };
  const chance = { recallAt1: 0.05, recallAt5: 0.25, recallAt10: 0.5, meanRecall: 0.8 / 3 };
  const scores = { ...recall, medianRank: 31, chance, queryCount: 2000, poolSize: 2000 };
  return {
    title: `Report ${HOSTILE}`,
    summary: HOSTILE,
    configuration: [{ name: HOSTILE, value: HOSTILE }],
    parameterCounts: [{ name: HOSTILE, count: 4093756 }],
    stages: [
      { name: 'stage 1', metrics: metrics(400) },
      { name: `stage 2 ${HOSTILE}`, metrics: metrics(20) },
    ],
    recall: [{ direction: HOSTILE, scores }],
    queries: Array.from({ length: 20 }, (_, q) => ({
      text: `查询${q}号 ${HOSTILE}`,
      results: Array.from({ length: 5 }, (_, r) => ({
        image: r === 0 ? JPEG : PNG,
        correct: r === 2,
        id: `${q}-${r}${HOSTILE}`,
      })),
      rankOfTrue: 3,
    })),
  };
}

function written(report: PretrainReport): string {
  const path = join(folder, 'report.html');
  writePretrainReport(path, report);
  return readFileSync(path, 'utf8');
}

test('the report shows every query with its pictures, the right ones marked in words', () => {
  const page = written(sampleReport());
  const cards = page.match(/<article[\s\S]*?<\/article>/g) ?? [];
  assert.equal(cards.length, 20);
  cards.forEach((card, q) => {
    assert.ok(card.includes(`<h3 lang="zh">查询${q}号`));
    assert.ok(card.includes('First right picture at rank 3'));
    const images = card.match(/<img [^>]*>/g) ?? [];
    assert.equal(images.length, 5);
    assert.ok(images[0].startsWith('<img src="data:image/jpeg;base64,'));
    assert.ok(images[1].includes(`src="data:image/png;base64,${PNG.toString('base64')}"`));
    images.forEach((image, r) => {
      assert.match(
        image,
        new RegExp(`alt="Rank ${r + 1}: picture ${q}-${r}.*, ${r === 2 ? 'right' : 'not right'}"`),
      );
    });
    assert.equal(card.match(/✓/g)?.length, 1);
    assert.match(card, /<li class="right">.*✓ 3<\/li>/);
  });
});

test('the report shows recall beside chance, stages, parameters and four charts', () => {
  const page = written(sampleReport());
  for (const cell of [
    '8.0',
    '20.3',
    '30.0',
    '19.4',
    '0.05',
    '0.25',
    '0.5',
    '0.27',
    '×160',
    '×81',
    '×60',
    '×73',
  ]) {
    assert.ok(page.includes(`<td>${cell}</td>`), cell);
  }
  assert.ok(page.includes('of 2,000'));
  assert.ok(page.includes('<td>4,093,756</td>'));
  // 400 steps, mean loss of the first and the last ten, median speed.
  assert.match(page, /stage 1<\/th><td>400<\/td><td>1\.172<\/td><td>0\.010<\/td><td>300\.0<\/td>/);
  const charts = page.match(/<figure class="chart[\s\S]*?<\/figure>/g) ?? [];
  assert.equal(charts.length, 4);
  for (const chart of charts) {
    assert.match(chart, /role="img" aria-label="[^"]+"/);
    assert.match(chart, /class="boundary"[^>]*\/>\n<text[^>]*>stage 2/);
  }
  assert.match(charts[1], /<ul class="legend"><li>.*image → text<\/li><li>.*text → image<\/li>/);
  assert.ok(page.includes('at most 150 points a stage'));
});

test('the report escapes everything and asks for nothing outside itself', () => {
  const page = written(sampleReport());
  assert.ok(page.includes('&lt;script src=&quot;https://example.org/x.js&quot;&gt;'));
  assert.doesNotMatch(page, /<script|<link|<iframe|<object|<embed|<img onerror/i);
  // Text is escaped, so every < opens a real tag: attributes that fetch may hold data URIs only.
  const tags = page.match(/<[a-z][^>]*>/gi) ?? [];
  for (const tag of tags) {
    assert.doesNotMatch(tag.replace(/"[^"]*"/g, '""'), / on\w+=|'/i);
    for (const [, value] of tag.matchAll(/ (?:src|href|srcset|poster|data|action)="([^"]*)"/g)) {
      assert.match(value, /^data:image\/(png|jpeg);base64,/);
    }
  }
  const style = page.match(/<style>([\s\S]*?)<\/style>/)?.[1] ?? '';
  assert.match(style, /prefers-color-scheme: dark/);
  assert.doesNotMatch(style, /url\(|@import|https?:/);
  assert.match(page, /Content-Security-Policy" content="default-src 'none'; img-src data:;/);
});

test('tags in the report are balanced', () => {
  const open: string[] = [];
  const empty = new Set(['meta', 'img', 'line', 'polyline', 'circle']);
  for (const [, closing, name] of written(sampleReport()).matchAll(/<(\/?)([a-z][a-z0-9]*)[^>]*>/g)) {
    if (empty.has(name)) continue;
    if (closing) assert.equal(open.pop(), name);
    else open.push(name);
  }
  assert.deepEqual(open, []);
});

test('a file that is no picture is refused, and no report is left', () => {
  const report = sampleReport();
  const path = join(folder, 'refused.html');
  const results = [{ image: Buffer.from('<svg onload="x()"/>'), correct: true, id: 'p9' }];
  assert.throws(
    () => writePretrainReport(path, { ...report, queries: [{ text: 'x', results, rankOfTrue: 1 }] }),
    { name: 'UserError', message: /picture p9: expected a PNG, JPEG or WebP/ },
  );
  assert.equal(existsSync(path), false);
});

test('a report without steps or queries is still a page', () => {
  const report = sampleReport();
  const page = written({ ...report, stages: [{ name: 'stage 1', metrics: [] }], queries: [], recall: [] });
  assert.equal(page.match(/>no data<\/text>/g)?.length, 4);
  assert.doesNotMatch(page, /NaN|Infinity|undefined/);
});

test('html escapes interpolated text once and nests markup', () => {
  assert.equal(
    html`<b>${'<&"\'>'}${3}${[html`<i>${'&'}</i>`, 'x']}</b>`.markup,
    '<b>&lt;&amp;&quot;&#39;&gt;3<i>&amp;</i>x</b>',
  );
  const { markup } = table(['A', '<B>'], [{ cells: ['r', 1] }, { cells: ['s', '<'], secondary: true }]);
  assert.ok(markup.includes('<th scope="col">A</th><th scope="col">&lt;B&gt;</th>'));
  assert.ok(markup.includes('<tr><th scope="row">r</th><td>1</td></tr>'));
  assert.ok(markup.includes('<tr class="secondary"><th scope="row">s</th><td>&lt;</td></tr>'));
});

test('a chart draws its points in place and leaves gaps where there is no value', () => {
  const points = [0, 1, Number.NaN, 3, 2, 4].map((y, x) => ({ x, y }));
  const { markup } = lineChart({ title: 't', xLabel: 'x', series: [{ name: 'a', points }] });
  const lines = [...markup.matchAll(/<polyline class="line series-0" points="([^"]*)"/g)].map((match) =>
    match[1].split(' ').map((pair) => pair.split(',').map(Number)),
  );
  assert.deepEqual(
    lines.map((line) => line.length),
    [2, 3],
  );
  const [[origin, second], [, fifth, last]] = lines;
  // Equal steps in x; y grows upward, from the axis to the top; 2 lies halfway between 0 and 4.
  assert.ok(Math.abs((last[0] - origin[0]) / 5 - (second[0] - origin[0])) < 0.2);
  assert.ok(Math.abs((last[1] + origin[1]) / 2 - fifth[1]) < 0.2 && last[1] < origin[1]);
  assert.match(markup, /aria-label="t over x\. a from 0 to 4"/);
  assert.doesNotMatch(markup, /NaN|legend/);
});

test('a logarithmic chart spaces decades evenly and leaves out what is not positive', () => {
  const points = [1, 0, 10, 100].map((y, x) => ({ x, y }));
  const chart = { title: 't', xLabel: 'x', logScale: true, series: [{ name: 'a', points }] };
  const { markup } = lineChart(chart);
  const circle = Number(markup.match(/<circle class="series-0" cx="[^"]*" cy="([^"]*)"/)?.[1]);
  const line = markup.match(/<polyline[^>]* points="([^"]*)"/)?.[1].split(' ') ?? [];
  const [ten, hundred] = line.map((pair) => Number(pair.split(',')[1]));
  assert.ok(Math.abs(circle - ten - (ten - hundred)) < 0.2 && circle > ten);
  assert.match(markup, /logarithmic scale/);
  assert.throws(() => lineChart({ ...chart, series: Array(5).fill(chart.series[0]) }), RangeError);
});

test('scales: ticks lie within, are round, and are enough', () => {
  const ticks = (low: number, high: number, kind: ScaleKind) => makeScale([low, high], kind).ticks;
  assert.deepEqual(ticks(0.3, 4.7, 'rounded'), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(ticks(1, 1300, 'exact'), [500, 1000]);
  assert.deepEqual(ticks(0.02, 0.61, 'rounded'), [0, 0.2, 0.4, 0.6, 0.8]);
  assert.deepEqual(ticks(1, 1000, 'logarithmic'), [1, 10, 100, 1000]);
  assert.deepEqual(ticks(1, 60, 'logarithmic'), [1, 2, 5, 10, 20, 50]);
  assert.deepEqual(ticks(2.2, 4.1, 'logarithmic'), [2.5, 3, 3.5, 4]);
  assert.ok(ticks(1e-12, 1e12, 'logarithmic').length <= 7);
  for (const kind of ['exact', 'rounded', 'logarithmic'] as const) {
    for (const values of [[3, 3], [0, 0], [], [Number.NaN], [-1, 5]]) {
      const scale = makeScale(values, kind);
      assert.ok(
        scale.ticks.length >= 1 && scale.ticks.every((tick) => Number.isFinite(scale.place(tick))),
        kind,
      );
    }
  }
  assert.deepEqual([0, 0.0005, 0.25, 12000, 1.25e-7].map(formatTick), [
    '0',
    '5e-4',
    '0.25',
    '12,000',
    '1.25e-7',
  ]);
});

test('a confusion matrix of two classes has room for the names of its axes', () => {
  const { markup } = confusionMatrixSvg(Uint32Array.of(1, 0, 1, 0), ['猫', '火箭']);
  const [, width] = markup.match(/viewBox="0 0 (\d+) \d+"/)!;
  const [, left] = markup.match(/<text x="(\d+)" y="12">predicted →/)!;
  assert.ok(Number(width) - Number(left) > 75, `${left} of ${width}`);
});

test('columns of a classification report that nothing fills are left out', () => {
  const rates = { low: 0.25, high: 0.75 };
  const score = {
    fingerprint: '',
    metric: 'accuracy',
    value: 0.5,
    top1: 0.5,
    images: 4,
    classes: 2,
  } as const;
  const row = {
    name: 'toy',
    score: { ...score, valueInterval: rates, top1Interval: rates },
    published: undefined,
    comparison: undefined,
  };
  const columns = (published: number | undefined) => {
    const path = join(folder, 'classification.html');
    const rows = [row, { ...row, name: 'mnist', published }];
    const report = { title: 't', modelName: 'm', publishedModel: undefined, rows, datasets: [] };
    writeClassificationReport(path, report);
    const page = readFileSync(path, 'utf8');
    assert.match(page, /<th scope="row"><a href="#toy">toy<\/a><small>accuracy<\/small><\/th>/);
    return [...page.matchAll(/<th scope="col">([^<]*)</g)].map(([, name]) => name);
  };
  assert.deepEqual(columns(undefined), ['dataset', 'value', '95 % interval', 'top-1']);
  assert.deepEqual(columns(40).slice(4), ['published', 'difference']);
});

test('averaging keeps the mean, and a bad value visible', () => {
  const points = [1, 3, 5, 7, Number.NaN].map((y, x) => ({ x, y }));
  assert.deepEqual(averaged(points, 5), points);
  assert.deepEqual(averaged(points, 3), [
    { x: 0.5, y: 2 },
    { x: 2.5, y: 6 },
    { x: 4, y: Number.NaN },
  ]);
});
