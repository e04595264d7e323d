/** A text as the OCR reward compares it: without U+0020, in lower case. */
export interface OcrText {
  /** Code points. */
  readonly symbols: readonly string[];
  /** Index of the code point of the original text that each symbol comes from. */
  readonly origins: readonly number[];
}

/** @returns both lists empty when the text has only spaces */
export function toOcrText(text: string): OcrText {
  const origins: number[] = [];
  Array.from(text).forEach((symbol, index) => {
    if (symbol === ' ') return;
    // Lower case can be longer: a capital I with a dot becomes two code points.
    for (const _ of symbol.toLowerCase()) origins.push(index);
  });
  // The whole text at once, because lower case depends on the neighbours (final sigma).
  return { symbols: Array.from(text.replaceAll(' ', '').toLowerCase()), origins };
}
