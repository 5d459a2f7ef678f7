/** What each byte does to a checksum of 32 bits. @param polynomial reflected: its lowest power is the highest bit */
function tableOf(polynomial: number): Int32Array {
  return Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1;
    return crc;
  });
}

const crc32Table = tableOf(0xedb88320);
const crc32cTable = tableOf(0x82f63b78);

function checksum(table: Int32Array, bytes: Uint8Array, before: number): number {
  let crc = ~before;
  for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/**
 * CRC-32 as zip has it, of bytes that follow others whose CRC-32 is `before`, as an unsigned number. (node:zlib has one
 * from Node.js 20.15 on, which is newer than the oldest we run on.)
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  return checksum(crc32Table, bytes, before);
}

/** CRC-32C (Castagnoli, RFC 3720), as an unsigned number. */
export function crc32c(bytes: Uint8Array): number {
  return checksum(crc32cTable, bytes, 0);
}
