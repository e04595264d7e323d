import { Command, InvalidArgumentError, Option } from 'commander';
import type { CommandContext } from './command-context.js';
import { evalGenevalCommand } from './eval-command.js';
import { genevalPromptsCommand } from './prompts-command.js';
import { rescoreCommand } from './rescore-command.js';
import { rewardHistoryCommand, rewardRollbackCommand, rewardSetCommand, rewardShowCommand } from './reward-commands.js';
import { resumeCommand, runCommand } from './run-command.js';
import { runsCommand, showCommand, stopCommand } from './runs-commands.js';
import { scoreCommand } from './score-command.js';
import { scorerHostCommand, scorerKeysCommand } from './scorer-host-command.js';
import {
  scorersAddCommand,
  scorersCheckCommand,
  scorersListCommand,
  scorersRemoveCommand,
  scorersShowCommand,
} from './scorers-commands.js';
import { upCommand } from './up-command.js';

const server = new Option(
  '--server <url>',
  'running control plane (default: $STAR_SERVER, else the one on the data folder)',
);
const dataDir = new Option('--data-dir <dir>', 'folder of run data (default: $STAR_DATA_DIR, else .star)');
const json = new Option('--json', 'print JSON');

function port(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new InvalidArgumentError('expected a port from 0 (any free one) to 65535');
}

function wholeNumber(text: string): string {
  if (/^\d{1,15}$/.test(text)) return text;
  throw new InvalidArgumentError('expected a whole number >= 0');
}

