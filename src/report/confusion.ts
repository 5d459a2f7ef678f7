import { type Html, html } from './html.js';

/** Side of a cell in SVG units, and the width of a character of a class's name: Chinese ones are as wide as high. */
const CELL = 22;
const FONT = 12;
/** Pixels a unit where there is room, and where there is none: then the page scrolls. */
const SCALE = 1.3;
const SMALLEST = 0.8;
/** Names of the axes. */
const ACROSS = 'predicted →';
const DOWN = 'actual →';
/** Longer names are cut, so that the cells keep their room. */
const NAME_LENGTH = 10;
/** With more classes numbers in the cells, and then the cells themselves, could not be read. */
const NUMBERED_CLASSES = 30;

/**
 * A confusion matrix as a picture: a row for each class, a column for each class that its pictures were taken for. The
 * darker a cell, the larger its share of the row; the numbers are pictures.
 *
 * @param matrix counts [classes, classes]
 */
export function confusionMatrixSvg(matrix: Uint32Array, classNames: readonly string[]): Html {
  const n = classNames.length;
  const names = classNames.map(shorten);
  const margin = 14 + FONT * Math.max(...names.map(widthOf));
  const top = margin + 18;
  const left = margin + 18;
  const side = n * CELL;
  // With two classes the axes' names are longer than the axes.
  const width = Math.round(left + Math.max(side, FONT * widthOf(ACROSS)) + 8);
  const height = Math.round(top + Math.max(side, FONT * widthOf(DOWN)) + 8);
  const rows = names.map((_, row) => {
    const counts = Array.from(matrix.subarray(row * n, (row + 1) * n));
    const total = counts.reduce((sum, count) => sum + count, 0);
    return counts.map((count, column) => {
      if (count === 0) return html``;
      const share = count / total;
      const x = left + column * CELL;
      const y = top + row * CELL;
      const kind = row === column ? 'right' : 'wrong';
      const number =
        n > NUMBERED_CLASSES
          ? ''
          : html`<text class="count" x="${x + CELL / 2}" y="${y + CELL / 2 + 3}">${short(count)}</text>`;
      return html`<g><title>${classNames[row]} → ${classNames[column]}: ${count}</title><rect class="${kind}" x="${x}" y="${y}" width="${CELL}" height="${CELL}" fill-opacity="${(0.08 + 0.72 * share).toFixed(2)}"/>${number}</g>\n`;
    });
  });
  const labels = names.map((name, i) => {
    const middle = i * CELL + CELL / 2;
    return html`<text x="${left - 6}" y="${top + middle + 4}" text-anchor="end">${name}</text>
<text transform="translate(${left + middle + 4} ${top - 6}) rotate(-90)">${name}</text>
`;
  });
  return html`<svg class="matrix" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" style="width: ${width * SCALE}px; min-width: ${width * SMALLEST}px" role="img" aria-label="Confusion matrix of ${n} classes">
<style>.matrix { font: ${FONT}px system-ui, "Noto Sans CJK SC", "WenQuanYi Micro Hei", sans-serif; } .matrix text { fill: currentColor; } .matrix .count { font-size: 9px; text-anchor: middle; } .matrix .right { fill: #2f9e5b; } .matrix .wrong { fill: #d9622b; } .matrix .frame { fill: none; stroke: currentColor; stroke-opacity: .35; }</style>
<text x="${left}" y="12">${ACROSS}</text>
<text transform="translate(12 ${top}) rotate(90)">${DOWN}</text>
${labels}${rows}<rect class="frame" x="${left}" y="${top}" width="${side}" height="${side}"/>
</svg>`;
}

/** The picture as a file of its own, on white. */
export function confusionPicture(matrix: Uint32Array, classNames: readonly string[]): string {
  const { markup } = confusionMatrixSvg(matrix, classNames);
  return markup.replace('style="', 'style="background: #ffffff; color: #1f2328; ');
}

function shorten(name: string): string {
  const characters = [...name];
  return characters.length > NAME_LENGTH ? `${characters.slice(0, NAME_LENGTH - 1).join('')}…` : name;
}

/** In widths of a Chinese character: Latin letters take about half of one. */
function widthOf(name: string): number {
  return [...name].reduce((width, character) => width + (character < '\u2e80' ? 0.6 : 1), 0);
}

/** A count that fits into a cell. */
function short(count: number): string {
  return count < 1000 ? String(count) : `${(count / 1000).toFixed(count < 10_000 ? 1 : 0)}k`;
}
