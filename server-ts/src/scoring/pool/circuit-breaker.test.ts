import { expect, test } from 'vitest';
import { CircuitBreaker } from './circuit-breaker.js';

test('opens after failures in a row, lets a probe through after the pause, and closes when it succeeds', () => {
  const circuit = new CircuitBreaker({ limit: 2, pauseMs: 100 });
  expect(circuit.failed(0)).toBe(false);
  circuit.succeeded();
  expect(circuit.failed(1)).toBe(false);
  expect(circuit.state(1)).toBe('closed');
  expect(circuit.failed(2)).toBe(true);
  expect([circuit.state(2), circuit.state(101), circuit.state(102)]).toEqual(['open', 'open', 'half-open']);
  circuit.succeeded();
  expect(circuit.state(102)).toBe('closed');
});

test('a failed probe opens it again; late failures of the batches before do not make the pause longer', () => {
  const circuit = new CircuitBreaker({ limit: 1, pauseMs: 100 });
  expect(circuit.failed(0)).toBe(true);
  expect(circuit.failed(50)).toBe(false);
  expect(circuit.state(100)).toBe('half-open');
  expect(circuit.failed(100)).toBe(true);
  expect([circuit.state(199), circuit.state(200)]).toEqual(['open', 'half-open']);
});
