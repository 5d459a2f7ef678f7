import { STYLE } from './style.js';

/** Markup that is safe to put into a page as it is. Made by `html`, which escapes everything else. */
export class Html {
  constructor(readonly markup: string) {}
}

export type HtmlValue = Html | string | number | readonly HtmlValue[];

/** Template tag: the literal parts are markup, interpolated text is escaped, `Html` (or a list) is put in as it is. */
export function html(markup: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return new Html(markup.reduce((page, part, i) => page + toMarkup(values[i - 1]) + part));
}

/** Text made safe inside elements and quoted attributes. */
export function escapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return text.replace(/[&<>"']/g, (character) => entities[character]);
}

/**
 * A complete page that needs no other file: styles inline, pictures as data URIs. Its content security policy
 * forbids scripts and every request, so nothing that got into a caption can act.
 */
export function page(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${new Html(STYLE)}</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`.markup;
}

export interface TableRow {
  /** The first cell is the row's heading. */
  cells: readonly HtmlValue[];
  /** A quieter row that belongs to the one above. */
  secondary?: boolean;
}

/** A table whose first column holds row headings; the others are numbers (aligned right) unless `text` is set. */
export function table(
  columns: readonly string[],
  rows: readonly TableRow[],
  options = { text: false },
): Html {
  const head = columns.map((column) => html`<th scope="col">${column}</th>`);
  const body = rows.map(({ cells, secondary }) => {
    const [heading, ...values] = cells;
    const data = values.map((value) => html`<td>${value}</td>`);
    return html`<tr${new Html(secondary ? ' class="secondary"' : '')}><th scope="row">${heading}</th>${data}</tr>\n`;
  });
  return html`<div class="scroll"><table class="${options.text ? 'text' : 'numbers'}">
<thead><tr>${head}</tr></thead>
<tbody>
${body}</tbody>
</table></div>`;
}

function toMarkup(value: HtmlValue): string {
  if (value instanceof Html) return value.markup;
  if (typeof value === 'object') return value.map(toMarkup).join('');
  return escapeHtml(String(value));
}
