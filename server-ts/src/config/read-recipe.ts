import { type Document, isMap, isNode, LineCounter, parseDocument } from 'yaml';
import { z } from 'zod';
import { StarError } from '../core/errors.js';
import { nearestName } from '../core/nearest-name.js';
import { type Recipe, recipeSchema } from './recipe.js';
import { type RecipeConflict, recipeConflicts } from './recipe-conflicts.js';

type Path = readonly PropertyKey[];

/**
 * Reads a recipe: YAML text to a checked recipe with all defaults filled.
 *
 * @param name file name for messages
 * @throws StarError RECIPE_INVALID that lists every problem with line and column, field, received value and what is expected
 */
export function readRecipe(text: string, name = 'recipe'): Recipe {
  return readChecked(text, { name, root: 'recipe', schema: recipeSchema, conflicts: recipeConflicts });
}

/**
 * Reads another reward for a run: the content of a recipe's `reward`, in YAML or JSON, checked like a recipe that has it.
 *
 * @param recipe of the run
 * @throws StarError RECIPE_INVALID as `readRecipe`
 */
export function readReward(text: string, recipe: Recipe, name = 'reward'): Recipe['reward'] {
  return readChecked(text, {
    name,
    root: 'reward',
    schema: recipeSchema.shape.reward,
    conflicts: (reward) =>
      recipeConflicts({ ...recipe, reward })
        .filter(({ path }) => path[0] === 'reward')
        .map((conflict) => ({ ...conflict, path: conflict.path.slice(1) })),
  });
}

/** What a text is checked against. */
interface Reading<T> {
  /** File name for messages. */
  readonly name: string;
  /** What the text as a whole is called. */
  readonly root: string;
  readonly schema: z.ZodType<T>;
  /** Checks across fields. */
  readonly conflicts: (value: T) => readonly RecipeConflict[];
}

function readChecked<T>(text: string, { name, root, schema, conflicts }: Reading<T>): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const syntax = document.errors.map((error) => `${position(lines, error.pos[0])}: ${error.message}`);
  if (syntax.length > 0) throw invalid(name, syntax);
  const value: unknown = document.toJS();
  const result = schema.safeParse(value);
  const source = { value, schema, root, place: (path: Path): string => placeOf(document, lines, path) };
  if (!result.success) {
    throw invalid(
      name,
      result.error.issues.flatMap((issue) => describeIssue(issue, source)),
    );
  }
  const found = conflicts(result.data).map(
    ({ path, message }) => `${source.place(path)}: ${dotted(path, root)}: ${message}`,
  );
  if (found.length > 0) throw invalid(name, found);
  return result.data;
}

/** A text with what its fields are looked up in. */
interface Source {
  readonly value: unknown;
  readonly schema: z.ZodType;
  readonly root: string;
  readonly place: (path: Path) => string;
}

function describeIssue(issue: z.core.$ZodIssue, { value, schema, root, place }: Source): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const path = [...issue.path, key];
      return `${place(path)}: unknown key ${dotted(path, root)}${suggestion(key, knownKeys(schema, issue.path, value))}`;
    });
  }
  const received = valueAt(value, issue.path);
  const shown = received === undefined ? 'nothing' : JSON.stringify(received);
  const what = received === undefined ? 'is required' : issue.message;
  return [`${place(issue.path)}: ${dotted(issue.path, root)}: ${what}; received ${shown}`];
}

function suggestion(key: string, known: readonly string[]): string {
  const nearest = nearestName(key, known);
  if (nearest !== null) return `; did you mean ${nearest}?`;
  return known.length > 0 ? `; known keys: ${known.join(', ')}` : '';
}

interface JsonSchema {
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly const?: unknown;
}

/** Keys that the schema allows at a path; of a union only the member that the received `kind` selects. */
function knownKeys(schema: z.ZodType, path: Path, root: unknown): string[] {
  let schemas: JsonSchema[] = [z.toJSONSchema(schema, { io: 'input' }) as JsonSchema];
  path.forEach((part) => {
    schemas = schemas.flatMap(members).flatMap((member) => {
      const next = typeof part === 'number' ? member.items : member.properties?.[String(part)];
      return next === undefined ? [] : [next];
    });
  });
  const value = valueAt(root, path);
  const kind = typeof value === 'object' && value !== null ? (value as { kind?: unknown }).kind : undefined;
  return schemas
    .flatMap(members)
    .filter((member) => member.properties?.kind?.const === undefined || member.properties.kind.const === kind)
    .flatMap((member) => Object.keys(member.properties ?? {}));
}

function members(schema: JsonSchema): JsonSchema[] {
  const union = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])];
  return union.length === 0 ? [schema] : union.flatMap(members);
}

function valueAt(root: unknown, path: Path): unknown {
  return path.reduce<unknown>(
    (value, part) => (typeof value === 'object' && value !== null ? Reflect.get(value, part) : undefined),
    root,
  );
}

/** `line:column` of a field; of its nearest parent that is written down when the field itself is not. */
function placeOf(document: Document, lines: LineCounter, path: Path): string {
  const parent = document.getIn(path.slice(0, -1), true);
  const key = path.at(-1);
  if (isMap(parent)) {
    const pair = parent.items.find((item) => isNode(item.key) && String(item.key) === String(key));
    if (pair !== undefined && isNode(pair.key) && pair.key.range) return position(lines, pair.key.range[0]);
  }
  const node = document.getIn(path, true);
  if (isNode(node) && node.range) return position(lines, node.range[0]);
  return path.length === 0 ? '1:1' : placeOf(document, lines, path.slice(0, -1));
}

function position(lines: LineCounter, offset: number): string {
  const { line, col } = lines.linePos(offset);
  return `${line}:${col}`;
}

function dotted(path: Path, root: string): string {
  return path.length === 0 ? root : path.map(String).join('.');
}

function invalid(name: string, problems: readonly string[]): StarError {
  return new StarError('RECIPE_INVALID', problems.map((problem) => `${name}:${problem}`).join('\n'));
}
