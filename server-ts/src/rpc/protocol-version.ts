/** Version of the contract in proto/star/v1; a worker with another one is refused. Raised with every change of meaning. */
export const PROTOCOL_VERSION = 2;
