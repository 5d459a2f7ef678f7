/** A member for `tar`: a file unless `type` says otherwise; `size` may lie. */
export interface TarEntry {
  name: string;
  content?: Uint8Array | string;
  type?: string;
  size?: number | string;
  prefix?: string;
  linkName?: string;
}

/** An archive of these members in the ustar form, with its end mark. */
export function tar(...entries: TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarMember), Buffer.alloc(1024)]);
}

/** A header and what follows it, filled up to whole blocks. */
export function tarMember({
  name,
  content = '',
  type = '0',
  size,
  prefix = '',
  linkName = '',
}: TarEntry): Buffer {
  const data = Buffer.from(content as Uint8Array);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(
    typeof size === 'string' ? size : `${(size ?? data.length).toString(8).padStart(11, '0')}\0`,
    124,
    'latin1',
  );
  header.write('00000000000\0', 136);
  header.write(type, 156);
  header.write(linkName, 157, 100);
  header.write('ustar\x0000', 257, 'latin1');
  header.write(prefix, 345, 155);
  return Buffer.concat([sealed(header), data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** The header with the checksum that its bytes have. */
export function sealed(header: Buffer): Buffer {
  header.write('        ', 148);
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** A PAX header for the member that follows. */
export function pax(attributes: Record<string, string>): TarEntry {
  const records = Object.entries(attributes).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (String(length).length + rest !== length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return { name: 'PaxHeaders/x', type: 'x', content: records.join('') };
}
