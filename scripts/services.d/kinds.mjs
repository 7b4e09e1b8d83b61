// The kinds of instance that can be started.

import { Instance } from "./instance.mjs";
import * as mariadb from "./engines/mariadb.mjs";
import * as pgbouncer from "./engines/pgbouncer.mjs";
import * as postgres from "./engines/postgres.mjs";
import * as redis from "./engines/redis.mjs";
import { valkeyServer } from "./valkey.mjs";

export const KINDS = {
  postgres: postgres.start,
  "postgres-pair": postgres.startPair,
  mariadb: mariadb.start,
  redis: redis.start,
  "redis-pair": redis.startPair,
  "redis-cluster": redis.startCluster,
  valkey: async (instance) => redis.start(instance, { binary: await valkeyServer() }),
  pgbouncer: pgbouncer.start,
};

/** Starts an instance in `dir`; leaves nothing behind when that fails. */
export async function startInstance(kind, dir, made, options) {
  const instance = new Instance(kind, dir, made);
  try {
    await KINDS[kind](instance, options);
    return instance;
  } catch (error) {
    await instance.stop();
    throw error;
  }
}
