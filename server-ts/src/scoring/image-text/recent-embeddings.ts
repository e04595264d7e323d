/** Embeddings of the texts that were asked for last: all pictures of a group share their prompt. */
export class RecentEmbeddings {
  readonly #capacity: number;
  /** In the order of use, the oldest first. */
  readonly #rows = new Map<string, Float32Array>();

  /** @param capacity texts, >= 1 */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /**
   * @param embed called once, with each unknown text once, unless all are known
   * @returns per text, in order, its embedding
   */
  async take(
    texts: readonly string[],
    embed: (fresh: readonly string[]) => Promise<Float32Array[]>,
  ): Promise<Float32Array[]> {
    const fresh = [...new Set(texts)].filter((text) => !this.#rows.has(text));
    const rows = fresh.length === 0 ? [] : await embed(fresh);
    const found = new Map(fresh.map((text, index) => [text, rows[index] as Float32Array]));
    const result = texts.map((text) => found.get(text) ?? (this.#rows.get(text) as Float32Array));
    for (const [index, text] of texts.entries()) this.#keep(text, result[index] as Float32Array);
    return result;
  }

  #keep(text: string, row: Float32Array): void {
    this.#rows.delete(text);
    this.#rows.set(text, row);
    const [oldest] = this.#rows.keys();
    if (this.#rows.size > this.#capacity && oldest !== undefined) this.#rows.delete(oldest);
  }
}
