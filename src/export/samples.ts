import type { Dataset } from '../data/dataset.js';
import { decodeImage } from '../image/decode.js';
import { imageMean, imageStandardDeviation, normalizePixels, resizeToRgb } from '../image/preprocess.js';
import type { ModelConfig } from '../model/config.js';
import { Random } from '../random.js';
import { prepareText, Tokenizer } from '../text/tokenizer.js';

/** Pictures and texts on which two models are compared. */
export interface Samples {
  /** [images, 3, resolution, resolution], preprocessed */
  pixels: Float32Array;
  images: number;
  /** [texts, length], 0 where padded */
  ids: Int32Array;
  texts: number;
  length: number;
}

const CONTEXT_LENGTH = 52;

const captions = [
  '一只橘猫趴在窗台上晒太阳',
  '海边的日落',
  '穿红色连衣裙的小女孩在草地上奔跑',
  '一碗热气腾腾的牛肉面，上面撒着葱花和香菜',
  '雪山脚下的湖泊倒映着蓝天白云',
  '复古风格的皮质双肩包',
  '两个人在篮球场上打球',
  '夜晚的城市街道，霓虹灯闪烁，车水马龙',
  '狗',
  '手绘水彩画：竹林里的大熊猫',
  '一架飞机正在跑道上起飞',
  '厨房的木桌上放着新鲜的水果和蔬菜',
  '老人坐在公园的长椅上看报纸',
  '黑色无线蓝牙耳机 降噪 超长待机 2023新款',
  '火车穿过油菜花田',
  '一位厨师戴着白色的高帽子，在开放式厨房里专注地为一盘精致的法式甜点做最后的装饰，旁边站着几位学徒认真观看',
];

/**
 * Samples that need no files: pictures of waves, slopes and boxes, and captions as far as the vocabulary has them;
 * without a vocabulary, token ids drawn at random. The same in every run.
 */
export function embeddedSamples(config: ModelConfig, vocabulary: readonly string[] | undefined): Samples {
  const { image_resolution: side } = config;
  const images = captions.length;
  const pixels = new Float32Array(images * 3 * side * side);
  for (let i = 0; i < images; i++) drawPicture(i, side, pixels.subarray(i * 3 * side * side));
  const contextLength = Math.min(CONTEXT_LENGTH, config.text_max_position_embeddings);
  if (vocabulary !== undefined) {
    const { ids, n, length } = new Tokenizer(vocabulary).encodeBatch(
      captions.map(prepareText),
      contextLength,
    );
    return { pixels, images, ids, texts: n, length };
  }
  const random = new Random(0, 'sample texts');
  const ids = new Int32Array(images * contextLength);
  for (let i = 0; i < images; i++) {
    const length = 3 + random.integer(contextLength - 2);
    for (let j = 0; j < length; j++) ids[i * contextLength + j] = 1 + random.integer(config.vocab_size - 1);
  }
  return { pixels, images, ids, texts: images, length: contextLength };
}

/** The first pictures and texts of a split, `count` of each as far as there are so many. */
export async function datasetSamples(
  dataset: Dataset,
  config: ModelConfig,
  vocabulary: readonly string[],
  count: number,
): Promise<Samples> {
  const { image_resolution: side } = config;
  const images = Math.min(count, dataset.imageCount);
  const pixels = new Float32Array(images * 3 * side * side);
  for (let i = 0; i < images; i++) {
    const { bytes, name } = await dataset.image(i);
    normalizePixels(resizeToRgb(await decodeImage(bytes, name), side), pixels, i * 3 * side * side);
  }
  const texts: string[] = [];
  for (const { text } of dataset.texts()) {
    if (texts.length === count) break;
    texts.push(prepareText(text));
  }
  const contextLength = Math.min(CONTEXT_LENGTH, config.text_max_position_embeddings);
  const { ids, n, length } = new Tokenizer(vocabulary).encodeBatch(texts, contextLength);
  return { pixels, images, ids, texts: n, length };
}

function drawPicture(index: number, side: number, out: Float32Array): void {
  const random = new Random(index, 'sample picture');
  for (let channel = 0; channel < 3; channel++) {
    const [slope, height, frequency, phase] = [0.8, 0.6, 24, 6].map((scale) => scale * random.uniform());
    const [left, top, width] = [random.uniform(), random.uniform(), 0.2 + 0.5 * random.uniform()];
    const light = random.uniform();
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        const [x, y] = [column / side, row / side];
        const isBox = Math.abs(x - left) < width / 2 && Math.abs(y - top) < width / 2;
        const wave = 0.3 * Math.sin(frequency * (x + height * y) + phase);
        const value = isBox ? light : Math.min(1, Math.max(0, 0.3 + slope * y + wave));
        const at = (channel * side + row) * side + column;
        out[at] = (value - imageMean[channel]) / imageStandardDeviation[channel];
      }
    }
  }
}
