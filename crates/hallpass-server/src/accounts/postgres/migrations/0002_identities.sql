CREATE TABLE hp.hallpass_account_identities (
  issuer text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  account_id text COLLATE "C" NOT NULL,
  provider text NOT NULL,
  email text,
  created_at bigint NOT NULL,
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX hallpass_account_identities_account ON hp.hallpass_account_identities (account_id);
-- Where sessions came from. No foreign key: the sessions may live in another database.
CREATE TABLE hp.hallpass_account_provider_sessions (
  session_id text COLLATE "C" NOT NULL PRIMARY KEY,
  provider text NOT NULL,
  issuer text COLLATE "C" NOT NULL,
  subject text COLLATE "C" NOT NULL,
  sid text COLLATE "C",
  acr text,
  auth_time bigint,
  created_at bigint NOT NULL
);
CREATE INDEX hallpass_account_provider_sessions_sid ON hp.hallpass_account_provider_sessions (issuer, sid, session_id);
CREATE INDEX hallpass_account_provider_sessions_subject ON hp.hallpass_account_provider_sessions (issuer, subject, session_id);
-- Logouts that providers sent: each is taken once, and meets sign-ins that were under way.
CREATE TABLE hp.hallpass_account_logouts (
  issuer text COLLATE "C" NOT NULL,
  jti_hash bytea NOT NULL,
  subject text COLLATE "C",
  sid text COLLATE "C",
  issued_at bigint NOT NULL,
  received_at bigint NOT NULL,
  done boolean NOT NULL,
  PRIMARY KEY (issuer, jti_hash)
);
CREATE INDEX hallpass_account_logouts_received ON hp.hallpass_account_logouts (received_at);
