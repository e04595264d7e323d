/** Import layers: core <- pipeline <- (rpc | rest | scoring | storage | telemetry) <- main; cli talks HTTP only. */
const edges = '(rpc|rest|scoring|storage|telemetry)';
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'core-is-pure', severity: 'error', from: { path: '^server-ts/src/core/', pathNot: '\\.test\\.ts$' }, to: { path: '^server-ts/src/(?!core/)' } },
    { name: 'core-without-io', severity: 'error', from: { path: '^server-ts/src/core/', pathNot: '\\.test\\.ts$' }, to: { dependencyTypes: ['core'], pathNot: '^(node:)?crypto$' } },
    { name: 'pipeline-knows-core-and-config', severity: 'error', from: { path: '^server-ts/src/pipeline/', pathNot: '\\.test\\.ts$' }, to: { path: `^server-ts/src/(${edges}|cli|gen)/` } },
    { name: 'edges-apart', severity: 'error', from: { path: `^server-ts/src/${edges}/`, pathNot: '\\.test\\.ts$' }, to: { path: `^server-ts/src/${edges}/`, pathNot: '^server-ts/src/$1/' } },
    { name: 'gen-at-the-edge', severity: 'error', from: { path: '^server-ts/src/', pathNot: '^server-ts/src/(rpc|scoring|gen)/|\\.test\\.ts$' }, to: { path: '^server-ts/src/gen/' } },
  ],
  options: { doNotFollow: { path: 'node_modules' }, tsPreCompilationDeps: true, tsConfig: { fileName: 'server-ts/tsconfig.json' }, exclude: { path: '^server-ts/(test|bench)/' } },
};
