import { z } from 'zod';
import { StarError } from '../core/errors.js';

/** Where the control plane keeps its data and listens. */
export interface ServerSettings {
  /** Folder of database, artifacts and checkpoints; relative paths are relative to the working directory. */
  readonly dataDir: string;
  /** Interface of both servers; anything but loopback needs authentication. */
  readonly host: string;
  /** 0: any free port. */
  readonly httpPort: number;
  /** 0: any free port. */
  readonly grpcPort: number;
  /** ZeroMQ address where scorer processes of other hosts dial in (CURVE); null: nobody can. */
  readonly scorerListen: string | null;
}

const port = z.coerce.number().int().min(0).max(65_535);

const environment = z.object({
  STAR_DATA_DIR: z.string().min(1).default('.star'),
  STAR_HOST: z.string().min(1).default('127.0.0.1'),
  STAR_HTTP_PORT: port.default(8080),
  STAR_GRPC_PORT: port.default(50_051),
  STAR_SCORER_LISTEN: z
    .string()
    .regex(/^tcp:\/\/[^\s]+:(\d+|\*)$/, 'expected tcp://ADDRESS:PORT')
    .optional(),
  STAR_PYTHON: z.string().min(1).optional(),
  STAR_SERVER: z.url().optional(),
});

/** What the `star` command takes from the environment. */
export interface CommandSettings {
  /** STAR_PYTHON: program that runs the worker; null: the one in `.venv` of this repository. */
  readonly python: string | null;
  /** STAR_SERVER: address of a running control plane; null: the one of the data folder, or a new one. */
  readonly serverUrl: string | null;
}

/**
 * Reads the settings of the control plane; nothing else looks at the environment.
 *
 * @param env `process.env`
 * @throws StarError ARGUMENT_INVALID naming the variable, the received value and what is expected
 */
export function readServerSettings(env: Readonly<Record<string, string | undefined>>): ServerSettings {
  const result = environment.safeParse(env);
  if (!result.success) {
    const problems = result.error.issues.map(({ path, message }) => {
      const name = path.map(String).join('.');
      return `${name}: ${message}; received ${JSON.stringify(env[name])}`;
    });
    throw new StarError('ARGUMENT_INVALID', problems.join('; '));
  }
  const { data } = result;
  return {
    dataDir: data.STAR_DATA_DIR,
    host: data.STAR_HOST,
    httpPort: data.STAR_HTTP_PORT,
    grpcPort: data.STAR_GRPC_PORT,
    scorerListen: data.STAR_SCORER_LISTEN ?? null,
  };
}

/**
 * Reads the settings of the `star` command.
 *
 * @param env `process.env`
 * @throws StarError ARGUMENT_INVALID as `readServerSettings`
 */
export function readCommandSettings(env: Readonly<Record<string, string | undefined>>): CommandSettings {
  readServerSettings(env);
  return { python: env.STAR_PYTHON ?? null, serverUrl: env.STAR_SERVER ?? null };
}
