/** What the readers and writers of zip files share (PKWARE's APPNOTE.TXT). Numbers are little-endian and unsigned. */

/** Of the header before a member's data. */
export const LOCAL_SIGNATURE = 0x04034b50;
/** Of what follows data whose size was not known before them. */
export const DESCRIPTOR_SIGNATURE = 0x08074b50;
/** Of a member's entry in the directory. */
export const ENTRY_SIGNATURE = 0x02014b50;
/** Of the end of the directory, and of what stands before it where numbers have 64 bits. */
export const END_SIGNATURE = 0x06054b50;
export const ZIP64_END_SIGNATURE = 0x06064b50;
export const ZIP64_LOCATOR_SIGNATURE = 0x07064b50;

/** Bytes of the end of the directory, without the comment that may follow. */
export const END_LENGTH = 22;
export const MAX_COMMENT = 0xffff;

/** How a member's data are packed. */
export const STORED = 0;
export const DEFLATED = 8;

/** Flag: sizes and checksum follow the data. */
export const HAS_DESCRIPTOR = 0x0008;
/** Flag: names are UTF-8. */
export const UTF8_NAMES = 0x0800;
/** 1 January 1980, the format's earliest date: the same content gives the same bytes. */
export const EARLIEST_DATE = 0x0021;

/** The extra field that holds numbers of 64 bits; all ones stand in the places of these numbers then. */
export const ZIP64_FIELD = 0x0001;
export const UNSET_16 = 0xffff;
export const UNSET_32 = 0xffffffff;
