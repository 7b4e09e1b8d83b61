/** What Auth.js and next-auth know of a session. */
export interface AdapterSession {
  sessionToken: string;
  userId: string;
  expires: Date;
}

/** The part of an adapter that is changed. `@auth/core/adapters` and next-auth 4 call the whole `Adapter`. */
export interface SessionAdapter {
  createSession?(session: AdapterSession): unknown;
  getSessionAndUser?(sessionToken: string): unknown;
  updateSession?(session: Partial<AdapterSession> & Pick<AdapterSession, "sessionToken">): unknown;
  deleteSession?(sessionToken: string): unknown;
}

export interface HallpassOptions {
  /**
   * The database keeps SHA-256 of tokens instead of tokens. Rows from before need the migration of the README.
   * @default false
   */
  hash?: boolean;
  /**
   * Seconds without use after which a session ends: the application's `session.maxAge`.
   * @default 2592000 (30 days)
   */
  maxAge?: number;
  /**
   * Seconds between two writes that extend a session: the application's `session.updateAge`.
   * @default 86400 (1 day)
   */
  updateAge?: number;
  /**
   * Seconds after its creation at which a session ends, however much it is used. `"none"` or `Infinity` for no such end.
   * @default 7776000 (90 days)
   */
  absoluteTimeout?: number | "none";
  /**
   * The clock, in milliseconds since 1970.
   * @default Date.now
   */
  now?: () => number;
}

/** The adapter for every request, with a way to one for a single request. */
export type HallpassAdapter<A> = A & {
  /**
   * For one request: as the adapter, and it replaces the token when somebody who is signed in signs in again. Call it inside the function that
   * gives Auth.js its configuration for a request.
   */
  forRequest(): A;
};

/**
 * The adapter with hallpass's rules for sessions.
 *
 * @throws TypeError when an option or the adapter cannot be used; the message says what to write instead.
 */
export function withHallpass<A extends SessionAdapter>(adapter: A, options?: HallpassOptions): HallpassAdapter<A>;

/** What the database holds of a token with `hash: true`: 64 lower-case hexadecimal digits. */
export function hashToken(token: string): Promise<string>;

/** A new token for a session of `userId` that begins at `now`, in milliseconds since 1970. */
export function createToken(userId: string | number, now?: number): Promise<string>;

/** What a token says without being a secret. */
export interface ParsedToken {
  /** The session's public id, a UUIDv7. */
  id: string;
  createdAt: Date;
  /** 0 to 255, the same for all sessions of a user. */
  shard: number;
}

/** The public part of a token, or null when the text is no token of hallpass's form. */
export function parseToken(token: string): ParsedToken | null;
