/** Half-open range of UTF-16 units of a prompt. */
export interface PhraseRange {
  readonly start: number;
  readonly end: number;
}

/** More phrases than this spread the map too thin (method.md 5). */
const MOST_PHRASES = 4;
/** A phrase keeps its last words: head noun and nearest adjectives. */
const LONGEST_PHRASE = 4;

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Words that end a phrase: articles, prepositions, conjunctions, pronouns, auxiliaries and common verbs of captions. */
const BREAKS = words(`
  a an the this that these those some any each every its his her their our my your one
  of in on at by with without from to into onto over under above below behind beside between near next through across around
  against along inside outside beneath beyond during for as like upon within toward towards off up down out
  and or but while where when who whom which whose then than so if
  is are was were be been being am has have had having do does did can could will would should may might must
  it he she they we you i him them us me there here
  standing sitting walking running flying holding wearing looking riding playing eating drinking sleeping lying floating
  surrounded covered made set standing facing showing featuring displaying reading saying says reads said placed written
  printed engraved displayed labeled labelled titled captioned holds shows wears stands sits left right`);

/** Words about the picture and not of what is in it: style, quality, camera, medium. */
const STYLE = words(`
  photo photograph photography picture image painting drawing illustration render rendering sketch portrait art artwork
  style styled digital concept cinematic realistic photorealistic hyperrealistic detailed detail details highly ultra intricate
  quality hd uhd 4k 8k 16k resolution masterpiece best trending artstation deviantart cgsociety unreal engine octane vray
  close-up closeup shot view lens camera bokeh dof f/1.4 35mm 50mm 85mm focus sharp lighting light background composition
  award-winning professional beautiful stunning amazing epic dramatic wallpaper poster aesthetic vibrant colors color
  very extremely really`);

/** After these, names are artists or sites. */
const ARTIST_MARK = /\b(?:by|artstation|style of|inspired by)\s*$/i;

interface Word extends PhraseRange {
  readonly text: string;
}

/**
 * Noun phrases of a free prompt by a small rule: runs of words between articles, prepositions, verbs and punctuation, without
 * words of style and quality, at most four.
 *
 * @returns ranges in the order of the text
 */
export function nounPhrases(prompt: string): PhraseRange[] {
  return phrasesIn(prompt).slice(0, MOST_PHRASES);
}

/**
 * The phrase that leads to a quoted text: its carrier with the words after it, as in "a neon sign that says".
 *
 * @param quoteStart place of the opening quote
 * @returns null when the sentence has no noun phrase before the quote
 */
export function phraseBefore(prompt: string, quoteStart: number): PhraseRange | null {
  const before = prompt.slice(0, quoteStart);
  const sentence = Math.max(...['.', ';', '!', '?'].map((mark) => before.lastIndexOf(`${mark} `))) + 1;
  const phrases = runs(before, sentence).filter((phrase) => !isStyle(phrase));
  const last = phrases.at(-1);
  if (last === undefined) return null;
  const start = last[Math.max(0, last.length - LONGEST_PHRASE)] as Word;
  const tail = wordsOf(before, start.start).at(-1) as Word;
  const gap = before.slice((last.at(-1) as Word).end, tail.end);
  const joined = wordsOf(gap, 0).length <= LONGEST_PHRASE && !/[,:()]/.test(gap);
  return { start: start.start, end: joined ? tail.end : (last.at(-1) as Word).end };
}

function phrasesIn(prompt: string): PhraseRange[] {
  return runs(prompt, 0).flatMap((run) => {
    const first = run[0] as Word;
    if (ARTIST_MARK.test(prompt.slice(0, first.start))) return [];
    const kept = run.filter((word) => !STYLE.has(word.text)).slice(-LONGEST_PHRASE);
    const contiguous = lastRun(kept, prompt);
    const [start, end] = [contiguous[0], contiguous.at(-1)];
    return start === undefined || end === undefined ? [] : [{ start: start.start, end: end.end }];
  });
}

/** Runs of words that are not broken by a break word or by punctuation. */
function runs(text: string, from: number): Word[][] {
  const found: Word[][] = [];
  let run: Word[] = [];
  for (const word of wordsOf(text, from)) {
    const previous = run.at(-1);
    const split = previous !== undefined && text.slice(previous.end, word.start).trim() !== '';
    if (BREAKS.has(word.text) || split) {
      if (run.length > 0) found.push(run);
      run = [];
    }
    if (!BREAKS.has(word.text)) run.push(word);
  }
  return run.length > 0 ? [...found, run] : found;
}

function isStyle(run: readonly Word[]): boolean {
  return run.every((word) => STYLE.has(word.text) && word.text !== 'poster');
}

/** The last words with nothing but white space between them. */
function lastRun(list: readonly Word[], text: string): readonly Word[] {
  let start = list.length - 1;
  while (start > 0) {
    const gap = text.slice((list[start - 1] as Word).end, (list[start] as Word).start);
    if (gap.trim() !== '') break;
    start -= 1;
  }
  return list.slice(Math.max(start, 0));
}

function wordsOf(text: string, from: number): Word[] {
  return Array.from(text.slice(from).matchAll(/[\p{L}\p{N}][\p{L}\p{N}'/-]*/gu), (match) => ({
    text: match[0].toLowerCase(),
    start: from + match.index,
    end: from + match.index + match[0].length,
  }));
}
