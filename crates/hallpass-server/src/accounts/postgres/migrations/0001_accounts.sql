CREATE TABLE hp.hallpass_account_users (
  id text COLLATE "C" NOT NULL PRIMARY KEY,
  email text COLLATE "C" NOT NULL UNIQUE,
  name text NOT NULL,
  operator boolean NOT NULL,
  disabled_at bigint,
  created_at bigint NOT NULL,
  credentials_version bigint NOT NULL,
  password_hash text
);
CREATE TABLE hp.hallpass_account_session_ends (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  user_id text NOT NULL,
  reason text NOT NULL,
  created_at bigint NOT NULL
);
CREATE TABLE hp.hallpass_account_server_secrets (
  name text COLLATE "C" NOT NULL PRIMARY KEY,
  value text NOT NULL
);
-- One row, always: who offers a set-up code or uses one takes its lock. No code, and long over: nothing is offered.
CREATE TABLE hp.hallpass_account_setup (
  one integer NOT NULL PRIMARY KEY CHECK (one = 1),
  code_hash bytea NOT NULL,
  expires_at bigint NOT NULL
);
INSERT INTO hp.hallpass_account_setup (one, code_hash, expires_at) VALUES (1, '', 0);
