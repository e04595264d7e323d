import { AllocationMapper } from '../src/core/allocation-map.js';
import { serveRounds } from './rounds.js';

/** Allocation maps per second on one core: 32 x 32 image tokens, 2 concepts, 10 steps a rollout. */

const ROWS = 32;
const COLUMNS = 32;
const CONCEPTS = 2;
const STEPS = 10;
/** The method's defaults. */
const SETTINGS = { strength: 0.5, floor: 0.3, cap: 4, smoothing: 1, entropyGate: 0.25 };
const SECONDS = 1;

const mapper = new AllocationMapper(ROWS, COLUMNS, SETTINGS);
const concepts = [
  { name: 'left', weight: 1 },
  { name: 'right', weight: 0.5 },
];
const shape = [STEPS, CONCEPTS, ROWS, COLUMNS];
const attention = { values: { shape, data: blobs() }, stepIndexes: [...Array(STEPS).keys()], unmappedConcepts: [] };

mapsPerSecond();
await serveRounds(async () => ({ allocation_maps_per_second: mapsPerSecond() }));

function mapsPerSecond(): number {
  const start = performance.now();
  let maps = 0;
  while (performance.now() - start < SECONDS * 1000) maps += mapper.map(attention, concepts).stepIndexes.length;
  return maps / ((performance.now() - start) / 1000);
}

/** One soft spot per plane, as attention has. */
function blobs(): Float32Array {
  return Float32Array.from({ length: STEPS * CONCEPTS * ROWS * COLUMNS }, (_, index) => {
    const plane = Math.floor(index / (ROWS * COLUMNS));
    const row = Math.floor(index / COLUMNS) % ROWS;
    const distance = (row - 8 - plane / 2) ** 2 + ((index % COLUMNS) - 6 - plane) ** 2;
    return 0.2 + 6 * Math.exp(-distance / 40);
  });
}