const example = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((line) => `  $ star ${line}`).join('\n')}\n`;

/**
 * The `star` command line.
 *
 * @param finish receives the exit code of the command
 */
export function createProgram(context: CommandContext, finish: (code: number) => void): Command {
  const program = new Command('star')
    .description('Post-train text-to-image flow models with spatially allocated rewards.')
    .exitOverride()
    .showHelpAfterError('(star --help or star COMMAND --help shows what is possible)')
    .configureOutput({
      writeOut: (text) => context.output.print(text.trimEnd()),
      writeErr: (text) => context.output.note(text.trimEnd()),
    })
    .addHelpText(
      'after',
      example('run recipes/tiny-geneval-star-forward.yaml', 'run recipes/sd35m-geneval-star.yaml --dry-run', 'up'),
    );
  addRunCommands(program, context, finish);
  addViewCommands(program, context, finish);
  addRewardCommands(program, context, finish);
  addUpCommand(program, context, finish);
  addScoreCommand(program, context, finish);
  addScorerHostCommands(program, context, finish);
  addEvalCommand(program, context, finish);
  addPromptsCommand(program, context, finish);
  addScorersCommands(program, context, finish);
  return program;
}

const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

type Finish = (code: number) => void;

function addRunCommands(program: Command, context: CommandContext, finish: Finish): void {
  program
    .command('run')
    .argument('<recipe>', 'YAML file; recipes/ has some')
    .description('run a recipe; starts control plane, worker and scorers here unless one is running')
    .option('--set <key.path=value>', 'change a value of the recipe; may be repeated', collect, [])
    .option('--seed <number>', 'seed of the run', wholeNumber)
    .option('--dry-run', 'check the recipe, print plan, counts and estimates, run nothing')
    .addOption(server)
    .addOption(dataDir)
    .addOption(json)
    .addHelpText(
      'after',
      `\nCtrl-C stops after a checkpoint, a second Ctrl-C at once. The last line of a run that succeeded is "report: PATH".\n${example('run recipes/tiny-geneval-star.yaml --seed 2', 'run recipes/tiny-ocr-star.yaml --set iterations=10 --set optimizer.learningRate=1e-4', 'run recipes/sd35m-ocr-star.yaml --dry-run --json')}`,
    )
    .action(async (path, options) => finish(await runCommand(context, path, options)));
  program
    .command('resume')
    .argument('<run>', 'id from `star runs`')
    .description('take up a stopped or failed run from its last checkpoint')
    .addOption(server)
    .addOption(dataDir)
    .addOption(json)
    .addHelpText('after', example('resume tiny-geneval-star-1'))
    .action(async (runId, options) => finish(await resumeCommand(context, runId, options)));
}

function addViewCommands(program: Command, context: CommandContext, finish: Finish): void {
  const view = (name: string, description: string, examples: readonly string[]): Command =>
    program
      .command(name)
      .description(description)
      .addOption(server)
      .addOption(dataDir)
      .addOption(json)
      .addHelpText('after', example(...examples));
  view('runs', 'list runs, newest first', ['runs', 'runs --json']).action(async (options) =>
    finish(await runsCommand(context, options)),
  );
  view('show', 'state, metrics and evaluation of a run', [
    'show tiny-geneval-star-1',
    'show tiny-geneval-star-1 --json',
  ])
    .argument('<run>', 'id from `star runs`')
    .action(async (runId, options) => finish(await showCommand(context, runId, options)));
  view('stop', 'stop a run after a checkpoint', ['stop tiny-geneval-star-1'])
    .argument('<run>', 'id from `star runs`')
    .action(async (runId, options) => finish(await stopCommand(context, runId, options)));
}

function addRewardCommands(program: Command, context: CommandContext, finish: Finish): void {
  const reward = program
    .command('reward')
    .description('look at the reward of a run, and change it while the run goes on');
  const command = (name: string, description: string, ...examples: readonly string[]): Command =>
    reward
      .command(name)
      .description(description)
      .argument('<run>', 'id from `star runs`')
      .addOption(server)
      .addOption(dataDir)
      .addOption(json)
      .addHelpText('after', example(...examples.map((line) => `reward ${line}`)));
  command(
    'set',
    'stage another reward; it takes effect at an iteration boundary, after it has scored pictures beside the old one',
    'set tiny-geneval-star-1 reward.yaml',
    'set tiny-geneval-star-1 --weight geneval=0.7 --weight clip=0.3',
  )
    .argument('[spec]', "YAML file with the content of a recipe's reward (default: the reward in effect)")
    .option('--weight <name=number>', 'change the weight of a component; may be repeated', collect, [])
    .action(async (runId, spec, options) => finish(await rewardSetCommand(context, runId, spec, options)));
  command('show', 'the reward in effect, and how the staged one compares', 'show tiny-geneval-star-1').action(
    async (runId, options) => finish(await rewardShowCommand(context, runId, options)),
  );
  command('history', 'all versions of the reward', 'history tiny-geneval-star-1').action(async (runId, options) =>
    finish(await rewardHistoryCommand(context, runId, options)),
  );
  command(
    'rollback',
    'undo the last change: withdraw a staged reward, else go back to the one before',
    'rollback tiny-geneval-star-1',
  ).action(async (runId, options) => finish(await rewardRollbackCommand(context, runId, options)));
  program
    .command('rescore')
    .argument('<run>', 'id from `star runs`')
    .description('score the stored pictures of a run under another reward, and say what it would have changed')
    .requiredOption('--reward <file>', "YAML file with the content of a recipe's reward")
    .option('--iterations <first..last>', 'iterations to look at (default: all that kept pictures)')
    .addOption(dataDir)
    .addOption(json)
    .addHelpText('after', example('rescore tiny-geneval-star-1 --reward reward.yaml --iterations 0..50'))
    .action(async (runId, options) => finish(await rescoreCommand(context, runId, options)));
}

function addUpCommand(program: Command, context: CommandContext, finish: Finish): void {
  program
    .command('up')
    .description('serve the HTTP API and one worker on this machine until Ctrl-C')
    .option('--http-port <port>', 'port of the HTTP API (default: $STAR_HTTP_PORT, else 8080)', port)
    .option('--grpc-port <port>', 'port that workers dial (default: $STAR_GRPC_PORT, else 50051)', port)
    .option(
      '--scorer-listen <address>',
      'where scorer hosts dial in, tcp://ADDRESS:PORT (default: $STAR_SCORER_LISTEN, else none)',
    )
    .option('--no-worker', 'start no worker; it dials in from elsewhere')
    .addOption(dataDir)
    .addOption(json)
    .addHelpText('after', example('up', 'up --http-port 0 --grpc-port 0 --json', 'up --no-worker --data-dir /data'))
    .action(async (options) => finish(await upCommand(context, options)));
}

function addScoreCommand(program: Command, context: CommandContext, finish: Finish): void {
  program
    .command('score')
    .argument('<image...>', 'PNG files')
    .description('score pictures with a real scorer process')
    .requiredOption('--prompt <text>', 'prompt that the pictures should show')
    .addOption(new Option('--scorer <name>', 'scorer').choices(['geneval', 'ocr', 'image_text']).default('geneval'))
    .option('--bundle <dir>', 'folder of the scorer bundle (default: the shipped one)')
    .option('--include <json>', 'GenEval clauses of the prompt')
    .option('--prompts <file>', 'prompt file that has the prompt with its metadata')
    .addOption(json)
    .addHelpText(
      'after',
      example(
        `score a.png b.png --scorer ocr --prompt 'a sign that says "OPEN"'`,
        `score a.png --scorer image_text --bundle scorers/pickscore-v1 --prompt 'a red circle'`,
        `score a.png --prompt 'a red circle' --include '[{"class": "circle", "count": 1, "color": "red"}]'`,
      ),
    )
    .action(async (images, options) => finish(await scoreCommand(context, images, options)));
}

function addScorerHostCommands(program: Command, context: CommandContext, finish: Finish): void {
  program
    .command('scorer-host')
    .description('run scorer processes here for a control plane on another machine, until Ctrl-C')
    .requiredOption('--connect <address>', 'where its `star up --scorer-listen` listens, tcp://HOST:PORT')
    .requiredOption('--server-key <key>', 'its public key, as `star up` prints it')
    .requiredOption('--bundle <dir>', 'folder of the scorer bundle, the same as on the control plane')
    .option('--processes <number>', 'processes, one core each', wholeNumber, '1')
    .option('--keys <file>', 'key file of this host; made when it is missing', 'scorer-host.json')
    .addHelpText(
      'after',
      example(
        'scorer-keys scorer-host.json',
        "scorer-host --connect tcp://control:7100 --server-key 'KEY' --bundle scorers/tiny-world-detector --processes 8",
      ),
    )
    .action(async (options) => finish(await scorerHostCommand(context, options)));
  program
    .command('scorer-keys')
    .argument('<file>', 'key file; made when it is missing, readable by this user only')
    .description(
      'print the public key of a scorer host, for scorer-keys/authorized in the data folder of the control plane',
    )
    .action(async (file) => finish(await scorerKeysCommand(context, file)));
}

function addEvalCommand(program: Command, context: CommandContext, finish: Finish): void {
  program
    .command('eval')
    .description('report of a benchmark from pictures that are there')
    .command('geneval')
    .argument('<folder>', 'pictures NNNNN/samples/N.png beside NNNNN/metadata.jsonl')
    .description("GenEval's report, as its own scripts print it")
    .option('--bundle <dir>', 'folder of the detector bundle (default: that of the small world)')
    .option('--results <file>', 'write one line per picture in the official format')
    .option('--jpeg', "look at the pictures after JPEG at quality 75, as Flow-GRPO's reward server does")
    .addOption(json)
    .addHelpText(
      'after',
      example(
        'eval geneval outputs --bundle scorers/mask2former-swin-s --results results.jsonl',
        'eval geneval outputs --json',
      ),
    )
    .action(async (folder, options) => finish(await evalGenevalCommand(context, folder, options)));
}

function addPromptsCommand(program: Command, context: CommandContext, finish: Finish): void {
  const kinds = "train: Flow-GRPO's shares of kinds; test: every class once, --count of each other kind";
  program
    .command('prompts')
    .description('write prompt files')
    .command('geneval')
    .description("draw prompts from GenEval's templates")
    .addOption(new Option('--kind <kind>', kinds).choices(['train', 'test']).default('train'))
    .option('--seed <number>', 'the same seed gives the same file and the same split of the classes', wholeNumber, '0')
    .option('--count <number>', 'lines of a training set (50000), prompts per kind of a test set (100)', wholeNumber)
    .addOption(
      new Option('--objects <which>', 'seen, unseen: 60 and 20 of the 80 classes')
        .choices(['all', 'seen', 'unseen'])
        .default('all'),
    )
    .option('--exclude <file>', 'prompt file whose prompts must not be drawn; may be repeated', collect, [])
    .requiredOption('--out <file>', 'file to write')
    .addHelpText(
      'after',
      example(
        'prompts geneval --kind test --seed 7 --out test.jsonl',
        'prompts geneval --seed 7 --exclude test.jsonl --out train.jsonl',
      ),
    )
    .action(async (options) => finish(await genevalPromptsCommand(context, options)));
}

function addScorersCommands(program: Command, context: CommandContext, finish: Finish): void {
  const scorers = program.command('scorers').description('scorer bundles: list, check, add, remove');
  const reference = 'folder, name, name@version or first characters of a hash';
  const command = (name: string, description: string, sample: string): Command =>
    scorers
      .command(name)
      .description(description)
      .addOption(dataDir)
      .addOption(json)
      .addHelpText('after', example(sample));
  command('list', 'bundles that a recipe can name: shipped ones and those of the data folder', 'scorers list').action(
    async (options) => finish(await scorersListCommand(context, options)),
  );
  command('show', 'where a bundle lies, and its certificate', 'scorers show ppocr-v4')
    .argument('<bundle>', reference)
    .action(async (name, options) => finish(await scorersShowCommand(context, name, options)));
  command(
    'check',
    'load a bundle, run its golden cases, time it, and store a certificate',
    'scorers check scorers/ppocr-v4',
  )
    .argument('<bundle>', reference)
    .action(async (name, options) => finish(await scorersCheckCommand(context, name, options)));
  command('add', 'check a bundle and copy it into the data folder', 'scorers add exports/pickscore-v1')
    .argument('<folder>', 'folder with manifest.yaml')
    .action(async (folder, options) => finish(await scorersAddCommand(context, folder, options)));
  command('remove', 'remove a bundle of the data folder that no run needs', 'scorers remove pickscore-v1@1')
    .argument('<bundle>', reference)
    .option('--force', 'also where runs were scored by it or will be')
    .action(async (name, options) => finish(await scorersRemoveCommand(context, name, options)));
}
