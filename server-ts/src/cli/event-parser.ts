/** A server-sent event. */
export interface ServerEvent {
  readonly id: number;
  readonly name: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** Splits a stream of text into server-sent events; comments are skipped. */
export async function* parseEvents(chunks: AsyncIterable<string>): AsyncGenerator<ServerEvent> {
  let rest = '';
  for await (const chunk of chunks) {
    rest += chunk;
    const blocks = rest.split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const event = parseBlock(block);
      if (event !== null) yield event;
    }
  }
}

function parseBlock(block: string): ServerEvent | null {
  const lines = new Map<string, string>();
  for (const line of block.split('\n')) {
    const at = line.indexOf(': ');
    if (at > 0) lines.set(line.slice(0, at), line.slice(at + 2));
  }
  const [id, name, data] = [lines.get('id'), lines.get('event'), lines.get('data')];
  if (id === undefined || name === undefined || data === undefined) return null;
  return { id: Number(id), name, fields: JSON.parse(data) as Record<string, unknown> };
}
