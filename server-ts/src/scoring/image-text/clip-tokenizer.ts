import { Tokenizer } from '@huggingface/tokenizers';
import { StarError } from '../../core/errors.js';

/** Merges of the 49,152-entry byte-pair vocabulary; the file has more lines than CLIP uses. */
const MERGE_COUNT = 49_152 - 256 - 2;
const START = '<|startoftext|>';
const END = '<|endoftext|>';
const SPLIT = `${START.replaceAll('|', '\\|')}|${END.replaceAll('|', '\\|')}|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+`;

/** CLIP's byte-level tokenizer. */
export interface ClipTokenizer {
  /** Ids with start (49406) and end (49407), not truncated. */
  encode(text: string): number[];
}

/**
 * Builds CLIP's tokenizer from its merges (`bpe_simple_vocab_16e6.txt`, unpacked).
 *
 * @param merges file content; the first line is a comment
 * @throws StarError SCORER_NOT_LOADABLE when there are too few merges
 */
export function clipTokenizer(merges: string): ClipTokenizer {
  const lines = merges.split('\n').slice(1, MERGE_COUNT + 1);
  if (lines.length < MERGE_COUNT || lines.at(-1) === '') {
    throw new StarError('SCORER_NOT_LOADABLE', `CLIP needs ${MERGE_COUNT} merges, the file has ${lines.length} lines`);
  }
  const tokenizer = new Tokenizer(tokenizerJson(lines), {});
  return { encode: (text) => tokenizer.encode(text).ids };
}

function tokenizerJson(lines: readonly string[]): object {
  const bytes = byteSymbols();
  const pieces = [...bytes, ...bytes.map((symbol) => `${symbol}</w>`), ...lines.map((line) => line.replace(' ', ''))];
  const vocab = Object.fromEntries([...pieces, START, END].map((piece, id) => [piece, id]));
  const special = (content: string): object => ({
    id: vocab[content],
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  return {
    version: '1.0',
    added_tokens: [special(START), special(END)],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: SPLIT }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: 'RobertaProcessing', sep: [END, vocab[END]], cls: [START, vocab[START]] },
    decoder: { type: 'ByteLevel' },
    model: {
      type: 'BPE',
      unk_token: END,
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      vocab,
      merges: lines,
    },
  };
}

/** GPT-2's printable stand-ins for the 256 bytes, in vocabulary order. */
function byteSymbols(): string[] {
  const printable = [range(33, 126), range(161, 172), range(174, 255)].flat();
  const others = range(0, 255).filter((byte) => !printable.includes(byte));
  return [...printable, ...others.map((_, index) => 256 + index)].map((code) => String.fromCharCode(code));
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}
