/** Settings as rows of a table, those of sections by their path. */
export function settingRows(
  settings: Record<string, unknown>,
  prefix = '',
): { name: string; value: string }[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    typeof value === 'object' && value !== null
      ? settingRows(value as Record<string, unknown>, `${prefix}${name}.`)
      : [{ name: prefix + name, value: String(value) }],
  );
}
