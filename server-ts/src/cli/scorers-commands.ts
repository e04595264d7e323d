import { addScorerBundle, checkScorerBundle, listBundles, removeScorerBundle, showBundle } from '../scorer-bundles.js';
import type { BundleCertificate } from '../scoring/bundle/bundle-check.js';
import type { BundleEntry } from '../scoring/bundle/bundle-store.js';
import { type CommandContext, dataDirOf } from './command-context.js';
import { EXIT } from './exit-code.js';
import { textTable } from './text-table.js';

/** Options of all `star scorers` commands. */
export interface ScorersOptions {
  readonly dataDir?: string;
  readonly json?: boolean;
}

const SHORT_HASH = 12;

/** `star scorers list`. @returns exit code: 1 when a folder is no bundle */
export async function scorersListCommand(context: CommandContext, options: ScorersOptions): Promise<number> {
  const { bundles, broken } = await listBundles(dataDirOf(context, options));
  if (options.json === true) context.output.print(JSON.stringify({ bundles, broken }, null, 2));
  else {
    const rows = bundles.map(({ name, version, kind, origin, bundleHash, certificate }) => {
      const checked =
        certificate === null ? 'never' : `${certificate.passed ? 'passed' : 'FAILED'} ${certificate.checkedAt}`;
      return [name, version, kind, origin, bundleHash.slice(0, SHORT_HASH), checked];
    });
    context.output.print(textTable([['name', 'version', 'kind', 'origin', 'hash', 'checked'], ...rows]));
    for (const { folder, problem } of broken) context.output.note(`${folder} is no bundle: ${problem}`);
  }
  return broken.length === 0 ? EXIT.ok : EXIT.failure;
}

/** `star scorers show REF`. @returns exit code */
export async function scorersShowCommand(
  context: CommandContext,
  reference: string,
  options: ScorersOptions,
): Promise<number> {
  const entry = await showBundle(dataDirOf(context, options), reference);
  if (options.json === true) context.output.print(JSON.stringify(entry, null, 2));
  else
    context.output.print(
      [entryText(entry), entry.certificate && certificateText(entry.certificate)].filter(Boolean).join('\n'),
    );
  return EXIT.ok;
}

/** `star scorers check REF`. @returns exit code: 1 when a golden case does not hold */
export async function scorersCheckCommand(
  context: CommandContext,
  reference: string,
  options: ScorersOptions,
): Promise<number> {
  const certificate = await checkScorerBundle(dataDirOf(context, options), reference);
  context.output.print(options.json === true ? JSON.stringify(certificate, null, 2) : certificateText(certificate));
  return certificate.passed ? EXIT.ok : EXIT.failure;
}

/** `star scorers add FOLDER`. @returns exit code */
export async function scorersAddCommand(
  context: CommandContext,
  folder: string,
  options: ScorersOptions,
): Promise<number> {
  const entry = await addScorerBundle(dataDirOf(context, options), folder);
  context.output.print(options.json === true ? JSON.stringify(entry, null, 2) : entryText(entry));
  return EXIT.ok;
}

/** `star scorers remove REF`. @returns exit code */
export async function scorersRemoveCommand(
  context: CommandContext,
  reference: string,
  options: ScorersOptions & { readonly force?: boolean },
): Promise<number> {
  const entry = await removeScorerBundle(dataDirOf(context, options), reference, options.force === true);
  context.output.print(options.json === true ? JSON.stringify(entry, null, 2) : `removed ${entryText(entry)}`);
  return EXIT.ok;
}

function entryText({ name, version, kind, origin, bundleHash, folder }: BundleEntry): string {
  return `${name}@${version}  ${kind}, ${origin}, hash ${bundleHash.slice(0, SHORT_HASH)}, ${folder}`;
}

function certificateText(certificate: BundleCertificate): string {
  const { name, version, lineage, golden, graphs } = certificate;
  const verdict = certificate.passed ? 'passed' : 'FAILED';
  return [
    `${name}@${version}  ${verdict} on ${certificate.checkedAt}`,
    `hash ${lineage.bundleHash}`,
    `preprocessing ${lineage.preprocessing}, ${lineage.runtime}, ${certificate.machine}`,
    `golden cases: ${golden.cases - golden.failures.length} of ${golden.cases} hold`,
    ...golden.failures.map((failure) => `  ${failure}`),
    ...certificate.warnings.map((warning) => `warning: ${warning}`),
    ...graphs.map(
      ({ path, bytes, opset, inputs, outputs }) =>
        `${path}  ${bytes} bytes  opset ${opset ?? 'not named'}  (${inputs.join('; ')}) -> (${outputs.join('; ')})`,
    ),
    `${certificate.picturesPerSecond.toFixed(1)} pictures a second`,
  ].join('\n');
}
