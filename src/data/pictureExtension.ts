const EXTENSIONS = new Set(['jpg', 'jpeg', 'png', 'webp', 'gif', 'bmp']);

/** The ending of a picture's name, in small letters; undefined if that is no picture's. */
export function pictureExtension(name: string): string | undefined {
  const ending = name.slice(name.lastIndexOf('.') + 1).toLowerCase();
  return name.includes('.') && EXTENSIONS.has(ending) ? ending : undefined;
}
